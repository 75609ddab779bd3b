#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Tests which target lists configure accepts, and what the scripts make of them.

set -eu
# shellcheck source=scripts/tests/tap.sh
. "$(dirname "$0")/tap.sh"

make_checkout
cp "$scripts/../configure" "$top/"
# The steps of configure note which list they see, and can be made to fail.
steps='setup/deps setup/unpack setup/busybox setup/sync build/qemu'
for step in $steps; do
    cat >"$top/scripts/$step.sh" <<END
root=$top
. "$top/scripts/common.sh"
target_list >"$work/seen-${step#*/}"
[ ! -e "$work/fails-${step#*/}" ]
END
done
mkdir -p "$top/build/meson"
touch "$top/build/meson/build.ninja"
configure() {
    (sh "$top/configure" "$@" 2>&1) || echo "status $?"
}

# targets: the list, and which of them the scripts see
targets() {
    (
        root=$top
        # shellcheck source=scripts/common.sh
        . "$top/scripts/common.sh"
        target_list
        for arch in x86_64 aarch64 x86; do
            ! has_target "$arch" || echo "$arch"
        done
    ) | tr '\n' ' '
}

both='x86_64-softmmu,aarch64-softmmu x86_64 aarch64 '
is "both targets without configure" "$(targets)" "$both"
for list in aarch64-softmmu x86_64-softmmu,arm-softmmu x86_64 ''; do
    said=$(configure "--target-list=$list")
    matches "refused: '$list'" "$said" "^configure: --target-list=$list: "
done
is "a refused list is not kept" "$(find "$top/build" -maxdepth 1 -type f)" ""
configure --target-list=x86_64-softmmu >/dev/null
is "one target" "$(targets)" "x86_64-softmmu x86_64 "
configure --target-list=aarch64-softmmu,x86_64-softmmu >/dev/null
is "both targets, in the other order" "$(targets)" "$both"
configure --target-list=x86_64-softmmu >/dev/null
configure >/dev/null
is "both targets by default" "$(targets)" "$both"
touch -d '2000-01-01' "$top/build/target-list"
configure >/dev/null
is "the same list leaves the file alone" "$(date -r "$top/build/target-list" +%Y)" 2000

configure --target-list=x86_64-softmmu >/dev/null
before=$(cat "$top/build/reconfigure")
for step in $steps; do
    step=${step#*/}
    touch "$work/fails-$step"
    matches "a failed step is an error: $step" "$(configure)" '^status 1$'
    is "a failed step saw the new list: $step" "$(cat "$work/seen-$step")" x86_64-softmmu,aarch64-softmmu
    is "a failed step leaves the former list: $step" "$(targets)" "x86_64-softmmu x86_64 "
    is "a failed step leaves the former arguments: $step" "$(cat "$top/build/reconfigure")" "$before"
    rm "$work/fails-$step"
done
rm "$work"/seen-*
configure >/dev/null
is "all steps see the new list" "$(cat "$work"/seen-* | sort | uniq -c | tr -s ' ')" \
    " 5 x86_64-softmmu,aarch64-softmmu"
is "the new list is in effect afterwards" "$(targets)" "$both"

# What configure tells deps.sh of the archive if QEMU's source exists.
echo "echo \"\$POSTERN_NEED_ARCHIVE\" >'$work/need'" >"$top/scripts/setup/deps.sh"
# need [ARGUMENT]...: of configure
need() {
    configure "$@" >/dev/null
    cat "$work/need"
}
is "the archive is needed for a source" "$(need)" 1
mkdir -p "$top/build/linux/src"
is "the archive is needed for a busybox" "$(need)" busybox
is "the archive is not needed without aarch64" "$(need --target-list=x86_64-softmmu)" 0
is "the archive is not needed with a named busybox" "$(need --aarch64-busybox="$scripts/common.sh")" 0
touch "$top/build/busybox-aarch64"
is "the archive is not needed with an existing busybox" "$(need)" 0

# make starts configure at the top of the checkout.
mkdir "$work/it's here"
touch "$work/it's here/file"
(
    cd "$work/it's here"
    configure --qemu-source=. --aarch64-busybox=file --linux-source="$work/it's here" >/dev/null
)
sed -i 's/exec .\/configure/printf "%s|"/' "$top/build/reconfigure"
is "relative paths are found again from another folder" \
    "$(cd / && sh "$top/build/reconfigure" --more)" \
    "--qemu-source=$work/it's here|--aarch64-busybox=$work/it's here/file|\
--linux-source=$work/it's here|--more|"
matches "a file that does not exist is an error" "$(configure --aarch64-busybox="$work/no")" \
    "^configure: --aarch64-busybox=$work/no: no such file"

# What comes after -- is for QEMU.
configure --target-list=x86_64-softmmu -- --enable-seccomp "--extra-cflags=-g -O0" "--with-pkgversion=it's" \
    >/dev/null
is "options for QEMU are kept" "$(cat "$top/build/qemu-options")" "--enable-seccomp
--extra-cflags=-g -O0
--with-pkgversion=it's"
sed -i 's/exec .\/configure/printf "%s|"/' "$top/build/reconfigure"
is "make configures again with them" "$(sh "$top/build/reconfigure" --more)" \
    "--target-list=x86_64-softmmu|--more|--|--enable-seccomp|--extra-cflags=-g -O0|--with-pkgversion=it's|"
before=$(cat "$top/build/qemu-options" "$top/build/reconfigure")
for option in --target-list=ppc-softmmu --prefix=/opt --cross-prefix=x- enable-seccomp "$(printf -- '--a\nb')"; do
    said=$(configure -- "$option")
    is "after --, one line and status 1 for ${option%%[!-a-z]*}" \
        "$(printf '%s\n' "$said" | wc -l) $(printf '%s\n' "$said" | tail -n 1)" "2 status 1"
done
matches "after --, it says where to name a prefix" "$(configure -- --prefix=/opt)" \
    '^configure: --prefix=/opt: .*make install PREFIX='
is "refused options leave the former ones" "$(cat "$top/build/qemu-options" "$top/build/reconfigure")" "$before"
configure --target-list=x86_64-softmmu >/dev/null
is "without them, they are gone" "$(cat "$top/build/qemu-options")" ""

# Meson reads it, too.
rm "$top/build/meson/build.ninja"
mkdir "$work/bin"
cat >"$work/bin/meson" <<END
#!/bin/sh
cp "$top/build/target-list" "$work/seen-meson"
END
chmod +x "$work/bin/meson"
PATH=$work/bin:$PATH
configure --target-list=x86_64-softmmu >/dev/null
is "Meson is set up with the new list" "$(cat "$work/seen-meson")" x86_64-softmmu

done_testing
