# SPDX-License-Identifier: GPL-2.0-or-later
#
# locks.awk: how many instructions locks are held for, in a trace of
# instructions.sh.
#
#     nm -n PROGRAM | awk -f symbols.awk -f locks.awk \
#         - System.map TRACE
#
# Prints "times taken a page, instructions held (median, longest), kind, where it
# is taken, where it is released", what is held most a page first.  Which lock it
# is, the two functions tell.  The median leaves out the few times when an
# interrupt came; the longest does not.  A lock that is held while another is
# taken has its own instructions and the other's.  What the lock functions do
# themselves, after they have the lock and before they let it go, is not in it.

# kind(): what a lock or unlock function is about; sets taken
function kind(function_name) {
    if (function_name in kinds) {
        taken = takes[function_name]
        return kinds[function_name]
    }
    taken = function_name !~ /unlock|up_/
    takes[function_name] = taken
    if (function_name ~ /^_raw_spin_(un)?(try)?lock/)
        return kinds[function_name] = "spin"
    if (function_name ~ /^_raw_read_(un)?(try)?lock/)
        return kinds[function_name] = "read"
    if (function_name ~ /^_raw_write_(un)?(try)?lock/)
        return kinds[function_name] = "write"
    if (function_name ~ /^(down_read|up_read)(_trylock|_killable|_interruptible)?$/)
        return kinds[function_name] = "sem-read"
    if (function_name ~ /^(down_write|up_write)(_trylock|_killable)?$/)
        return kinds[function_name] = "sem-write"
    if (function_name ~ /^mutex_(un)?lock(_killable|_interruptible)?$/)
        return kinds[function_name] = "mutex"
    return kinds[function_name] = ""
}

at == "kernel kvm_tdp_mmu_map" { pages += entry }

# The caller is who ran before; a lock is held from where its function is left.
entry {
    what = kind(name[found])
    if (what) {
        if (taken) {
            top[what]++
            taker[what, top[what]] = before
            begin[what, top[what]] = 0
            entering = what
        } else if (top[what] > 0) {
            n = top[what]--
            key = what " " taker[what, n] " " before
            held = begin[what, n] ? executed - begin[what, n] : 0
            holds[key, ++times[key]] = held
        }
    }
}

{
    now = name[found]
    if (entering && !kind(now)) {
        begin[entering, top[entering]] = executed
        entering = ""
    }
    before = now
}

END {
    if (!pages) {
        print "no page was mapped" >"/dev/stderr"
        exit 1
    }
    printf "%d pages\n", pages
    for (key in times) {
        sort(key, times[key])
        median = holds[key, int((times[key] + 1) / 2)]
        printf "%s\t%6.2f %6d %6d  %s\n", median * times[key], times[key] / pages,
               median, holds[key, times[key]], key | "sort -rn | cut -f2"
    }
}

# sort(): insert one after the other
function sort(key, nr,    i, j, x) {
    for (i = 2; i <= nr; i++) {
        x = holds[key, i]
        for (j = i - 1; j >= 1 && holds[key, j] > x; j--)
            holds[key, j + 1] = holds[key, j]
        holds[key, j + 1] = x
    }
}
