#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# features.sh QEMU...: prints what each QEMU has, a line each, "NAME KIND FEATURE":
# accelerators, machines, devices and so on, and the libraries that it is linked with

set -eu
LC_ALL=C
export LC_ALL

for qemu; do
    name=${qemu##*/}
    for kind in accel audiodev chardev cpu display netdev object tpmdev vga; do
        # Some succeed after help, others do not.  After an empty line, there is text.
        { "$qemu" -machine none "-$kind" help 2>/dev/null || :; } |
            sed -n -e '/^$/q' -e '/: *$/d' -e "s/^ *\([^ ,(]*\).*/$name $kind \1/p"
    done
    "$qemu" -machine help | sed -n "1d; s/^\([^ ]*\) .*/$name machine \1/p"
    "$qemu" -device help | sed -n "s/^name \"\([^\"]*\)\".*/$name device \1/p"
    ldd "$qemu" | sed -n "s/^[[:space:]]*\([^ ]*\) .*/$name library \1/p"
done | sort -u
