# SPDX-License-Identifier: GPL-2.0-or-later
#
# The usual commands.  meson.build describes what is built; this sets up what is
# not set up yet, and calls Meson and the scripts.

MESON_BUILD = build/meson

# Each target runs ninja in the same folder, which uses all processors itself.
.NOTPARALLEL:
.PHONY: all demo check check-aarch64 check-debug-kernel check-full check-fuzz
.PHONY: check-libvirt check-packages check-sanitizers check-series check-upstream soak
.PHONY: bench bench-async-pf bench-userfault bench-postcopy bench-memslots
.PHONY: full install linux-deb packages shell series refresh help distclean prepare

# Others have an ARCH in their environment, so it counts as an argument only.
unexport ARCH
ifeq ($(origin ARCH),command line)
ifneq ($(filter-out demo shell soak bench-userfault bench-postcopy,$(or $(MAKECMDGOALS),all)),)
$(error ARCH is for demo, shell, soak, bench-userfault and bench-postcopy)
endif
export POSTERN_ARCH = $(ARCH)
endif

all: prepare
	@ninja -C $(MESON_BUILD)

# One guest, migrated with userfaultfd and with KVM userfault
demo: prepare
	@scripts/run/demo.sh

check: prepare
	@scripts/check/check.sh $(TESTS)

# An emulated host of aarch64; there, the KVM selftests, the demo, a soak, and
# QEMU's tests of post-copy and memslots
check-aarch64: prepare
	@scripts/check/check.sh --suite=aarch64 $(TESTS)

# KVM selftests on a kernel with KASAN and lockdep
check-debug-kernel: prepare
	@scripts/check/check.sh --suite=debug-kernel $(TESTS)

# What "make install" installs, beside Debian 13's
check-full: prepare
	@scripts/check/check.sh --suite=full $(TESTS)

# Randomized changes of memory regions against a model, for an hour
check-fuzz: prepare
	@scripts/check/check.sh --suite=fuzz

# A guest migrated by Debian 13's libvirt
check-libvirt: prepare
	@scripts/check/check.sh --suite=libvirt $(TESTS)

# Our Debian packages, on a stock kernel of Debian 13, and instead of its QEMU
check-packages: prepare
	@scripts/check/check.sh --suite=packages $(TESTS)

# Our qtests with a QEMU with sanitizers
check-sanitizers: prepare
	@scripts/check/check.sh --suite=sanitizer $(TESTS)

# That each patch of "make series" builds
check-series: prepare
	@scripts/check/series.sh

# All of upstream's migration-test
check-upstream: prepare
	@scripts/check/check.sh --suite=upstream $(TESTS)

# Randomized migrations over a network that fails in all ways
soak: prepare
	$(if $(TOUR),$(if $(SEED),,$(error TOUR is a number of a tour of SEED, which is not given)))
	@scripts/run/soak.sh $(or $(N),200) $(SEED) $(TOUR)

# QEMU with the features of the distribution's, in build/qemu-full/out
full: prepare
	@scripts/build/qemu.sh --full build all

# It, in PREFIX, or in DESTDIR/PREFIX
PREFIX = /usr/local
install: prepare
	@scripts/build/install.sh '$(PREFIX)' '$(DESTDIR)'

# A whole kernel with our changes, as Debian packages in build/linux-deb
linux-deb: prepare
	@scripts/packages/linux.sh '$(CONFIG)'

# Debian packages, in build/packages: QEMU's, which take long, and our own
packages: prepare
	@scripts/packages/qemu.sh
	@scripts/packages/build.sh

shell: prepare
	@scripts/run/shell.sh

bench: prepare
	@scripts/bench/demo.sh $(ROUNDS)

# Pages brought on demand, by userfaultfd and by KVM userfault, kernel only
bench-userfault: prepare
	@scripts/bench/bench.py userfault $(ROUNDS)

# Post-copy with upstream's QEMU and with ours
bench-postcopy: prepare
	@scripts/bench/bench.py postcopy $(ROUNDS)

# What a guest gets done during post-copy, by kind of asynchronous page faults
bench-async-pf: prepare
	@scripts/bench/bench.py async-pf $(ROUNDS)

# Changes of memslots and memory regions, next to 10 to 32,000 of them
bench-memslots: prepare
	@scripts/bench/bench.py memslots $(ROUNDS)

# Our files and hooks as patches for "git am"
series: prepare
	@scripts/setup/series.sh

refresh:
	@scripts/setup/hooks.sh qemu refresh
	@scripts/setup/hooks.sh linux refresh

# Brings new files of ours and changed hooks into the prepared trees.
prepare: build/reconfigure
	@scripts/setup/sync.sh

# Configures again if the lists of dependencies change.
build/reconfigure: scripts/setup/deps.list scripts/setup/deps-aarch64.list scripts/setup/upstream.versions
	@if [ -f $@ ]; then sh $@ --install-deps; else ./configure --install-deps; fi

help:
	@echo 'make            build all: QEMU, both kernels, the testbed'
	@echo 'make demo       migrate a running guest, once with userfaultfd and'
	@echo '                once with KVM userfault, and compare the two'
	@echo '                (ARCH=aarch64: on an emulated host of aarch64)'
	@echo 'make check      run the tests (TESTS="--suite=NAME" or names: only those;'
	@echo '                suites: style unit testbed selftest qtest)'
	@echo 'make check-aarch64'
	@echo '                an emulated host of aarch64; there, the KVM selftests, the'
	@echo '                demo, a soak, tests of post-copy and memslots'
	@echo 'make check-debug-kernel'
	@echo '                the KVM selftests on a kernel with KASAN and lockdep'
	@echo 'make check-full install the full QEMU somewhere, run it elsewhere, compare it'
	@echo "                with Debian 13's"
	@echo 'make check-fuzz randomized changes of memory regions, for an hour'
	@echo 'make check-libvirt'
	@echo "                migrate a guest between two of Debian 13's libvirt"
	@echo 'make check-packages'
	@echo '                install our packages in a root file system of Debian 13, boot'
	@echo '                its kernel, migrate a guest there, remove them; compare QEMU'
	@echo 'make check-sanitizers'
	@echo '                our qtests with ASan and UBSan, unit tests with TSan, too'
	@echo 'make check-series'
	@echo '                build upstream with the patches of "make series", one by one'
	@echo 'make check-upstream'
	@echo "                all of upstream's migration-test, the capability on and off"
	@echo 'make soak       N=N (200) random migrations, from SEED=N (and TOUR=N);'
	@echo '                ARCH=aarch64 as above'
	@echo 'make bench      the demo ROUNDS=N times (5) in turn: medians and spread'
	@echo 'make bench-userfault  pages brought on demand, by each mechanism of the'
	@echo '                kernel, ROUNDS=N times (3): tables, JSON, plots;'
	@echo '                ARCH=aarch64 as above'
	@echo 'make bench-postcopy  upstream QEMU against ours, without KVM userfault and'
	@echo '                with it, likewise; ARCH=aarch64 as above'
	@echo 'make bench-async-pf  what the guest gets done meanwhile, likewise'
	@echo 'make bench-memslots  changes of memslots and memory regions, likewise'
	@echo 'make full       QEMU with the features of the distribution, in build/qemu-full'
	@echo 'make install    build that, and install it in PREFIX=FOLDER (/usr/local), below'
	@echo '                DESTDIR=FOLDER if given'
	@echo 'make linux-deb  a whole kernel as Debian packages, with the options of Debian,'
	@echo '                or of CONFIG=FILE'
	@echo 'make packages   packages for Debian 13: QEMU, KVM modules by DKMS, and'
	@echo '                postern-doctor'
	@echo 'make shell      a shell in L1, with our kernel and QEMU; ARCH=aarch64 as above'
	@echo 'make series     write our files and hooks as patches for "git am", to'
	@echo '                build/series/qemu and build/series/linux'
	@echo 'make refresh    put edits of the prepared trees into the hooks'
	@echo 'make distclean  remove build/ (not the downloads)'
	@echo 'Each first does what is still to be done, including the installation'
	@echo 'of packages; ./configure --help tells how to do that by hand.'

distclean:
	rm -rf build
