#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# doctor-test.sh TESTBED DOCTOR: what postern-doctor says of this machine, of L1, and
# of L1 with upstream's kernel

set -eu
# shellcheck source=scripts/tests/tap.sh
. "$(dirname "$0")/../tests/tap.sh"

testbed=$1 doctor=$2
qemu=$QTEST_QEMU_BINARY
stock=$scripts/../build/linux-stock/out/arch/x86/boot/bzImage

# status COMMAND...: its output, and its status if that is not 0
status() {
    "$@" 2>&1 || echo "status $?"
}

is "a wrong option is an error of one line" "$(status "$doctor" --no-such)" \
    "postern-doctor: Unknown option --no-such
status 1"
output=$(status "$doctor" --qemu=/nowhere --user=root)
matches "a QEMU that is not there is missing" "$output" '^MISSING +QEMU: /nowhere does not run'
matches "the status is 1 then" "$output" '^status 1$'
is "with --quiet, it prints nothing" "$(status "$doctor" --qemu=/nowhere --quiet)" "status 1"
matches "a user who does not exist is missing" "$(status "$doctor" --user=no-such-user)" \
    '^MISSING +the user no-such-user'

# shellcheck disable=SC2016 # L1's shell
output=$(status "$testbed" --smp=1 -- sh -c '
    "$1" --qemu="$2" --user=root
    chmod 600 /dev/userfaultfd /dev/kvm
    "$1" --qemu="$2" --user=nobody' sh "$doctor" "$qemu")
is "in L1, nothing is missing for root" "$(printf '%s\n' "$output" | sed '/^testbed: /d; /^This host can do/q')" \
    "ok       KVM
ok       KVM userfault
ok       QEMU with KVM userfault: $qemu
ok       userfaultfd for the user root
This host can do post-copy with KVM userfault."
matches "a user who may use neither" "$output" '^MISSING +/dev/kvm for the user nobody'
matches "a user without permission" "$output" '^MISSING +userfaultfd for the user nobody'
matches "what to do" "$output" '^ +sysctl vm.unprivileged_userfaultfd=1'
matches "then it cannot" "$output" '^This host cannot'
matches "and the status says so" "$output" '^status 1$'

output=$(status "$testbed" --kernel="$stock" -- "$doctor" --qemu="$qemu" --user=root)
matches "upstream's kernel has no KVM userfault" "$output" '^MISSING +KVM userfault$'
matches "a package brings it" "$output" '^ +install postern-kvm-dkms$'
matches "the status says so, too" "$output" '^status 1$'
done_testing
