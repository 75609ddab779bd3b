#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# selftests.sh LINUX-SOURCE BUILD-DIRECTORY: builds the KVM selftests that the
# test suites run, out of the kernel's tree, in BUILD-DIRECTORY.
#
# A second run rebuilds only what depends on a file that changed.  Environment:
# ARCH, CROSS_COMPILE, CC, MAKE, and JOBS (default: one a processor).

set -eu

# For every architecture, and for one
tests="memslot_batch_test memslot_batch_perf_test memslot_batch_stress_test
       userfault_test userfault_memslot_test userfault_stress_test
       userfault_accept_test userfault_accept_stress_test
       userfault_fuzz_test userfault_gigantic_test userfault_perf_test
       userfault_memslot_perf_test
       access_tracking_perf_test demand_paging_test dirty_log_test
       kvm_page_table_test memslot_modification_stress_test memslot_perf_test
       set_memory_region_test"
tests_x86="userfault_accept_events_test userfault_accept_kill_test
       userfault_accept_nested_test
       userfault_async_pf_test userfault_gmem_test
       userfault_gmem_update_test userfault_nested_test userfault_readonly_test
       userfault_reclaim_test userfault_smm_test
       guest_memfd_test max_guest_memory_test pre_fault_memory_test
       x86_64/private_mem_conversions_test x86_64/private_mem_kvm_exits_test"
tests_arm64="aarch64/page_fault_test"

if [ $# -ne 2 ]; then
    echo "usage: $0 LINUX-SOURCE BUILD-DIRECTORY" >&2
    exit 2
fi

if [ ! -d "$1/tools/testing/selftests/kvm" ]; then
    echo "$0: $1 is no kernel tree" >&2
    exit 2
fi

mkdir -p "$2"
src=$(cd "$1" && pwd)
out=$(cd "$2" && pwd)
make=${MAKE:-make}
jobs=${JOBS:-$(nproc)}
cc=${CC:-${CROSS_COMPILE:-}gcc}

# The options of a make that runs us are not for ours.
unset MAKEFLAGS MFLAGS MAKELEVEL

# The kernel's headers for userspace: the machine's do not have what this tree
# adds.  headers_install would give all of them new time stamps.
headers=$out/headers
mkdir -p "$headers" "$out/tools"
"$make" -s -C "$src" O="$headers" -j"$jobs" headers

case ${ARCH:-$(uname -m)} in
arm64 | aarch64)
    tests="$tests $tests_arm64"
    # L1 of arm64 need not have libraries.
    LDFLAGS="${LDFLAGS:-} -static"
    export LDFLAGS
    ;;
*) tests="$tests $tests_x86" ;;
esac

targets=
for t in $tests; do
    targets="$targets $out/$t"
done

# arm64's makefile puts generated headers into the tree, or into abs_objdir.
# shellcheck disable=SC2086 # a list
"$make" -s -C "$src/tools/testing/selftests/kvm" -j"$jobs" \
        OUTPUT="$out" abs_objdir="$out" INSTALL_HDR_PATH="$headers/usr" \
        KHDR_INCLUDES="-isystem $headers/usr/include" CC="$cc" $targets
