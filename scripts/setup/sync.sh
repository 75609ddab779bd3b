#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# sync.sh: brings new files of ours and changed hooks into the prepared trees.
# Quick and silent if there are none.

set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=scripts/common.sh
. "$root/scripts/common.sh"
# shellcheck source=scripts/setup/trees.sh
. "$root/scripts/setup/trees.sh"

lock_build
for tree in $trees; do
    sh "$root/scripts/setup/lay.sh" "$tree"
    sh "$root/scripts/setup/hooks.sh" "$tree" apply
done
