#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=dash
#
# PID 1 of L1 once its root is made: runs the harness's command and reports how
# it ended. Output and news share one stream, so neither can overtake the other.
# News begins with $mark, which is different in each run (see stream.h).
#
# The harness leaves in the exchange folder:
#   config   shell variables: mark; for aarch64 on a machine of x86_64: sysroot;
#            for a terminal: tty, rows, columns
#   command  a script that runs the command in its folder and environment
#   fetch    a script that copies the wanted files to fetched/

exchange=/run/postern
cd $exchange || exit
mark='' sysroot='' tty='' rows=24 columns=80
# shellcheck source=/dev/null
. ./config

# Programs of aarch64 find their loader and their libraries, and a
# shell.
if [ -n "$sysroot" ]; then
    rm -rf /lib/aarch64-linux-gnu
    ln -s "$sysroot/usr/lib/aarch64-linux-gnu" /lib/
    ln -sf aarch64-linux-gnu/ld-linux-aarch64.so.1 /lib/
    rm -f /bin/sh
    cp /run/postern-l1/busybox /bin/sh
fi

news() { printf '\000%s%s;' "$mark" "$1" >&3; }

# The stream's device appears a little after the kernel is up.
port=/dev/vport0p1
[ -z "$tty" ] || port=/dev/hvc0
until (: <>$port) 2>/dev/null; do sleep 0.02; done

# PID 1 itself leads the terminal's session: when a session's leader ends, the
# terminal hangs up, and news could no longer be written.
if [ -n "$tty" ] && [ "$1" != leader ]; then
    exec setsid -c /run/postern-l1/busybox sh "$0" leader <>$port
fi
exec 3<>$port

ulimit -l unlimited
ulimit -S -c 0
ulimit -n 65536

# Kills what the command left running, so that the stream comes to an end.
# Kernel threads ignore the signal.
kill_others()
{
    for p in /proc/[0-9]*; do
        p=${p#/proc/}
        [ "$p" = 1 ] || [ "$p" = "$reader" ] || kill -9 "$p" 2>/dev/null
    done
}

if [ -n "$tty" ]; then
    stty sane rows "$rows" columns "$columns" <&3
    news run
    ./command <&3 >&3 2>&3 3>&-
    status=$?
    kill_others
else
    # Programs may open /dev/stdout again, but the port only once: use a pipe.
    mkfifo /run/output
    cat /run/output >&3 &
    reader=$!
    news run
    setsid ./command </dev/null >/run/output 2>&1 3>&-
    status=$?
    while [ -e /proc/$reader/exe ]; do
        kill_others
        sleep 0.02
    done
fi

sh ./fetch >&3 2>&1
news "exit $status"

# The harness ends L0 now.
while :; do sleep 1000; done
