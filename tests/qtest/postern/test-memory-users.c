/*
 * postern-test: devices that access guest memory, or change its size
 *
 * The guest runs Linux and a program that checks every word that it uses:
 * testbed/guest/postern-guest.c.
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "qemu/sockets.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "qobject/qdict.h"
#include "migration/migration-qmp.h"
#include "migration/migration-util.h"
#include "ping.h"
#include "test-util.h"
#include "trip.h"

enum { DISK_MIB = 16 };

/*
 * The guest's kernel plugs memory while it boots, and the program uses it, too
 */
static void test_plugged(const void *opaque)
{
    Trip trip = { 0 };

    /* More than the guest has without it, so it is in use */
    trip_boot(&trip, g_strdup(opaque), g_strdup(opaque),
              "memhp_default_state=online postern.memory=200 "
              "postern.percent=70");
    trip_switch(&trip);
    trip_end(&trip);
}

static uint64_t balloon_mib(PosternVM *vm)
{
    QDict *info = postern_vm_qmp(vm, &error_abort,
                                 "{ 'execute': 'query-balloon' }");
    uint64_t mib = qdict_get_int(info, "actual") / MiB;

    qobject_unref(info);
    return mib;
}

static void balloon_to(PosternVM *vm, uint64_t mib)
{
    postern_vm_run(vm, &error_abort, "{ 'execute': 'balloon',"
                   "  'arguments': { 'value': %" PRIu64 " } }", mib * MiB);
    POLL_UNTIL(balloon_mib(vm) == mib);
}

static void use_more(PosternVM *vm)
{
    uint64_t bad;

    postern_guest_use_more(vm, TIMEOUT_S, &bad, &error_abort);
    g_assert_cmpuint(bad, ==, 0);
}

/*
 * The balloon is inflated before migration, so QEMU discards pages.  It is
 * deflated, inflated and deflated again in post-copy, where QEMU must not
 * discard any: a page that has arrived does not arrive again, and the guest
 * would wait for it for ever.
 */
static void test_balloon(void)
{
    static const char arguments[] =
        "-object iothread,id=io0 -device virtio-balloon-pci,iothread=io0,"
        "free-page-hint=on,free-page-reporting=on";
    /*
     * Large, so that post-copy outlasts the test: see the rate in
     * trip_switch()
     */
    enum { GUEST_MIB = 3 * MEMORY_MIB };
    Trip trip = { .memory_mib = GUEST_MIB };
    PosternVM *dst;

    trip_boot(&trip, g_strdup(arguments), g_strdup(arguments),
              "postern.percent=50");
    balloon_to(trip.vms[SOURCE], GUEST_MIB - 32);
    trip_switch(&trip);
    dst = trip.vms[DESTINATION];
    g_assert_cmpuint(balloon_mib(dst), ==, GUEST_MIB - 32);
    balloon_to(dst, GUEST_MIB);
    use_more(dst);
    balloon_to(dst, GUEST_MIB - 32);
    balloon_to(dst, GUEST_MIB);
    use_more(dst);
    trip_end(&trip);
}

#ifdef __aarch64__
/*
 * KVM's ITS has its tables in guest memory.  KVM reads them on the destination,
 * and writes them whenever the VM stops.  The balloon's interrupts need them.
 */
static void test_its(void)
{
    static const char arguments[] = "-device virtio-balloon-pci";
    Trip trip = { 0 };
    g_autofree char *devices = NULL;
    PosternVM *dst;

    trip_boot(&trip, g_strdup(arguments), g_strdup(arguments),
              "postern.percent=40");
    devices = qtest_hmp(trip.vms[SOURCE]->qts, "info qtree");
    g_assert_nonnull(strstr(devices, "dev: arm-its-kvm"));
    balloon_to(trip.vms[SOURCE], MEMORY_MIB - 8);
    trip_switch(&trip);
    dst = trip.vms[DESTINATION];
    g_assert_cmpuint(faults_get(dst->qts, "userfaultfd-other"), >, 0);
    for (int i = 0; i < 3; i++) {
        postern_vm_run(dst, &error_abort, "{ 'execute': 'stop' }");
        postern_vm_run(dst, &error_abort, "{ 'execute': 'cont' }");
        balloon_to(dst, MEMORY_MIB - 16 + i);
    }
    trip_end(&trip);
}

/* KVM tells the guest in a RAM block of its own how long a vCPU has not run */
static void test_steal_time(void)
{
    Trip trip = { .vcpus = 2 };
    g_autofree char *blocks = NULL;

    trip_boot(&trip, NULL, NULL, "postern.percent=40");
    blocks = qtest_hmp(trip.vms[SOURCE]->qts, "info ramblock");
    g_assert_nonnull(strstr(blocks, "pvtime"));
    trip_switch(&trip);
    /* KVM's own access, which is no exit */
    POLL_UNTIL(faults_get(trip.vms[DESTINATION]->qts,
                          "userfaultfd-vcpu-host") > 0);
    trip_end(&trip);
}
#endif

static char *vhost_net_arguments(Side side)
{
    /* Without an announcement by the guest, for which QEMU would use a queue */
    return g_strdup_printf("-netdev tap,id=n0,ifname=%s,script=no,"
                           "downscript=no,vhost=on"
                           " -device virtio-net-pci,netdev=n0,romfile=,"
                           "guest_announce=off,"
                           "mac=52:54:00:12:34:56", side_names[side]);
}

static void ping_often(int fd)
{
    for (int answers = 0, i = 0; answers < 50; i++) {
        g_assert_cmpint(i, <, POLLS_MAX);
        if (postern_ping(fd, 500)) {
            answers++;
        } else {
            g_usleep(POLL_US);
        }
    }
}

/* vhost in the kernel reads and writes missing pages */
static void test_vhost_net(void)
{
    Trip trip = { 0 };
    uint64_t before;
    int fd;

    trip_boot(&trip, vhost_net_arguments(SOURCE),
              vhost_net_arguments(DESTINATION), "postern.percent=40");
    fd = postern_ping_open(side_names[SOURCE], &error_abort);
    ping_often(fd);
    close(fd);
    trip_switch(&trip);
    fd = postern_ping_open(side_names[DESTINATION], &error_abort);
    before = faults_get(trip.vms[DESTINATION]->qts, "userfaultfd-other");
    ping_often(fd);
    close(fd);
    /* vhost's thread counts as one of QEMU's other threads */
    g_assert_cmpuint(faults_get(trip.vms[DESTINATION]->qts,
                                "userfaultfd-other"), >, before);
    trip_end(&trip);
}

/* A vhost-user back end: another process, with its own userfaultfd */
typedef struct Backend {
    GPid pid;
    char *socket;
} Backend;

static void backend_start(Backend *backend, Side side, const char *disk,
                          const char *messages)
{
    const char *argv[] = {
        trip_environment("POSTERN_VHOST_USER_BLK"), "--socket-path", NULL,
        "--blk-file", disk, NULL,
    };
    int fd = open(messages, O_WRONLY | O_APPEND | O_CLOEXEC);
    g_autoptr(GError) err = NULL;

    g_assert_cmpint(fd, >=, 0);
    backend->socket = trip_own_path("disk", side);
    argv[2] = backend->socket;
    g_spawn_async_with_fds(NULL, (char **)argv, NULL,
                           G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL,
                           &backend->pid, -1, fd, fd, &err);
    g_assert_no_error(err);
    close(fd);
    POLL_UNTIL(access(backend->socket, F_OK) == 0);
}

static void backend_reap(Backend *backend, int *status)
{
    POLL_UNTIL(waitpid(backend->pid, status, WNOHANG) == backend->pid);
    unlink(backend->socket);
    g_free(backend->socket);
}

/* The back end exits after its QEMU */
static void backend_end(Backend *backend)
{
    int status;

    backend_reap(backend, &status);
    g_assert_true(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, 0);
}

static void backend_kill(Backend *backend)
{
    int status;

    kill(backend->pid, SIGKILL);
    backend_reap(backend, &status);
}

static char *vhost_user_arguments(const Backend *backend, const char *trace)
{
    return g_strdup_printf("-object memory-backend-memfd,id=m0,size=%dM,"
                           "share=on -machine memory-backend=m0"
                           " -chardev socket,id=c0,path=%s"
                           " -device vhost-user-blk-pci,chardev=c0"
                           " -trace postcopy_request_shared_page"
                           " -trace vhost_user_write"
                           " -trace vhost_user_set_mem_table_postcopy -D %s",
                           MEMORY_MIB, backend->socket, trace);
}

static uint64_t disk_ops(PosternVM *vm)
{
    uint64_t ops, bad;

    postern_guest_disk(vm, TIMEOUT_S, &ops, &bad, &error_abort);
    g_assert_cmpuint(bad, ==, 0);
    return ops;
}

/* Wait until the guest has made @more requests to its disk */
static void use_disk(PosternVM *vm, unsigned more)
{
    uint64_t goal = disk_ops(vm) + more;

    POLL_UNTIL(disk_ops(vm) >= goal);
}

/* A migration of a guest whose disk is served by a back end */
typedef struct DiskTrip {
    Trip trip;
    Backend backends[SIDES];
    char *disk;
    char *trace;
    bool unshadowed;            /* no RAM from 768 KiB to 1 MiB */
} DiskTrip;

#ifndef __aarch64__
/* Clear the host bridge's registers that map RAM from 768 KiB to 1 MiB */
static void unshadow(PosternVM *vm)
{
    static const char * const commands[] = {
        "o/w 0xcf8 0x80000090", "o/w 0xcfc 0",
        "o/w 0xcf8 0x80000094", "o/h 0xcfc 0", "o/b 0xcfe 0",
    };

    for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
        g_free(qtest_hmp(vm->qts, "%s", commands[i]));
    }
}
#endif

static void disk_trip_begin(DiskTrip *dt)
{
    int fd;

    dt->trip.messages = watch_messages();
    dt->disk = g_strdup("/dev/shm/postern-disk-XXXXXX");
    dt->trace = trip_own_path("trace", DESTINATION);
    fd = g_mkstemp(dt->disk);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, DISK_MIB * MiB), ==, 0);
    close(fd);
    for (Side side = 0; side < SIDES; side++) {
        backend_start(&dt->backends[side], side, dt->disk, dt->trip.messages);
    }
    trip_boot(&dt->trip,
              vhost_user_arguments(&dt->backends[SOURCE], "/dev/null"),
              vhost_user_arguments(&dt->backends[DESTINATION], dt->trace),
              "postern.percent=40 postern.disk=1");
    use_disk(dt->trip.vms[SOURCE], 100);
#ifndef __aarch64__
    if (dt->unshadowed) {
        unshadow(dt->trip.vms[SOURCE]);
    }
#endif
    trip_switch(&dt->trip);
}

static void disk_trip_end(DiskTrip *dt)
{
    trip_end(&dt->trip);
    unlink(dt->trace);
    unlink(dt->disk);
    g_free(dt->trace);
    g_free(dt->disk);
}

#ifndef __aarch64__
/* Does the back end wait in userfaultfd? */
static bool is_faulting(const Backend *backend)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/wchan", backend->pid);
    g_autofree char *where = NULL;

    g_assert_true(g_file_get_contents(path, &where, NULL, NULL));
    return strstr(where, "handle_userfault");
}

/*
 * If the back end waits for a page, stop the source, and see whether it stays
 * so
 */
static bool stop_source_if_faulting(DiskTrip *dt)
{
    pid_t source = qtest_pid(dt->trip.vms[SOURCE]->qts);

    for (int i = 0; i < 5; i++) {
        if (!is_faulting(&dt->backends[DESTINATION])) {
            kill(source, SIGCONT);
            return false;
        }
        kill(source, SIGSTOP);
        g_usleep(POLL_US);
    }
    return true;
}

/* Stop the source while the back end waits for a page */
static void hold_back_end(DiskTrip *dt)
{
    POLL_UNTIL_EVERY(100, 20 * POLLS_MAX, stop_source_if_faulting(dt));
}

#endif

static unsigned traced(const DiskTrip *dt, const char *what)
{
    g_autofree char *said = NULL;
    g_auto(GStrv) parts = NULL;

    g_assert_true(g_file_get_contents(dt->trace, &said, NULL, NULL));
    parts = g_strsplit(said, what, -1);
    return g_strv_length(parts) - 1;
}

#ifndef __aarch64__
/*
 * The guest gets RAM below the page that the back end waits for.  The back end
 * processes this change only when that page is in place.  Meanwhile QEMU's
 * tables are half changed, but QEMU must still find that the back end waits.
 */
static void change_map(DiskTrip *dt, const char *address, const char *value)
{
    static const char add[] = "vhost_user_write req:37 ";
    static const char added[] = "vhost_user_set_mem_table_postcopy ";
    QTestState *dst = dt->trip.vms[DESTINATION]->qts;
    unsigned adds, before;

    hold_back_end(dt);
    g_free(qtest_hmp(dst, "o/w 0xcf8 %s", address));
    adds = traced(dt, add);
    before = traced(dt, added);
    qtest_qmp_send(dst, "{ 'execute': 'human-monitor-command',"
                   "  'arguments': { 'command-line': %s } }", value);
    POLL_UNTIL(traced(dt, add) > adds);
    g_assert_cmpuint(traced(dt, added), ==, before);

    kill(qtest_pid(dt->trip.vms[SOURCE]->qts), SIGCONT);
    POLL_UNTIL(traced(dt, added) > before);
    qobject_unref(qtest_qmp_receive(dst));
}
#endif

static void test_vhost_user(void)
{
    DiskTrip dt = { .unshadowed = true };

    disk_trip_begin(&dt);
#ifndef __aarch64__
    /* 800 KiB to 832 KiB, then 864 KiB to 896 KiB */
    change_map(&dt, "0x80000090", "o/b 0xcfe 0x33");
    change_map(&dt, "0x80000094", "o/b 0xcfc 0x33");
#endif
    use_disk(dt.trip.vms[DESTINATION], 200);
    g_assert_cmpuint(traced(&dt, "postcopy_request_shared_page"), >, 0);
    g_assert_cmpint(waitpid(dt.backends[DESTINATION].pid, NULL, WNOHANG),
                    ==, 0);
    disk_trip_end(&dt);
    backend_end(&dt.backends[SOURCE]);
    backend_end(&dt.backends[DESTINATION]);
}

/*
 * With postcopy-preempt and without KVM userfault, the destination waits at the
 * end until each requested page is in place, those of the back end, too.
 */
static void test_vhost_user_preempt(void)
{
    DiskTrip dt = { .trip.upstream_way = true };

    disk_trip_begin(&dt);
    use_disk(dt.trip.vms[DESTINATION], 200);
    g_assert_cmpuint(traced(&dt, "postcopy_request_shared_page"), >, 0);
    disk_trip_end(&dt);
    backend_end(&dt.backends[SOURCE]);
    backend_end(&dt.backends[DESTINATION]);
}

/* Has QEMU noticed that the back end is gone? */
static bool is_disconnected(PosternVM *vm)
{
    g_autofree char *text = qtest_hmp(vm->qts, "info chardev");

    return strstr(text, "c0: filename=disconnected");
}

/* Give the fault thread something to do: QEMU reads missing pages */
static void fault_once(PosternVM *vm)
{
    uint64_t before = faults_get(vm->qts, "userfaultfd-other");

    for (unsigned mib = 1;
         faults_get(vm->qts, "userfaultfd-other") == before; mib++) {
        g_assert_cmpuint(mib, <, MEMORY_MIB);
        g_free(qtest_hmp(vm->qts, "xp /1xb 0x%x", mib << 20));
    }
}

/* How many errors has the fault thread reported? */
static unsigned complaints(const Trip *trip)
{
    g_autofree char *said = NULL;
    g_auto(GStrv) parts = NULL;

    g_assert_true(g_file_get_contents(trip->messages, &said, NULL, NULL));
    parts = g_strsplit(said, "postcopy_ram_fault_thread:", -1);
    return g_strv_length(parts) - 1;
}

/* The back end is killed: the guest loses its disk, but nothing else */
static void test_vhost_user_killed(void)
{
    DiskTrip dt = { 0 };
    PosternVM *dst;

    disk_trip_begin(&dt);
    dst = dt.trip.vms[DESTINATION];
    use_disk(dst, 20);
    backend_kill(&dt.backends[DESTINATION]);
    POLL_UNTIL(is_disconnected(dst));
    fault_once(dst);
    fault_once(dst);
    /* One if it polled before vhost-user closed the descriptor */
    g_assert_cmpuint(complaints(&dt.trip), <=, 1);
    disk_trip_end(&dt);
    backend_end(&dt.backends[SOURCE]);
}

/*
 * A back end of a network device exits in the middle of its first message,
 * when QEMU starts and there is no migration: QEMU connects to the next one.
 */
static void test_vhost_user_at_start(void)
{
    g_autofree char *path = g_strdup_printf("%s/netdev",
                                            migration_get_env()->tmpfs);
    g_autofree char *chardev = g_strdup_printf("socket,id=c,path=%s", path);
    const char *argv[] = {
        g_getenv("QTEST_QEMU_BINARY"), "-machine", "none", "-nodefaults",
        "-display", "none", "-chardev", chardev,
        "-netdev", "vhost-user,id=n,chardev=c", NULL
    };
    GPollFD pfd = { .fd = unix_listen(path, &error_abort), .events = G_IO_IN };
    GPid pid;

    g_assert_true(g_spawn_async(NULL, (char **)argv, NULL,
                                G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL, &pid,
                                NULL));
    for (int i = 0; i < 2; i++) {
        char c;
        int fd;

        g_assert_cmpint(g_poll(&pfd, 1, TIMEOUT_S * 1000), ==, 1);
        fd = qemu_accept(pfd.fd, NULL, NULL);
        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(read(fd, &c, 1), ==, 1);
        close(fd);
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    close(pfd.fd);
    unlink(path);
}

void add_memory_users_cases(void)
{
    if (!host_has_userfault()) {
        return;
    }
    /* On aarch64, a kernel without firmware finds no DIMM */
#ifndef __aarch64__
    qtest_add_data_func("/postern/memory-users/dimm",
                        "-m 128,slots=2,maxmem=1G"
                        " -object memory-backend-ram,id=d0,size=128M"
                        " -device pc-dimm,memdev=d0", test_plugged);
#endif
    qtest_add_data_func("/postern/memory-users/virtio-mem",
                        "-m 128,maxmem=2G"
                        " -object memory-backend-ram,id=v0,size=256M"
                        " -device virtio-mem-pci,memdev=v0,"
                        "requested-size=128M", test_plugged);
    qtest_add_func("/postern/memory-users/balloon", test_balloon);
#ifdef __aarch64__
    qtest_add_func("/postern/memory-users/its", test_its);
    qtest_add_func("/postern/memory-users/steal-time", test_steal_time);
#endif
    qtest_add_func("/postern/memory-users/vhost-net", test_vhost_net);
    qtest_add_func("/postern/memory-users/vhost-user", test_vhost_user);
    qtest_add_func("/postern/memory-users/vhost-user-preempt",
                   test_vhost_user_preempt);
    qtest_add_func("/postern/memory-users/vhost-user-killed",
                   test_vhost_user_killed);
    qtest_add_func("/postern/memory-users/vhost-user-at-start",
                   test_vhost_user_at_start);
}
