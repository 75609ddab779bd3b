/*
 * postern-test: reset, shutdown, hotplug and debugging in the middle of
 * post-copy
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/sockets.h"
#include "libqtest.h"
#include "migration/migration-qmp.h"
#include "migration/migration-util.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "test-util.h"
#include "walker.h"

/* SIGTERM, while a vCPU waits for a page */
static void test_sigterm(void)
{
    QTestState *from, *to;

    if (!begin_and_hold(&from, &to)) {
        return;
    }
    kill(qtest_pid(to), SIGTERM);
    finish_alone(from, to);
}

#ifndef __aarch64__
/* The machine powers off, while a vCPU waits for a page */
static void test_shutdown(void)
{
    enum { PM1A_CNT = 0x604, SLP_EN = 1 << 13 };
    QTestState *from, *to;

    /* It sets the address of the power management registers */
    boot_with_seabios();
    if (!begin_and_hold(&from, &to)) {
        return;
    }
    qtest_outw(to, PM1A_CNT, SLP_EN);
    finish_alone(from, to);
}
#endif

/*
 * The guest is reset.  The firmware accesses missing pages, and so does QEMU,
 * which restores ROMs.  Memslots change.
 */
static void test_reset(void)
{
    g_autofree char *path = g_strdup_printf("%s/dest_serial",
                                            migration_get_env()->tmpfs);
    g_autofree char *said = NULL;
    QTestState *from, *to;

    boot_with_seabios();
    if (!begin(&from, &to, ON, NULL)) {
        return;
    }
    g_assert(g_file_get_contents(path, &said, NULL, NULL));
    g_assert_null(strchr(said, 'A'));
    qtest_qmp_assert_success(to, "{ 'execute': 'system_reset' }");
    /* The guest prints this first */
    for (int i = 0; !strchr(said, 'A'); i++) {
        g_assert_cmpint(i, <, 3 * POLLS_MAX);
        g_usleep(POLL_US);
        g_clear_pointer(&said, g_free);
        g_assert(g_file_get_contents(path, &said, NULL, NULL));
    }
    wait_for_guest_faults(to, guest_faults(to) + 20);

    migrate_set_parameter_int(from, "max-postcopy-bandwidth", 0);
    wait_for_migration_complete(from);
    wait_for_migration_complete(to);
    /*
     * On x86, memslots begin at 16 KiB steps from 0xc0000 to 1 MiB, and have no
     * bitmap
     */
    g_assert_cmpint(faults_get(to, "userfaultfd-vcpu"), <=,
                    RAM_START ? 0 : 64);
    /* walker_check() does not know the guest's memory any more */
    migrate_end(from, to, false);
}

#ifndef __aarch64__
/* Returns arguments of device_add for a CPU that can be plugged */
static QDict *free_cpu(QTestState *who)
{
    QDict *answer = qtest_qmp(who, "{ 'execute': 'query-hotpluggable-cpus' }");
    const QListEntry *entry;
    QDict *arguments = NULL;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(answer, "return"), entry) {
        QDict *cpu = qobject_to(QDict, qlist_entry_obj(entry));

        if (!qdict_haskey(cpu, "qom-path")) {
            arguments = qdict_clone_shallow(qdict_get_qdict(cpu, "props"));
            qdict_put_str(arguments, "driver", qdict_get_str(cpu, "type"));
            break;
        }
    }
    g_assert_nonnull(arguments);
    qobject_unref(answer);
    return arguments;
}

/*
 * vCPUs are plugged after post-copy has begun, and answer.  The guest does not
 * start them.
 */
static void test_plug_vcpu(void)
{
    MigrateStart start = { .memory_backend = "-m %s -smp 1,maxcpus=3" };
    g_autofree char *registers = NULL;
    QTestState *from, *to;

    if (!begin_and_hold_with(&start, &from, &to)) {
        return;
    }
    for (int i = 0; i < 2; i++) {
        qtest_qmp_assert_success(to, "{ 'execute': 'device_add',"
                                 "  'arguments': %p }", free_cpu(to));
    }
    registers = qtest_hmp(to, "info registers -a");
    g_assert_nonnull(strstr(registers, "CPU#2"));
    kill(qtest_pid(from), SIGCONT);
    wait_for_guest_faults(to, guest_faults(to) + 20);
    finish(from, to, true);
}
#endif

static void device_del(QTestState *who, const char *id, bool may)
{
    QDict *answer = qtest_qmp(who, "{ 'execute': 'device_del',"
                              "  'arguments': { 'id': %s } }", id);
    QDict *error = qdict_get_qdict(answer, "error");

    if (may) {
        g_assert_null(error);
    } else {
        g_assert_nonnull(error);
        g_assert_nonnull(strstr(qdict_get_str(error, "desc"),
                                "still being migrated"));
    }
    qobject_unref(answer);
}

static bool has_device(QTestState *who, const char *id)
{
    g_autofree char *path = g_strdup_printf("/machine/peripheral/%s", id);
    QDict *answer = qtest_qmp(who, "{ 'execute': 'qom-get', 'arguments': {"
                              "  'path': %s, 'property': 'realized' } }", path);
    bool has = qdict_haskey(answer, "return");

    qobject_unref(answer);
    return has;
}

#ifdef __aarch64__
/* Eject the first DIMM, as a guest does with ACPI */
static void eject_all(QTestState *who)
{
    qtest_writel(who, 0x09070000, 0);
    qtest_writeb(who, 0x09070014, 8);
}

/* The guest's kernel turns off a slot, which takes more than a few accesses */
#define EJECTS_PCI false
#define BEHIND_BRIDGE "virtio-net-pci"
#else
/*
 * Eject the first DIMM and each bridge's first slot, as a guest does with ACPI
 */
static void eject_all(QTestState *who)
{
    qtest_outl(who, 0xa00, 0);
    qtest_outb(who, 0xa14, 8);
    for (unsigned bus = 0; bus < 8; bus++) {
        qtest_outl(who, 0xcd0, bus);
        qtest_outl(who, 0xcc8, 1);
    }
}

#define EJECTS_PCI true
#define BEHIND_BRIDGE "rtl8139"
#endif

/*
 * A device whose memory is still migrated cannot be unplugged, nor can a
 * bridge with such a device.  Other devices can be unplugged, and this one at
 * the end.
 */
static void test_unplug(void)
{
    MigrateStart start = {
        .memory_backend =
            "-m %s,slots=2,maxmem=1G"
            " -object memory-backend-ram,id=m0,size=16M"
            " -device pc-dimm,id=dimm,memdev=m0"
            " -device pcie-root-port,id=port0,chassis=1"
            " -device virtio-net-pci,id=nic,bus=port0"
            " -device pcie-root-port,id=port1,chassis=2"
            " -device virtio-rng-pci,id=rng,bus=port1"
            " -device pcie-root-port,id=port2,chassis=3"
            " -device pcie-pci-bridge,id=bridge,bus=port2"
            " -device " BEHIND_BRIDGE ",id=behind,bus=bridge,addr=1",
    };
    QTestState *from, *to;

    if (!begin_and_hold_with(&start, &from, &to)) {
        return;
    }
    device_del(to, "dimm", false);
    device_del(to, "nic", false);
    device_del(to, "bridge", false);
    device_del(to, "rng", true);
    eject_all(to);
    g_assert_true(has_device(to, "dimm"));
    g_assert_true(has_device(to, "nic"));
    g_assert_true(has_device(to, "behind"));
    g_assert(has_device(to, "rng") == !EJECTS_PCI);

    qtest_qmp_assert_success(to, "{ 'execute': 'object-add', 'arguments': {"
                             "  'qom-type': 'memory-backend-ram',"
                             "  'id': 'm1', 'size': 16777216 } }");
    qtest_qmp_assert_success(to, "{ 'execute': 'device_add', 'arguments': {"
                             "  'driver': 'pc-dimm', 'id': 'late',"
                             "  'memdev': 'm1' } }");
    device_del(to, "late", true);

    kill(qtest_pid(from), SIGCONT);
    migrate_set_parameter_int(from, "max-postcopy-bandwidth", 0);
    wait_for_migration_complete(from);
    wait_for_migration_complete(to);
    device_del(to, "dimm", true);
    device_del(to, "nic", true);
    eject_all(to);
    g_assert_false(has_device(to, "dimm"));
    g_assert(has_device(to, "nic") == !EJECTS_PCI);
    migrate_end(from, to, true);
}

/* Send a command of gdb's remote protocol, and return its answer */
static char *gdb_ask(int fd, const char *command)
{
    g_autoptr(GString) answer = g_string_new(NULL);
    g_autofree char *packet = NULL;
    uint8_t sum = 0;
    char c;

    for (const char *p = command; *p; p++) {
        sum += *p;
    }
    packet = g_strdup_printf("$%s#%02x", command, sum);
    g_assert_cmpint(write(fd, packet, strlen(packet)), ==, strlen(packet));

    /* Skip the acknowledgement, and the checksum of the previous answer */
    do {
        g_assert_cmpint(read(fd, &c, 1), ==, 1);
    } while (c != '$');
    while (read(fd, &c, 1) == 1 && c != '#') {
        g_string_append_c(answer, c);
    }
    g_assert_cmpint(write(fd, "+", 1), ==, 1);
    return g_strdup(answer->str);
}

/* A debugger stops the guest, steps, and reads memory, also missing pages */
static void test_gdb(void)
{
    g_autofree char *path = g_strdup_printf("%s/gdb",
                                            migration_get_env()->tmpfs);
    g_autofree char *command =
        g_strdup_printf("gdbserver unix:%s,server=on,wait=off", path);
    g_autofree char *said = NULL;
    const struct timeval minute = { .tv_sec = 60 };
    QTestState *from, *to;
    int fd;

    if (!begin(&from, &to, ON, NULL)) {
        return;
    }
    g_free(qtest_hmp(to, "%s", command));
    fd = unix_connect(path, &error_abort);
    g_assert_cmpint(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &minute,
                               sizeof(minute)), ==, 0);
    said = gdb_ask(fd, "?");
    g_assert_cmpint(said[0], ==, 'T');
    g_assert_false(is_running(to));

    for (int i = 0; i < 20; i++) {
        g_autofree char *stop = gdb_ask(fd, "s");
        g_autofree char *memory = NULL, *read = NULL;

        g_assert_cmpint(stop[0], ==, 'T');
        /* A page in each 4 MiB: the guest has not accessed all of them */
        memory = g_strdup_printf("m%x,8", WALKER_START + (i << 22));
        read = gdb_ask(fd, memory);
        g_assert_cmpint(strlen(read), ==, 16);
    }

    g_free(gdb_ask(fd, "D"));
    close(fd);
    unlink(path);
    g_assert_true(is_running(to));
    wait_for_guest_faults(to, guest_faults(to) + 20);
    finish(from, to, true);
}

void add_vm_lifecycle_cases(void)
{
    if (!host_has_userfault()) {
        return;
    }
    migration_test_add("/postern/vm-lifecycle/sigterm", test_sigterm);
    /*
     * On aarch64, a guest powers off by a call of PSCI, which a vCPU that waits
     * does not make; and the machine plugs no vCPUs.
     */
#ifndef __aarch64__
    migration_test_add("/postern/vm-lifecycle/shutdown", test_shutdown);
    migration_test_add("/postern/vm-lifecycle/plug-vcpu", test_plug_vcpu);
#endif
    migration_test_add("/postern/vm-lifecycle/reset", test_reset);
    migration_test_add("/postern/vm-lifecycle/unplug", test_unplug);
    migration_test_add("/postern/vm-lifecycle/gdb", test_gdb);
}
