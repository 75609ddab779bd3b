#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Tests that a build of QEMU has memory-testdev only if it asks for it.

set -eu
# shellcheck source=scripts/tests/tap.sh
. "$(dirname "$0")/tap.sh"

src=$(cd "$scripts/../build/qemu/src" && pwd)

# devices TARGET LIST: memory-testdev's symbol, as QEMU's configure sets it
devices() {
    (
        cd "$src"
        python3 scripts/minikconf.py --defconfig "$work/mak" "$work/depends" \
            "configs/devices/$1-softmmu/$2.mak" Kconfig CONFIG_TCG=y \
            CONFIG_KVM=y CONFIG_LINUX=y CONFIG_FDT=y \
            "CONFIG_$(echo "$1" | tr '[:lower:]' '[:upper:]')=y" \
            CONFIG_TARGET_BIG_ENDIAN=n >"$work/config"
        grep -q '^CONFIG_PCI=' "$work/config" ||
            echo "no list of devices"
        grep '^CONFIG_MEMORY_TESTDEV=' "$work/config" || :
    )
}

# commands [OPTION-OF-CPP]...: the registered QMP commands of memory-testdev
commands() {
    grep -v '^#include' "$work/qapi/qapi-init-commands.c" | cpp -P "$@" |
        grep -o '"x-memory-testdev-[a-z]*"' | tr '\n' ' '
}

is "the default list for x86_64 has no memory-testdev" "$(devices x86_64 default)" ""
is "the default list for aarch64 has no memory-testdev" "$(devices aarch64 default)" ""
is "our list for x86_64 has memory-testdev" "$(devices x86_64 testbed)" \
    CONFIG_MEMORY_TESTDEV=y
is "our list for aarch64 has memory-testdev" "$(devices aarch64 testbed)" \
    CONFIG_MEMORY_TESTDEV=y

(cd "$src" && python3 scripts/qapi-gen.py -o "$work/qapi" qapi/qapi-schema.json)
is "no commands without memory-testdev" "$(commands)" ""
is "commands with memory-testdev" "$(commands -DCONFIG_MEMORY_TESTDEV_COMMANDS)" \
    '"x-memory-testdev-run" "x-memory-testdev-fuzz" '

done_testing
