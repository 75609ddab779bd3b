#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Tests what the two mkinitramfs.sh pack, and that they fail if cpio does.

set -eu
# shellcheck source=scripts/tests/tap.sh
. "$(dirname "$0")/tap.sh"

testbed=$scripts/../testbed
mkdir "$work/bin"
PATH=$work/bin:$PATH
for file in busybox init run program; do
    echo "$file" >"$work/$file"
done
# None of them is a program.
echo '#!/bin/sh' >"$work/bin/readelf"
chmod +x "$work/bin/readelf"

# Either takes its output's name relative to where it is called.
pack() {
    (cd "$work" && sh "$testbed/$1" output busybox init "$2") || echo "status $?"
}
names() {
    cpio --quiet --list | tr '\n' ' '
}

is "L1's initramfs is packed" "$(pack mkinitramfs.sh run)" ""
is "L1's initramfs is complete" "$(gzip -dc "$work/output" | names)" \
    ". bin bin/busybox init l1-run.sh "
is "the guest's initramfs is packed" "$(pack guest/mkinitramfs.sh program)" ""
is "the guest's initramfs is complete" "$(names <"$work/output")" \
    ". bin bin/busybox bin/ifconfig bin/mount bin/program bin/sh dev init proc sys "

printf '#!/bin/sh\necho part\nexit 3\n' >"$work/bin/cpio"
chmod +x "$work/bin/cpio"
is "L1's: a failure of cpio is an error" "$(pack mkinitramfs.sh run)" "status 3"
is "the guest's: a failure of cpio is an error" "$(pack guest/mkinitramfs.sh program)" "status 3"

done_testing
