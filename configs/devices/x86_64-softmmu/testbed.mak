# SPDX-License-Identifier: GPL-2.0-or-later
#
# qemu-system-x86_64 with what Postern's own tests and benchmarks need.

include default.mak
CONFIG_MEMORY_TESTDEV=y
