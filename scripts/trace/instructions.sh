#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# instructions.sh TRACE SECONDS COMMAND...: runs COMMAND in L1, whose clock counts
# instructions, and writes to the file TRACE every instruction that L1's CPU
# executes.  It begins when KVM has mapped 5000 pages, and lasts SECONDS of the
# build machine's time.  COMMAND has to have many more pages to go.
#
# TRACE has QEMU's lines for "-d exec"; trace.py evaluates them.

set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=scripts/common.sh
. "$root/scripts/common.sh"

usage() {
    die "usage: $0 TRACE SECONDS COMMAND..."
}

[ $# -ge 3 ] || usage
case $2 in
*[!0-9]* | '' | 0*) usage ;;
esac
trace=$1 seconds=$2
shift 2

dir=$(mktemp -d)
testbed='' reader=''
clean_up() {
    # shellcheck disable=SC2086 # none, one or two
    [ -z "$testbed$reader" ] || kill $testbed $reader 2>/dev/null || :
    rm -rf "$dir"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM
mkfifo "$dir/monitor.in" "$dir/monitor.out" "$dir/said"

# The testbed's L0 gets a monitor.
cat >"$dir/qemu" <<END
#!/bin/sh
exec "$build/qemu/out/qemu-system-x86_64" "\$@" -D "$trace" \
    -chardev pipe,id=monitor,path="$dir/monitor" -mon chardev=monitor,mode=readline
END
chmod +x "$dir/qemu"

# In L1: says when it is time.  A real-time priority lets it run in time.
cat >"$dir/command" <<'END'
"$@" &
chrt -f -p 1 $$
while [ "$(cat /sys/kernel/debug/kvm/pf_fixed)" -lt 5000 ]; do
    # A zombie has no program.
    [ -e "/proc/$!/exe" ] || { wait "$!"; exit; }
    sleep 0.002
done
echo "trace now"
wait "$!"
END

rm -f "$trace"
POSTERN_L0_QEMU=$dir/qemu "$build/meson/testbed/testbed" --icount --timeout=500 -- \
    sh "$dir/command" "$@" >"$dir/said" 2>&1 &
testbed=$!
cat "$dir/monitor.out" >/dev/null &
reader=$!
# Opened once: reopening it for each line would lose lines.
exec 4<"$dir/said"
exec 3<>"$dir/monitor.in"

line=''
while [ "$line" != "trace now" ] && read -r line <&4; do
    say "$line"
done
if [ "$line" != "trace now" ]; then
    status=0
    wait "$testbed" || status=$?
    testbed=''
    die "ended, with status $status, before KVM had mapped 5000 pages: $*"
fi

printf 'one-insn-per-tb on\nlog exec,nochain\n' >&3
sleep "$seconds"
printf 'log none\nquit\n' >&3
cat <&4 >/dev/null
# The testbed fails, since its QEMU has quit.
wait "$testbed" || :
testbed=''
[ -s "$trace" ] || die "there is nothing in $trace"
