#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# shell.sh: opens a shell in L1, with our QEMU first in the path.

set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=scripts/common.sh
. "$root/scripts/common.sh"
# shellcheck source=scripts/run/arch.sh
. "$root/scripts/run/arch.sh"

build_what_runs

cd "$root"
PATH=$programs:$PATH
export PATH
exec "$build/meson/testbed/testbed" "--arch=$arch" --shell
