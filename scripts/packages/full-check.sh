#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Tests "make install": that the tree runs from another place than it was installed
# in, and that nothing that Debian 13's QEMU has is missing there.  Debian's is
# installed in a root file system, which is made once.  Needs root.

set -eu
# shellcheck source=scripts/tests/tap.sh
. "$(dirname "$0")/../tests/tap.sh"
root=$(cd "$scripts/.." && pwd)
# shellcheck source=scripts/common.sh
. "$root/scripts/common.sh"
# shellcheck source=scripts/packages/common.sh
. "$root/scripts/packages/common.sh"

suite=trixie
dir=$build/roots/$suite-qemu-stock
kernel=$build/linux/out/arch/x86/boot/bzImage
bin=$work/elsewhere/bin
packages='qemu-system-x86 qemu-system-arm qemu-system-gui qemu-system-modules-opengl
    qemu-system-modules-spice qemu-block-extra qemu-utils'

in_root() {
    chroot_to "$dir" "$@"
}

# without_libraries: their names differ by release
without_libraries() {
    sed '/^[^ ]* library /d'
}

ninja -C "$build/meson" --quiet linux.stamp >&2 || die "the build failed"
make -C "$root" install DESTDIR="$work/there" >&2 || die "make install failed"
is "all is below the prefix" "$(cd "$work/there" && ls -d ./* usr/*)" "./usr
usr/local"
mv "$work/there/usr/local" "$work/elsewhere"
rmdir "$work/there/usr" "$work/there"
# Assertions name headers there, which is harmless.
is "no program looks for libraries in this checkout" \
    "$(find "$work/elsewhere" -type f -exec readelf -d {} + 2>/dev/null | grep -F "$build")" ""

for name in x86_64 aarch64; do
    has_target "$name" || continue
    is "qemu-system-$name runs, and does not miss a library" \
        "$("$bin/qemu-system-$name" --version | head -n 1 | cut -d ' ' -f 1-3)
$(ldd "$bin/qemu-system-$name" | grep 'not found')" "QEMU emulator version
"
done
matches "its data folder has moved with it" "$("$bin/qemu-system-x86_64" -L help)" \
    "^$work/elsewhere/share/qemu\$"
is "qemu-img makes an image" "$("$bin/qemu-img" create -q -f qcow2 "$work/image" 1M && echo yes)" yes
matches "a guest boots, with the distribution's firmware" \
    "$(boot "$kernel" timeout 120 "$bin/qemu-system-x86_64")" \
    'Linux version 6\.12.*postern'

"$root/scripts/packages/root.sh" "$suite" "$dir" >&2
logged full-check in_root apt-get -q update || die "no package lists"
# shellcheck disable=SC2086 # a list of names
logged full-check in_root apt-get -y -q --no-install-recommends install $packages ||
    die "the distribution's QEMU cannot be installed"
cp "$root/scripts/packages/features.sh" "$dir/srv/"
for name in x86_64 aarch64; do
    has_target "$name" || continue
    in_root sh /srv/features.sh "/usr/bin/qemu-system-$name" >"$work/theirs"
    "$root/scripts/packages/features.sh" "$bin/qemu-system-$name" >"$work/ours"
    is "$name: nothing of the distribution's is missing" \
        "$(without_libraries <"$work/theirs" | comm -23 - "$work/ours" | head -n 20)" ""
    cut -d ' ' -f 2 "$work/theirs" | sort -u | while read -r kind; do
        echo "# $name $kind: $(grep -c "^[^ ]* $kind " "$work/ours")," \
            "the distribution's: $(grep -c "^[^ ]* $kind " "$work/theirs")"
    done
done
done_testing
