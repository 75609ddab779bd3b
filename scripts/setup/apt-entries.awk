# SPDX-License-Identifier: GPL-2.0-or-later
#
# Reads apt's own source lists, one-line (*.list) and deb822 (*.sources), and
# prints "URI SUITE SIGNED-BY" for each binary source with component main.
# SIGNED-BY is "-" if there is none, and "(inline)" for a key in the file itself.

function emit(    i, j, u, s, n, m) {
    if (enabled && types ~ /(^| )deb( |$)/ && (" " components " ") ~ / main /) {
        n = split(uris, u, " ")
        m = split(suites, s, " ")
        for (i = 1; i <= n; i++)
            for (j = 1; j <= m; j++)
                print u[i], s[j], signed == "" ? "-" : signed
    }
    types = uris = suites = components = signed = field = ""
    enabled = 1
}

FNR == 1 { emit(); deb822 = FILENAME ~ /\.sources$/ }

{ sub(/\r$/, "") }

!deb822 {
    sub(/#.*/, "")
    if ($1 != "deb")
        next
    types = "deb"
    line = $0
    sub(/^[ \t]*deb[ \t]+/, "", line)
    if (line ~ /^\[/) {
        options = line
        sub(/\].*/, "", options)
        sub(/^\[[^]]*\][ \t]*/, "", line)
        if (match(options, /signed-by=[^ \t]+/))
            signed = substr(options, RSTART + 10, RLENGTH - 10)
    }
    n = split(line, word, " ")
    uris = word[1]
    suites = word[2]
    for (k = 3; k <= n; k++)
        components = components " " word[k]
    emit()
    next
}

/^#/ { next }
/^[ \t]*$/ { emit(); next }
/^[ \t]/ {
    # A key in the file, or the continuation of a list.
    if (field == "signed-by")
        signed = "(inline)"
    else
        add($0)
    next
}
{
    field = tolower($0)
    sub(/[ \t]*:.*/, "", field)
    value = $0
    sub(/^[^:]*:[ \t]*/, "", value)
    add(value)
}
END { emit() }

function add(text) {
    gsub(/[ \t]+/, " ", text)
    if (field == "types") types = types " " text
    else if (field == "uris") uris = uris " " text
    else if (field == "suites") suites = suites " " text
    else if (field == "components") components = components " " text
    else if (field == "enabled" && tolower(text) ~ /no|false/) enabled = 0
    else if (field == "signed-by" && text != "") { sub(/ .*/, "", text); signed = text }
}
