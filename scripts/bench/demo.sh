#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# demo.sh [ROUNDS]: repeats the demo's two migrations ROUNDS times (5), of one
# guest in one boot of L1, in the other order each time.  Prints the median of
# each figure, with the least and the most.

set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=scripts/common.sh
. "$root/scripts/common.sh"

rounds=${1:-5}
case $rounds in
*[!0-9]* | 0*) die "usage: $0 [ROUNDS]" ;;
esac

say "machine: $(machine), load $(load)"
say "$rounds rounds on an emulated host with 1 CPU: compare the columns, not with other machines"
TESTBED_OPTIONS="--timeout=$((120 + rounds * 200))" exec "$root/scripts/run/demo.sh" "--rounds=$rounds"
