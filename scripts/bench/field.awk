# SPDX-License-Identifier: GPL-2.0-or-later
#
# field.awk: for programs that read runs, a line of JSON each.

# field(): what a line has by that name, without quotes; "" if it has none
function field(name) {
    if (!match($0, "\"" name "\": \"?[^,\"}]*"))
        return ""
    name = substr($0, RSTART, RLENGTH)
    sub(/^"[^"]*": "?/, "", name)
    return name
}
