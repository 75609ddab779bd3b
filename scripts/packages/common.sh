# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
#
# What several scripts of packages need.  To be sourced after scripts/common.sh.
# shellcheck disable=SC2034,SC2154 # used, and set, by the scripts that source it

# commit FORMAT [PATH]...: of the last commit that changed a PATH; empty without git
commit() {
    _format=$1
    shift
    git -C "$root" log -1 --format="$_format" --date=format:%Y%m%d%H%M%S -- "$@" \
        2>/dev/null || :
}

# The end of a version, which is newer for each commit
commit_version='+git%cd.%h'

# series_to DIR TREE: the patches of "make series" for TREE, to DIR/TREE; nobody's,
# as a build need not know who runs it
series_to() {
    GIT_AUTHOR_NAME=postern GIT_AUTHOR_EMAIL=postern@localhost \
        GIT_COMMITTER_NAME=postern GIT_COMMITTER_EMAIL=postern@localhost \
        "$root/scripts/setup/series.sh" "$1" "$2" >/dev/null
}

# series_text DIR TREE: what they say, without the dates and hashes of that run
series_text() {
    sed '/^From [0-9a-f]* \|^Date: \|^index [0-9a-f]/d' "$1/$2"/*.patch
}

# chroot_to DIR COMMAND...: in the root file system DIR; the mounts end with it
chroot_to() {
    _dir=$1
    shift
    # shellcheck disable=SC2016 # the inner shell's
    unshare --mount --propagation private sh -euc '
        mount -t proc proc "$1/proc"
        mount -t tmpfs tmpfs "$1/dev/shm"
        exec chroot "$@"' sh "$_dir" env DEBIAN_FRONTEND=noninteractive HOME=/root "$@"
}

# boot KERNEL COMMAND...: what Linux says that a QEMU boots without a disk; COMMAND
# runs that QEMU
boot() {
    _kernel=$1
    shift
    "$@" -M q35 -accel tcg -m 256 -no-reboot -display none -serial stdio \
        -kernel "$_kernel" -append 'console=ttyS0 panic=-1' 2>&1 </dev/null | tr -d '\r'
}
