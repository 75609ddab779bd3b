# SPDX-License-Identifier: GPL-2.0-or-later
#
# symbols.awk: for the other *.awk, which read "nm -n" of a program,
# System.map, and a trace of instructions.sh, in this order.  For each instruction it
# sets executed, how many there were until now, at, "where function", and entry,
# whether it is the function's first one.  Other programs and libraries are one
# function; what runs in L2, the guest, is another.

BEGIN { executed = nr_symbols = 0 }

# Symbols come sorted by address; hexadecimal numbers of as many digits compare
# as text.  It takes the "" to make them text: 4e0012 is a number otherwise.
FILENAME != last_file { last_file = FILENAME; nr_files++ }

nr_files < 3 {
    if ($2 ~ /[tTwW]/) {
        start[nr_symbols] = $1 ""
        name[nr_symbols++] = $3
    }
    next
}

# QEMU tells an instruction before it executes it, and then tells when it did not,
# as an interrupt came first.  So each waits for the line after it; the last one of
# the trace, which may be cut off, does not count.
/^Stopped execution of TB chain before / { upcoming = "" }
!/^Trace / { next }

{
    line = upcoming
    upcoming = $0
    if (line == "")
        next
    $0 = line
    executed++
    split($4, field, "/")
    pc = field[2] ""
    # HF_GUEST_MASK
    if (index("2367abef", substr(field[3], 3, 1))) {
        at = "L2 the guest"
        entry = 0
    } else {
        found = symbol(pc)
        at = (pc ~ /^f/ ? "kernel " : "user ") (found in name ? name[found] : "libraries")
        entry = pc == start[found]
    }
}

# symbol(): the number of the function that has the address
function symbol(address,    low, high, middle) {
    if (address in cache)
        return cache[address]
    low = -1
    high = nr_symbols
    while (high - low > 1) {
        middle = int((low + high) / 2)
        if (start[middle] <= address)
            low = middle
        else
            high = middle
    }
    # Libraries lie far above the program.
    return cache[address] = address ~ /^00007f/ ? -1 : low
}
