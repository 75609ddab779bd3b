#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# qemu.sh [VARIANT] configure   sets up build/qemu/out with QEMU's configure
# qemu.sh [VARIANT] build ARCH [STAMP]
#                               builds what is used of the target ARCH there;
#                               touches STAMP if it made something new
#
# The variants are for x86_64 only, but for --arm64, --arm64-stock and --full:
#   --stock   pristine QEMU, in build/qemu-stock/out
#   --series  pristine QEMU with some patches of "make series", in
#             build/qemu-series/out
#   --testdev pristine QEMU with our memory-testdev, in build/qemu-testdev/out
#   --asan    ours with AddressSanitizer and UndefinedBehaviorSanitizer, in
#             build/qemu-asan/out
#   --tsan    ours with ThreadSanitizer, the unit tests only, in
#             build/qemu-tsan/out
#   --arm64   ours for hosts of aarch64, with KVM only, in build/qemu-arm64/out
#   --arm64-stock  pristine QEMU likewise, in build/qemu-arm64-stock/out
#   --full    ours with the features of Debian's, in build/qemu-full/out; its ARCH is
#             "all", for what "make install" installs
#
# What configure has after its -- is for ours without a variant, and for --full.

set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=scripts/common.sh
. "$root/scripts/common.sh"

tree=qemu variant=${1:-} tcg=--enable-tcg special=
source=../src
case $variant in
--stock | --series | --testdev | --asan | --tsan)
    shift
    tree=qemu-${variant#--} targets=x86_64-softmmu
    ;;
--arm64 | --arm64-stock)
    shift
    tree=qemu-${variant#--} targets=aarch64-softmmu
    source=../../qemu/src
    [ "$variant" = --arm64 ] || source=../../qemu-stock/src
    tcg=--disable-tcg special=--cross-prefix=aarch64-linux-gnu-
    CC="aarch64-linux-gnu-gcc --sysroot=$build/sysroot-arm64"
    PKG_CONFIG=$root/scripts/build/arm64-pkg-config.sh
    export PKG_CONFIG
    ;;
--full)
    shift
    tree=qemu-full targets=$(target_list) source=../../qemu/src
    ;;
*) variant='' targets=$(target_list) ;;
esac
case $variant in
--asan) special='--enable-asan --enable-ubsan' source=../../qemu/src ;;
--tsan) special=--enable-tsan source=../../qemu/src ;;
esac
out=$build/$tree/out
ccache_for "$tree"

set -- "$@" -- "--target-list=$targets"
case $variant in
--full)
    # As debian/control of Debian's package has them, without those that Debian 12
    # has no library for.  With another prefix, QEMU finds its files by the place of
    # the program.
    set -- "$@" \
        --prefix=/usr/local \
        --firmwarepath=/usr/share/qemu:/usr/share/seabios:/usr/lib/ipxe/qemu \
        --enable-system --enable-kvm --enable-tcg --enable-tools --enable-modules \
        --disable-guest-agent --disable-xen --disable-sndio --disable-xkbcommon \
        --audio-drv-list=pipewire,pa,alsa,jack,oss,sdl \
        --enable-attr --enable-bpf --enable-brlapi --enable-cap-ng --enable-capstone \
        --enable-curl --enable-curses --enable-fdt=system --enable-fuse \
        --enable-glusterfs --enable-gnutls --enable-gtk --enable-libiscsi \
        --enable-libnfs --enable-libpmem --enable-libssh --enable-libudev \
        --enable-libusb --enable-linux-aio --enable-linux-io-uring --enable-nettle \
        --enable-numa --enable-opengl --enable-pixman --enable-png --enable-rbd \
        --enable-rdma --enable-sdl --enable-seccomp --enable-slirp \
        --enable-smartcard --enable-spice --enable-usb-redir --enable-vde \
        --enable-vhost-net --enable-virglrenderer --enable-virtfs --enable-vnc \
        --enable-vnc-jpeg --enable-vnc-sasl --enable-vte --enable-zstd
    ;;
*)
    # A short build: only what a test host and its guests use.  L1's root file
    # system needs virtfs (with attr), a guest's network slirp.  Post-copy is tested
    # with TLS and vhost; tools include vhost-user-blk.
    set -- "$@" \
        --without-default-features \
        --enable-system --enable-kvm "$tcg" --enable-slirp \
        --enable-virtfs --enable-attr --enable-cap-ng --enable-fdt=system \
        --enable-gnutls --enable-vhost-user --enable-vhost-kernel \
        --enable-vhost-net --enable-tools
    ;;
esac
# shellcheck disable=SC2086 # none, or several
set -- "$@" \
    --disable-install-blobs --disable-docs --disable-download \
    --enable-trace-backends=log \
    --python=/usr/bin/python3 "--cc=$(cc_command)" $special
# Our tests and benchmarks need our lists of devices, from configs/devices/.
case $variant in
--stock | --series | --arm64-stock | --full) ours= ;;
*) ours=$targets ;;
esac
for arch in aarch64 x86_64; do
    case $ours in
    *"$arch"*) set -- "$@" "--with-devices-$arch=testbed" ;;
    esac
done
case $variant in
'' | --full)
    while IFS= read -r option; do
        [ -z "$option" ] || set -- "$@" "$option"
    done <<END
$(qemu_options)
END
    ;;
esac

command=$1 arch='' stamp=''
shift
if [ "$1" != -- ]; then
    arch=$1
    shift
fi
if [ "$1" != -- ]; then
    stamp=$1
    shift
fi
shift

# wanted: the command line, as QEMU's configure keeps it in config.status
wanted() {
    printf "exec '%s/configure'" "$source"
    for _option; do
        printf ' %s' "$(quoted "$_option")"
    done
    echo ' "$@"'
}

is_configured() {
    [ -f "$out/build.ninja" ] && [ -f "$out/config.status" ] &&
        wanted "$@" | grep -qxFf - "$out/config.status"
}

# The archive's QEMU has no firmware; it comes from other packages.
link_firmware() {
    for data in "$out/qemu-bundle/usr/local/share/qemu" "$out/pc-bios"; do
        mkdir -p "$data"
        for file in /usr/share/seabios/*.bin /usr/share/qemu/*.bin \
            /usr/share/qemu/*.rom /usr/lib/ipxe/qemu/*.rom; do
            [ -e "$data/${file##*/}" ] || ln -sf "$file" "$data/"
        done
    done
}

# reason LOG: why QEMU's configure failed, in a few words
reason() {
    # What QEMU could download instead of a library is not to be downloaded.
    awk '/dependency .* found: NO/ { sub(/.*dependency /, ""); lost = $1 }
        sub(/.*ERROR: */, "") {
            print (/subproject/ && lost ? "the library " lost " is not installed" : $0)
            exit
        }' "$1"
}

# try_options ARGUMENT...: does QEMU's configure accept what the user has added?  If it
# does not, a build that is set up already is not lost.
try_options() {
    [ -z "$variant" ] && [ -n "$(qemu_options)" ] || return 0
    say "    trying QEMU's configure with your options"
    rm -rf "$build/$tree/try"
    mkdir -p "$build/$tree/try" "$logs"
    _status=0
    (cd "$build/$tree/try" && "$source/configure" "$@" >"$logs/$tree-try.log" 2>&1 </dev/null) ||
        _status=$?
    rm -rf "$build/$tree/try"
    [ "$_status" = 0 ] ||
        die "QEMU's configure: $(reason "$logs/$tree-try.log") (the whole log: $logs/$tree-try.log)"
}

configure_qemu() {
    case $variant in
    --arm64*) sh "$root/scripts/setup/sysroot.sh" ;;
    esac
    [ "$variant" != --full ] || POSTERN_ALSO=full sh "$root/scripts/setup/deps.sh" install
    if ! is_configured "$@"; then
        try_options "$@"
        mkdir -p "$out"
        cd "$out"
        logged "$tree-configure" "$source/configure" "$@" ||
            die "QEMU's configure failed"
    fi
    link_firmware
}

# our_tests KIND: our test programs under tests/KIND
our_tests() {
    ninja -C "$out" -t targets all |
        sed -n "s,^\(tests/$1/[a-z0-9-]*\): [a-z]*_LINKER.*,\1,p" |
        while read -r program; do
            [ ! -e "$root/$program.c" ] || echo "$program"
        done
}

# installed: what the build makes to be installed
installed() {
    python3 - "$out" <<'END'
import json, os, sys
out = os.path.realpath(sys.argv[1])
with open(out + '/meson-info/intro-targets.json') as targets:
    for target in json.load(targets):
        if target['installed']:
            for name in target['filename']:
                print(os.path.relpath(name, out))
END
}

# programs: what a test run uses: the emulator; upstream's migration tests, a
# vhost-user back end and our test programs; for --arm64, those that start QEMU
programs() {
    case $arch$variant in
    x86_64--tsan | all*) ;;
    *) echo "qemu-system-$arch" ;;
    esac
    case $arch$variant in
    all--full) installed ;;
    aarch64--arm64)
        echo tests/qtest/migration-test
        echo contrib/vhost-user-blk/vhost-user-blk
        our_tests qtest
        ;;
    x86_64 | x86_64--asan | x86_64--series)
        [ -n "$variant" ] || echo tests/qtest/migration-test
        echo contrib/vhost-user-blk/vhost-user-blk
        our_tests qtest
        our_tests unit
        ;;
    x86_64--tsan) our_tests unit ;;
    esac
}

build_qemu() {
    log=$tree-build title=QEMU
    [ "$arch$variant" != aarch64 ] || log=qemu-$arch-build title="QEMU for $arch"
    [ -z "$variant" ] || title="QEMU ($variant)"
    configure_qemu "$@"
    # Update the build description first: it may add programs.
    watched "$log" QEMU ninja -C "$out" build.ninja || die "QEMU: no build"
    list=$(programs)
    # shellcheck disable=SC2086 # names without blanks
    watched "$log" "$title" ninja -C "$out" -j "$(jobs)" $list ||
        die "QEMU does not build"
    [ -n "$stamp" ] || return 0
    for program in $list; do
        if [ ! -e "$stamp" ] || [ -n "$(find "$out/$program" -newer "$stamp")" ]; then
            touch "$stamp"
            break
        fi
    done
}

case $command:$arch in
configure:) configure_qemu "$@" ;;
build:?*) build_qemu "$@" ;;
*) die "usage: qemu.sh [VARIANT] configure | build ARCH [STAMP]" ;;
esac
