# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
#
# Two hosts of libvirt, a and b, in one L1.  To be sourced there, with $root the
# checkout, $dir a root file system with libvirt, $qemu, $kernel and $initrd.
# shellcheck disable=SC2154 # set by the script that sources it

shared=/srv/shared

# on HOST COMMAND...: runs it there
on() {
    _pid=$(cat "/run/pid-$1")
    shift
    nsenter --target "$_pid" --mount --uts --net --pid --cgroup --ipc -- "$@"
}

# wait_for SECONDS COMMAND...: until it succeeds
wait_for() {
    _end=$(($(date +%s) + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$(date +%s)" -lt "$_end" ] || return 1
        sleep 0.2
    done
}

# start_host NAME NUMBER
start_host() {
    mkdir -p "/sys/fs/cgroup/$1"
    # The root of a namespace of cgroups is the cgroup of who makes it.
    # shellcheck disable=SC2016 # the other shell's
    sh -c 'echo $$ >"/sys/fs/cgroup/$1/cgroup.procs" && shift && exec "$@"' sh "$1" \
        env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C \
        unshare --mount --uts --net --ipc --cgroup --pid --fork --kill-child \
        "$root/scripts/libvirt/host.sh" "$1" "$2" "$dir" "${qemu%%/build/*}" "$shared" \
        >"/run/host-$1.log" 2>&1 &
    wait_for 60 test -s "/run/pid-$1"
}

# start_lab: both hosts, on one network
start_lab() {
    mkdir -p "$shared"
    mount -t tmpfs -o mode=755 shared "$shared"
    cp "$kernel" "$shared/kernel"
    cp "$initrd" "$shared/initrd"
    truncate -s 8M "$shared/disk.img"
    # As udev leaves it: libvirt-qemu may not use it, unless libvirt sees to that.
    chmod 600 /dev/userfaultfd
    start_host a 1 && start_host b 2 || return 1
    ip link add name a type veth peer name b || return 1
    ip link set dev a netns "$(cat /run/pid-a)" &&
        ip link set dev b netns "$(cat /run/pid-b)" || return 1
    wait_for 120 on a virsh version && wait_for 120 on b virsh version
}

console=/var/log/libvirt/qemu/console.log

# start_guest HOST MEMORY-BACKING: a new guest; returns when it uses its memory
start_guest() {
    sed "s,@QEMU@,$qemu,; s,@SHARED@,$shared,; s,@MEMORY@,$2," \
        "$root/scripts/libvirt/domain.xml" >"$shared/domain.xml"
    on a rm -f "$console"
    on b rm -f "$console"
    on "$1" virsh create "$shared/domain.xml" &&
        wait_for 240 on "$1" grep -q 'POSTERN alive' "$console"
}

# end_guest: wherever it is
end_guest() {
    for _host in a b; do
        on "$_host" virsh destroy guest >/dev/null 2>&1 || :
    done
}

# state HOST: libvirt's state of the guest there; if libvirt has none, "none", or
# "stray" with a QEMU that still runs
state() {
    if _state=$(on "$1" virsh domstate guest 2>/dev/null); then
        printf '%s\n' "$_state" | head -n 1
    elif on "$1" pgrep qemu-system >/dev/null; then
        echo stray
    else
        echo none
    fi
}

# answer HOST COMMAND PATTERN: sends COMMAND to the guest's console, and prints
# the line that answers it
answer() {
    # The terminal is kept open and read meanwhile: QEMU looks once a second whether
    # someone has opened it.
    # shellcheck disable=SC2016 # the other shell's
    on "$1" sh -c '
        tty=$(virsh ttyconsole guest) || exit
        exec 3<>"$tty"
        stty raw -echo <&3
        cat <&3 >/dev/null &
        reader=$!
        before=$(grep -c "$2" "$3")
        sleep 2
        printf "%s\n" "$1" >&3
        tries=0
        until [ "$(grep -c "$2" "$3")" -gt "$before" ] || [ "$tries" = 240 ]; do
            tries=$((tries + 1))
            sleep 0.5
        done
        [ "$tries" = 240 ] || grep "$2" "$3" | tail -n 1 | tr -d "\r"
        kill "$reader"' sh "$2" "$3" "$console"
}

# faults HOST: what QEMU there says of the last incoming migration
faults() {
    on "$1" virsh qemu-monitor-command guest --hmp info migrate | tr -d '\r'
}

# migrate FROM TO [OPTION]...: post-copy by virsh, and its status
migrate() {
    _from=$1 _to=$2
    shift 2
    on "$_from" timeout 200 virsh migrate --live --postcopy "$@" guest \
        "qemu+tcp://$_to/system" 2>&1 && echo "status 0" || echo "status $?"
}
