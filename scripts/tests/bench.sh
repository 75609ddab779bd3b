#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Tests what bench.py makes of the runs of a benchmark, and how it ends.

set -eu
# shellcheck source=scripts/tests/tap.sh
. "$(dirname "$0")/tap.sh"

# python CODE: runs CODE after the definitions that all of it needs
python() {
    PYTHONPATH=$scripts/bench python3 -B -c "
import json, sys
from figures import *

def known(x):
    return None if x in ('failed', '-') else float(x)

def to_range(words):
    return None if words[0] == '-' else Range(*map(float, words))

def stats():
    for group, row, runs, failed, *numbers in map(str.split, sys.stdin):
        yield Stat(group, row, int(runs), int(failed), to_range(numbers[:3]),
                   to_range(numbers[3:]))

$1"
}

# expecting N LINE...: statistics of runs; round, group, row and value of each
expecting() {
    _expected=$1
    shift
    printf '%s\n' "$@" | python "
runs = [Figure(*words[:3], known(words[3])) for words in map(str.split, sys.stdin)]
for stat in summarize(runs, 'slow', $_expected):
    print(*stat[:4], *['-' if x is None else json_number(x)
                       for values in stat[4:] for x in values or [None] * 3])"
}
stats() {
    expecting 0 "$@"
}

is "median, least, most, of an odd number, in any order" \
    "$(stats '1 2 a 30' '2 2 a 10' '3 2 a 20')" \
    "2 a 3 0 20 10 30 - - -"
is "the mean of the two in the middle of an even number" \
    "$(stats '1 2 a 4' '2 2 a 1' '3 2 a 3' '4 2 a 100')" \
    "2 a 4 0 3.5 1 100 - - -"
is "numbers are compared as numbers" "$(stats '1 2 a 9' '2 2 a 10' '3 2 a 100')" \
    "2 a 3 0 10 9 100 - - -"
is "a ratio compares runs of the same round" \
    "$(stats '1 2 slow 10' '1 2 a 20' '2 2 slow 100' '2 2 a 300' '3 2 a 7')" \
    "2 slow 2 0 55 10 100 1 1 1
2 a 3 0 20 7 300 2.5 2 3"
is "a ratio compares runs of the same group" \
    "$(stats '1 2 slow 10' '1 4 slow 20' '1 4 a 60' | tail -n 1)" \
    "4 a 1 0 60 60 60 3 3 3"
is "a failed run is counted, without a figure" \
    "$(stats '1 2 slow 10' '1 2 a failed' '2 2 slow 10' '2 2 a 5')" \
    "2 slow 2 0 10 10 10 1 1 1
2 a 2 1 5 5 5 0.5 0.5 0.5"
is "no ratio if the base failed" \
    "$(stats '1 2 slow failed' '1 2 a 5')" \
    "2 slow 1 1 - - - - - -
2 a 1 0 5 5 5 - - -"
is "missing runs count as failed" \
    "$(expecting 3 '1 2 a 5' '1 2 b failed' | cut -d ' ' -f 1-5)" \
    "2 a 3 2 5
2 b 3 3 -"
is "large numbers stay whole" "$(stats '1 2 a 1234567890')" \
    "2 a 1 0 1234567890 1234567890 1234567890 - - -"

# table LINE...: a table of statistics, with the ratio of another
table() {
    printf '%s\n' "$@" | python "
lines = table(list(stats()), 'vCPUs', 'pages/s', 'slow', seed={('2', 'a'): '1.234'})
sys.stdout.write('\n'.join(lines) + '\n')"
}

table=$(table '2 slow 3 0 10 9 11 1 1 1' '2 a 3 1 25 24 26 2.5 2.4 2.6' \
    '4 slow 1 1 - - - - - -')
matches "table: a column for each group" "$table" '^median pages/s +2 +4 +vCPUs$'
matches "table: the medians in it" "$table" '^  slow +10.0 +-$'
matches "table: ratio, spread, the seed's ratio, and failures" "$table" \
    '^  a +25.0 \(24.0..26.0\) +2.50 \(2.40..2.60\) +1.234  1 of 3 runs failed$'
matches "table: a group with failures only" "$table" '^  slow +- +- +1 of 1 runs failed$'
is "table: a row without runs in a group is an empty cell there, and no line" \
    "$(printf '%s\n' "$table" | tr -s ' ')" \
    "median pages/s 2 4 vCPUs
 slow 10.0 -
 a 25.0

vCPUs: 2 pages/s x slow seed
 slow 10.0 (9.00..11.0) 1.00 (1.00..1.00)
 a 25.0 (24.0..26.0) 2.50 (2.40..2.60) 1.234 1 of 3 runs failed

vCPUs: 4 pages/s x slow seed
 slow - - 1 of 1 runs failed"
is "table: the same for the first group" \
    "$(table '2 slow 1 0 10 10 10 1 1 1' '4 a 1 0 5 5 5 - - -' | head -n 3)" \
    "median pages/s                 2         4  vCPUs
  slow                      10.0
  a                                   5.00"

# runs METRIC LINE...: a figure of runs of post-copy
runs() {
    _metric=$1
    shift
    printf '%s\n' "$@" | python "
import postcopy
for run in map(json.loads, sys.stdin):
    figure = postcopy.figure('$_metric', run)
    print(*figure[:3], json_number(figure.value), sep='|')"
}

run='{"round": 2, "vcpus": 4, "mode": "plain", "limit_mib_s": 0, "delay_us": 30, "side": "upstream", '
is "post-copy: a figure as it is" "$(runs p50_us "$run\"p50_us\": 17}")" \
    "2|4 vCPUs, plain, 30 us|upstream|17"
is "post-copy: operations in the time that it took" \
    "$(runs ops_per_s "$run\"ops\": 30, \"guest_us\": 2000000, \"postcopy_us\": 9}")" \
    "2|4 vCPUs, plain, 30 us|upstream|15"
is "post-copy: processor time for a page that was used" \
    "$(runs dst_ns "$run\"pages\": 2, \"dst_ns\": 100, \"requested\": 5}")" \
    "2|4 vCPUs, plain, 30 us|upstream|50"
is "post-copy: a limit makes another group" \
    "$(runs waits "$(echo "$run\"waits\": 3}" | sed 's/s": 0/s": 8/')")" \
    "2|4 vCPUs, plain, 30 us, 8 MiB/s|upstream|3"

# changes TABLE LINE...: the figures of one table of memslots
changes() {
    _table=$1
    shift
    printf '%s\n' "$@" | python "
import memslots
for figure in memslots.table_figures('$_table', map(json.loads, sys.stdin)):
    print(*figure[:3], json_number(figure.value), sep='|')"
}

run='{"part": "idle", "round": 1, "slots": 10, '
is "memslots: all of them by one ioctl, for each" \
    "$(changes 'move all' "$run\"op\": \"move\", \"batch\": true, \"median_ns\": 50000}")" \
    "1|10|raw, one list|5"
is "memslots: one by an ioctl" \
    "$(changes 'move one' "$run\"op\": \"one\", \"batch\": false, \"median_ns\": 50000}")" \
    "1|10|raw, one by one|50"
is "memslots: all of them through QEMU, for each" \
    "$(changes setup "$run\"op\": \"setup, batched\", \"level\": \"postern\", \"ns\": 50000}")" \
    "1|10|postern, batched|5"
is "memslots: one through QEMU, without other tables and failed runs" \
    "$(changes 'move one' "$run\"op\": \"move one\", \"level\": \"postern, no lists\", \"ns\": 50000}" \
        "$run\"op\": \"setup\", \"level\": \"postern\", \"ns\": 1}" \
        "$run\"op\": \"qemu\", \"failed\": true}")" \
    "1|10|postern, no lists|50"
is "memslots: the seed's table" \
    "$(changes seed "$(echo "$run\"op\": \"unmap 2M\", \"ns\": 50000}" | sed 's/idle/seed/')")" \
    "1|10|unmap 2M|50"

# bench.py userfault, with fake selftests and a fake testbed
make_checkout
mkdir -p "$top/build/meson/testbed" "$top/build/linux/selftests" "$work/bin"
mkdir -p "$top/build/linux/src" "$top/build/qemu-stock/src" "$top/build/qemu-testdev/src"
printf 'VERSION = 1\nPATCHLEVEL = 2\nSUBLEVEL = 3\n' >"$top/build/linux/src/Makefile"
: >"$top/build/linux/src/Kbuild"
for tree in qemu qemu-stock qemu-testdev; do
    echo 4.5.6 >"$top/build/$tree/src/VERSION"
    : >"$top/build/$tree/src/qemu-options.hx"
done
cat >"$top/build/meson/testbed/testbed" <<'END'
#!/bin/sh
echo "$*" >>"$OPTIONS"
while [ "$1" != -- ]; do shift; done
shift
[ ! -e "$LOST_L1" ] || { rm "$LOST_L1"; exit 3; }
[ ! -e "$HUNG_L1" ] || { rm "$HUNG_L1"; exit 124; }
exec "$@"
END
cat >"$top/build/linux/selftests/userfault_perf_test" <<'END'
#!/bin/sh
case $2-$4 in
$BROKEN) echo "something is wrong"; exit 4 ;;
$SILENT) echo "nothing to tell" ;;
*) echo "{\"mode\": \"$2\", \"vcpus\": $4, \"pages\": 10, \"ns\": 500, \"pages_per_s\": 7}" ;;
esac
END
cat >"$top/build/linux/selftests/userfault_memslot_perf_test" <<'END'
#!/bin/sh
[ "$2" != "$BROKEN" ] || exit 1
echo "{\"op\": \"move\", \"slots\": $2, \"count\": 500, \"median_ns\": 20}"
END
printf '#!/bin/sh\n' >"$work/bin/ninja"
printf '#!/bin/sh\necho 2\n' >"$work/bin/nproc"
printf '#!/bin/sh\nexit 1\n' >"$work/bin/gnuplot"
chmod +x "$top/build/meson/testbed/testbed" "$top/build/linux/selftests"/* "$work/bin"/*
export PATH="$work/bin:$PATH" BROKEN=none-none SILENT=none-none LOST_L1="$work/lost" HUNG_L1="$work/hung" OPTIONS="$work/options"

# bench ARG...: sets said and status
bench() {
    status=0
    said=$("$top/scripts/bench/bench.py" "$@" 2>&1) || status=$?
}

json=$top/build/bench-userfault.json
# json_count PATTERN
json_count() {
    grep -c -- "$1" "$json"
}

touch "$json" "$top/build/bench-userfault-wall.svg"
bench userfault icount off 2
is "no failure if all runs are there, even without a plot" "$status" 0
matches "a failed plot is a warning" "$said" 'warning: no plot bench-userfault-icount'
is "results have a line for each run" "$(json_count '"round"')" 128
is "results are JSON" "$(python3 -m json.tool "$json" >/dev/null && echo yes)" yes
is "plots of an earlier call are removed" "$(find "$top/build" -name '*.svg')" ""

BROKEN=kvm-4 bench userfault icount 2
is "a failed run: status 1" "$status" 1
matches "a failed run is reported at once or at the end" "$said" '^icount, round 2, linux: failed: .*"kvm", "vcpus": 4, "failed": 4}$|^  icount, round 2.*"failed": 4}$'
matches "a failed run is counted in the tables" "$said" '2 of 2 runs failed$'
is "a failed run is in the results, with the others" "$(json_count '"round"')" 112

SILENT=kvm-4 bench userfault icount 2
is "a run without output: status 1" "$status" 1
is "a run without output is in the results" "$(json_count '"failed": "no output"')" 2

touch "$LOST_L1"
bench userfault icount 2
is "an L1 that is lost: status 1" "$status" 1
matches "an L1 that is lost: its runs count as failed" "$said" '1 of 2 runs failed$'
matches "an L1 that is lost is reported" "$said" '^  icount, round 1, linux: the testbed ended with status 3'
is "an L1 that is lost: the other runs are in the results" "$(json_count '"round"')" 56

BROKEN=509 bench userfault off 1
is "failed memslot operations: status 1" "$status" 1
is "failed memslot operations make no group without a name" "$(printf '%s\n' "$said" | grep -c '^, ')" 0

BROKEN='*' bench userfault wall 1
is "everything fails: status 1" "$status" 1
matches "a warning if L1 has more CPUs than the machine" "$said" "^warning: L1's 4 CPUs share 2 "
matches "everything fails: the tables have each row" "$said" '^  kvm-minor +- +- +1 of 1 runs failed$'

# bench.py postcopy, with fakes likewise: six runs a round, of 1 vCPU
for script in setup/unpack setup/testdev-tree build/qemu bench/redis-guest; do
    printf '#!/bin/sh\n' >"$top/scripts/$script.sh"
done
printf '#!/bin/sh\n' >"$work/bin/tc"
mkdir -p "$top/build/qemu/out/tests/qtest"
cat >"$top/build/qemu/out/tests/qtest/postern-bench" <<'END'
#!/bin/sh
run='{"round": 1, "vcpus": 1, "limit_mib_s": 0, "delay_us": 0, "pages": 10, "dst_ns": 500,'
run="$run \"requested\": 3, \"p50_us\": 7, \"p99_us\": 9, \"wait_us\": 50, \"waits\": 6,"
run="$run \"ops\": 100, \"guest_us\": 1000, \"postcopy_us\": 900,"
for side in upstream postern-off postern; do
    echo "$run \"mode\": \"plain\", \"side\": \"$side\"}"
    echo "$run \"mode\": \"preempt\", \"side\": \"$side\"}"
done
END
chmod +x "$work/bin/tc" "$top/build/qemu/out/tests/qtest/postern-bench"
json=$top/build/bench-postcopy.json
VCPUS=1 bench postcopy icount 1
is "post-copy: icount: status 0" "$status" 0
for part in wall counted; do
    : >"$OPTIONS"
    VCPUS=1 DELAYS=0 LIMITS=0 bench postcopy $part 1
    is "post-copy: $part: status 0, and whether instructions are counted" \
        "$status $(grep -c -e ' --icount ' "$OPTIONS")" "0 $([ $part = wall ] && echo 0 || echo 1)"
done
matches "post-copy: a table of all sides" "$said" \
    '^  postern-off +50.0 \(50.0..50.0\) +1.00 \(1.00..1.00\)$'
is "post-copy: all runs are in the results" "$(json_count '"round"')" 6
touch "$HUNG_L1"
VCPUS=1 DELAYS=0 LIMITS=0 bench postcopy wall 1
is "post-copy: a boot that hangs is a failure" "$status" 1
matches "post-copy: a boot that hangs is reported" "$said" '^  wall, round 1: ended with status 124 '
VCPUS=1 DELAYS=0 LIMITS=0,8 bench postcopy wall 1
is "post-copy: missing runs: status 1" "$status" 1
matches "post-copy: missing runs are reported" "$said" '^  wall, round 1: 6 of 12 runs '

# The same on an emulated host of aarch64
echo aarch64-softmmu,x86_64-softmmu >"$top/build/target-list"
mkdir -p "$top/build/linux/selftests-arm64" "$top/build/qemu-arm64/out/tests/qtest"
cp "$top/build/linux/selftests/userfault_perf_test" "$top/build/linux/selftests-arm64/"
cp "$top/build/qemu/out/tests/qtest/postern-bench" "$top/build/qemu-arm64/out/tests/qtest/"
printf '#!/bin/sh\necho aarch64\n' >"$work/bin/uname"
chmod +x "$work/bin/uname"
export POSTERN_ARCH=aarch64
: >"$OPTIONS"
bench userfault icount 1
is "aarch64: kernel only: status 0, and the emulated host" \
    "$status $(grep -c -e '--arch=aarch64 .*/linux-arm64/' "$OPTIONS")" '0 1'
bench userfault off 1
matches "aarch64: no comparison with a stock kernel" "$status $said" '^1 .*off is for x86_64'
: >"$OPTIONS"
VCPUS=1 LIMITS=0 bench postcopy wall 1
is "aarch64: post-copy: status 0, and both QEMUs" \
    "$status $(grep -c -e '--upstream=.*/qemu-arm64-stock/out/qemu-system-aarch64 ' "$OPTIONS")" \
    '0 1'
VCPUS=1 LIMITS=0 DELAYS=0,30 bench postcopy wall 1
matches "aarch64: no delays" "$status $said" '^1 .*DELAYS: 0 only'
bench memslots 1
matches "aarch64: another benchmark is refused" "$status $said" '^1 .*memslots is for x86_64'
echo x86_64-softmmu >"$top/build/target-list"
bench userfault icount 1
matches "aarch64: refused without such a target" "$status $said" '^1 .*no aarch64-softmmu'
POSTERN_ARCH=sparc bench userfault icount 1
matches "an unknown architecture is refused" "$status $said" '^1 .*known are x86_64 and aarch64'
unset POSTERN_ARCH
rm "$work/bin/uname"

# bench.py async-pf, likewise: five sides
cat >"$top/build/qemu/out/tests/qtest/postern-bench" <<'END'
#!/bin/sh
run='{"round": 1, "vcpus": 1, "limit_mib_s": 0, "delay_us": 0, "mode": "plain", "p50_us": 7,'
run="$run \"p99_us\": 9, \"wait_us\": 50, \"ops\": 100, \"guest_us\": 1000000, \"postcopy_us\": 900,"
run="$run \"pages\": 10, \"dst_ns\": 500, \"requested\": 3,"
for side in upstream:30 upstream-no-apf:5 exits:10 halt:12 full:40; do
    echo "$run \"work\": ${side#*:}, \"side\": \"${side%:*}\"}"
done
END
VCPUS=1 DELAYS=0 LIMITS=0 bench async-pf async 1
is "async-pf: all runs are there: status 0" "$status" 0
matches "async-pf: work a second, beside the seed's" "$said" \
    '^  full +40.0 \(40.0..40.0\) +4.00 \(4.00..4.00\) +1.91$'
is "async-pf: all runs are in the results" \
    "$(json=$top/build/bench-async-pf.json json_count '"round"')" 5
: >"$OPTIONS"
VCPUS=1 DELAYS=0 LIMITS=0 bench async-pf counted 1
is "async-pf: counted: status 0, and instructions are counted" \
    "$status $(grep -c -e ' --icount ' "$OPTIONS")" '0 1'
VCPUS=1 DELAYS=0,30 LIMITS=0,8 bench async-pf icount 1
is "async-pf: instructions have no network and no limit: status 0" "$status" 0
matches "async-pf: instructions of a page" "$said" '^  full +50.0 \(50.0..50.0\) +1.00 \(1.00..1.00\)$'
VCPUS=1 DELAYS=0 LIMITS=0,8 bench async-pf async 1
is "async-pf: missing runs: status 1" "$status" 1
# A Redis server in the guest: two vCPUs, whatever VCPUS says
VCPUS=1,2 DELAYS=0 LIMITS=0 bench async-pf redis 1
is "async-pf: all runs with Redis are there: status 0" "$status" 0
matches "async-pf: answers of Redis a second" "$said" \
    '^  upstream +100 \(100..100\) '

# bench.py memslots, likewise
cat >"$top/build/linux/selftests/memslot_batch_perf_test" <<'END'
#!/bin/sh
echo "raw:"
for op in setup move one; do
    echo "{\"op\": \"$op\", \"slots\": $2, \"batch\": true, \"median_ns\": 500}"
done
END
cat >"$top/build/qemu/out/tests/qtest/postern-bench-memslots" <<'END'
#!/bin/sh
echo '{"op": "move one", "slots": 10, "level": "postern", "ns": 500}'
[ "$BROKEN" != qemu ] || kill -ABRT $$
echo '{"op": "setup, batched", "slots": 10, "level": "postern", "ns": 500}'
END
chmod +x "$top/build/linux/selftests/memslot_batch_perf_test" \
    "$top/build/qemu/out/tests/qtest/postern-bench-memslots"
SLOTS=10 bench memslots idle 2
is "memslots: no failure if all runs are there" "$status" 0
BROKEN=qemu SLOTS=10 bench memslots idle 2
is "memslots: a program that dies halfway: status 1" "$status" 1
matches "memslots: a program that dies halfway is reported" "$said" \
    '^  idle, round 2: failed: .*"op": "qemu", .*"failed": 134'
echo 7.8.9 >"$top/build/qemu-testdev/src/VERSION"
SLOTS=10 bench memslots idle 1
matches "memslots: another upstream is refused" "$status $said" '^1 .*qemu-testdev/src is another QEMU'
rm "$top/build/qemu/src/VERSION" "$top/build/qemu-testdev/src/VERSION"
SLOTS=10 bench memslots idle 1
matches "memslots: a tree without a version is refused" "$status $said" \
    '^1 .*bench.py: build/qemu.*/src is no tree of qemu'

for rounds in 0 00 x 3x ''; do
    bench userfault "$rounds"
    matches "usage: '$rounds' rounds" "$status $said" '^1 .*usage: '
done
bench userfault icount icount
matches "usage: a part that is named twice" "$status $said" '^1 .*usage: '
bench
matches "usage: no benchmark" "$status $said" '^1 .*usage: '
for slots in x 1,,2 ,1 '1,'; do
    SLOTS=$slots bench memslots
    matches "refused: SLOTS=$slots" "$status $said" '^1 .*SLOTS is a list of numbers'
    DELAYS=$slots bench postcopy
    matches "refused: DELAYS=$slots" "$status $said" '^1 .*DELAYS and LIMITS are lists of numbers'
done
VCPUS=1,02 bench postcopy
matches "refused: VCPUS with a leading zero" "$status $said" '^1 .*VCPUS is a list of numbers above 0'

done_testing
