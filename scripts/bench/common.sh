# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # what the scripts that source this set
#
# What the benchmarks share.  To be sourced after common.sh; $work is a folder
# for what is only there on the way.

# note TEXT...: what failed; to be shown at once, and again at the end
note() {
    say "    $*" >&2
    say "$*" >>"$work/notes"
}

# whole_runs LOG MEMBERS: the lines of JSON in LOG, each with MEMBERS before
# its own; whole ones, for the last may have been cut off
whole_runs() {
    sed -n "s/^{\(.*}\)\r*$/{$2, \1/p" "$1"
}

# svg FILE DATA BLOCKS TITLE [COMMANDS]: medians over the vCPUs, or what COMMANDS
# of gnuplot make of it, with least and most, of each of the blocks of DATA, whose
# first line is its name
svg() {
    if ! gnuplot <<END; then
set terminal svg size 900,600 background "white"
set output "$1"
set title "$4"
set xlabel "vCPUs"
set logscale x 2
set yrange [0:*]
set grid
set key outside right
${5:-}
plot for [i=0:$(($3 - 1))] "$2" index i \
    using 1:2:3:4 with yerrorlines title columnheader(1)
END
        rm -f "$1"
        _svg=${1##*/}
        warn "no plot ${_svg%.svg}: gnuplot failed"
        return 0
    fi
    say "plot: ${1#"$root/"}"
}

# objects FILE: its lines, as members of a JSON array
objects() {
    sed -e 's/^/    /' -e '$!s/$/,/' "$1"
}

# strings FILE: its lines, as strings of JSON
strings() {
    sed -e 's/[\\"]/\\&/g' -e 's/.*/"&"/' "$1"
}
