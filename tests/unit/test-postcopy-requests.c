/*
 * Unit tests of migration/postcopy/requests.c: many threads, one real stream
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/module.h"
#include "qemu/sockets.h"
#include "qemu/thread.h"
#include "exec/ramblock.h"
#include "io/channel-socket.h"
#include "qapi/error.h"
#include "../migration/migration.h"
#include "../migration/postcopy-ram.h"
#include "../migration/postcopy/fault-stats.h"
#include "../migration/postcopy/requests.h"
#include "../migration/qemu-file.h"
#include "../migration/ram.h"

#define PAGE 4096

/* More than a socket's buffers hold, at 16 bytes each */
#define MANY 100000

static RAMBlock block_a = { .idstr = "a", .page_size = PAGE };
static RAMBlock block_b = { .idstr = "pc.bios", .page_size = 2 * PAGE };

static MigrationIncomingState mis;
static int source;              /* the other end of the return path */
static unsigned sent;
static ram_addr_t received;     /* all pages of block_a below it */

/* Functions of QEMU that the tested code calls */

const char *qemu_ram_get_idstr(RAMBlock *rb)
{
    return rb->idstr;
}

size_t qemu_ram_pagesize(RAMBlock *rb)
{
    return rb->page_size;
}

bool ramblock_recv_bitmap_test_byte_offset(RAMBlock *rb, uint64_t offset)
{
    return rb == &block_a && offset < qatomic_read(&received);
}

bool postcopy_is_paused(MigrationStatus status)
{
    return status == MIGRATION_STATUS_POSTCOPY_PAUSED ||
           status == MIGRATION_STATUS_POSTCOPY_RECOVER_SETUP;
}

void postcopy_fault_stats_requested(void)
{
    qatomic_inc(&sent);
}

/* A stream; the tests read it in place of the source */

static void stream_open(void)
{
    QIOChannelSocket *ioc;
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), ==, 0);
    ioc = qio_channel_socket_new_fd(fds[0], &error_abort);
    mis.to_src_file = qemu_file_new_output(QIO_CHANNEL(ioc));
    object_unref(OBJECT(ioc));
    source = fds[1];
}

static void stream_close(void)
{
    qemu_fclose(mis.to_src_file);
    mis.to_src_file = NULL;
    close(source);
}

static void begin(void)
{
    mis.state = MIGRATION_STATUS_POSTCOPY_ACTIVE;
    mis.last_rb = NULL;
    sent = 0;
    received = 0;
    stream_open();
    postcopy_requests_start(&mis);
}

static void end(void)
{
    postcopy_requests_stop();
    stream_close();
}

static void request(RAMBlock *rb, ram_addr_t offset)
{
    postcopy_requests_push(rb, offset);
    postcopy_requests_send();
}

static void read_exactly(void *buf, size_t length)
{
    for (size_t done = 0; done < length; ) {
        ssize_t ret = read(source, (uint8_t *)buf + done, length - done);

        g_assert_cmpint(ret, >, 0);
        done += ret;
    }
}

/* Read one request; @name gets the block's, or "" */
static ram_addr_t read_request(char *name, uint32_t *length)
{
    uint8_t buf[4 + 12 + 256];
    unsigned type, size;

    read_exactly(buf, 4);
    type = lduw_be_p(buf);
    size = lduw_be_p(buf + 2);
    g_assert_cmpint(size, <=, sizeof(buf) - 4);
    read_exactly(buf + 4, size);
    name[0] = '\0';
    if (type == POSTCOPY_RP_MSG_REQ_PAGES_ID) {
        g_assert_cmpint(size, ==, 12 + 1 + buf[16]);
        memcpy(name, buf + 17, buf[16]);
        name[buf[16]] = '\0';
    } else {
        g_assert_cmpint(type, ==, POSTCOPY_RP_MSG_REQ_PAGES);
        g_assert_cmpint(size, ==, 12);
    }
    *length = ldl_be_p(buf + 12);
    return ldq_be_p(buf + 4);
}

static void assert_request(const char *block, ram_addr_t offset,
                           uint32_t length)
{
    char name[256];
    uint32_t got_length;

    g_assert_cmphex(read_request(name, &got_length), ==, offset);
    g_assert_cmpint(got_length, ==, length);
    g_assert_cmpstr(name, ==, block);
}

static bool source_has_data(void)
{
    GPollFD pfd = { .fd = source, .events = G_IO_IN };

    return g_poll(&pfd, 1, 0) == 1;
}

/* The wire format; a request names its block if the previous one had another */
static void test_format(void)
{
    begin();
    request(&block_a, 0x1000);
    request(&block_a, 0x123456789000);
    request(&block_b, 0x2000);
    request(&block_a, 0x3000);
    g_assert_cmpint(migrate_send_rp_message_req_pages(&mis, &block_a, 0x4000),
                    ==, 0);
    g_assert_cmpint(migrate_send_rp_message_req_pages(&mis, &block_b, 0), ==,
                    0);
    request(&block_b, 0x6000);
    assert_request("a", 0x1000, PAGE);
    assert_request("", 0x123456789000, PAGE);
    assert_request("pc.bios", 0x2000, 2 * PAGE);
    assert_request("a", 0x3000, PAGE);
    assert_request("", 0x4000, PAGE);
    assert_request("pc.bios", 0, 2 * PAGE);
    assert_request("", 0x6000, 2 * PAGE);
    g_assert_false(source_has_data());
    g_assert_cmpint(sent, ==, 7);
    end();
}

/* The next send sends all requests in the order in which they were pushed */
static void test_order(void)
{
    begin();
    for (int i = 0; i < 1000; i++) {
        postcopy_requests_push(&block_a, i * PAGE);
    }
    g_assert_false(source_has_data());
    postcopy_requests_send();
    for (int i = 0; i < 1000; i++) {
        assert_request(i ? "" : "a", i * PAGE, PAGE);
    }
    end();
}

/* A page that has arrived is not requested */
static void test_received(void)
{
    begin();
    qatomic_set(&received, 10 * PAGE);
    request(&block_a, 9 * PAGE);
    g_assert_false(source_has_data());
    request(&block_a, 10 * PAGE);
    assert_request("a", 10 * PAGE, PAGE);
    end();
}

/*
 * While nobody reads the stream, no requester waits; later all requests arrive
 */
static void test_stalled(void)
{
    begin();
    for (int i = 0; i < MANY; i++) {
        request(&block_a, (ram_addr_t)i * PAGE);
    }
    /* Some requests must still be on the list, or this would test nothing */
    g_assert_cmpint(qatomic_read(&sent), <, MANY);
    for (int i = 0; i < MANY; i++) {
        assert_request(i ? "" : "a", (ram_addr_t)i * PAGE, PAGE);
    }
    g_assert_cmpint(qatomic_read(&sent), ==, MANY);
    end();
}

/* While the stream's lock is held, no requester waits */
static void test_busy(void)
{
    begin();
    WITH_QEMU_LOCK_GUARD(&mis.rp_mutex) {
        request(&block_a, 0);
        request(&block_a, PAGE);
        g_assert_false(source_has_data());
    }
    assert_request("a", 0, PAGE);
    assert_request("", PAGE, PAGE);
    end();
}

/* Nothing is sent while the stream is broken or being recovered */
static void test_broken(void)
{
    static const MigrationStatus states[] = {
        MIGRATION_STATUS_POSTCOPY_PAUSED,
        MIGRATION_STATUS_POSTCOPY_RECOVER_SETUP,
        MIGRATION_STATUS_POSTCOPY_RECOVER,
    };

    begin();
    for (int i = 0; i < ARRAY_SIZE(states); i++) {
        mis.state = states[i];
        request(&block_a, PAGE);
        g_assert_false(source_has_data());
    }
    stream_close();
    mis.state = MIGRATION_STATUS_POSTCOPY_ACTIVE;
    request(&block_a, 2 * PAGE);
    g_assert_cmpint(migrate_send_rp_message_req_pages(&mis, &block_a, PAGE),
                    ==, -EIO);

    mis.last_rb = NULL;
    stream_open();
    request(&block_a, 3 * PAGE);
    assert_request("a", 3 * PAGE, PAGE);
    g_assert_cmpint(sent, ==, 1);
    end();
}

/* The other end has closed the stream, and nobody has noticed yet */
static void test_hangup(void)
{
    begin();
    shutdown(source, SHUT_RDWR);
    for (int i = 0; i < MANY; i++) {
        request(&block_a, (ram_addr_t)i * PAGE);
    }
    /* Other threads notice it by this */
    g_assert_cmpint(qemu_file_get_error(mis.to_src_file), !=, 0);
    end();
}

/* If the stream is shut down, stopping does not wait for unsent requests */
static void test_stop_stalled(void)
{
    begin();
    for (int i = 0; i < MANY; i++) {
        request(&block_a, (ram_addr_t)i * PAGE);
    }
    qemu_file_shutdown(mis.to_src_file);
    end();
}

#define THREADS 8
#define REQUESTS_EACH 20000

/* Odd threads write to the stream directly, as threads other than vCPUs do */
static void *requester(void *opaque)
{
    ram_addr_t first = (uintptr_t)opaque * REQUESTS_EACH;

    for (unsigned i = 0; i < REQUESTS_EACH; i++) {
        RAMBlock *rb = i % 100 ? &block_a : &block_b;

        if ((uintptr_t)opaque % 2) {
            migrate_send_rp_message_req_pages(&mis, rb, (first + i) * PAGE);
        } else {
            request(rb, (first + i) * PAGE);
        }
    }
    return NULL;
}

/* Each request arrives once, and those of a thread in order */
static void test_threads(void)
{
    QemuThread threads[THREADS];
    unsigned next[THREADS] = {};
    char name[256], current[256] = "";
    uint32_t length;

    begin();
    for (uintptr_t i = 0; i < THREADS; i++) {
        qemu_thread_create(&threads[i], "requester", requester, (void *)i,
                           QEMU_THREAD_JOINABLE);
    }
    for (unsigned i = 0; i < THREADS * REQUESTS_EACH; i++) {
        ram_addr_t page = read_request(name, &length) / PAGE;
        unsigned who = page / REQUESTS_EACH;
        unsigned number = page % REQUESTS_EACH;

        g_assert_cmpint(who, <, THREADS);
        g_assert_cmpint(number, ==, next[who]);
        next[who]++;
        if (name[0]) {
            g_assert_cmpstr(name, !=, current);
            memcpy(current, name, sizeof(name));
        }
        g_assert_cmpstr(current, ==, number % 100 ? "a" : "pc.bios");
        g_assert_cmpint(length, ==, number % 100 ? PAGE : 2 * PAGE);
    }
    for (int i = 0; i < THREADS; i++) {
        qemu_thread_join(&threads[i]);
    }
    g_assert_false(source_has_data());
    g_assert_cmpint(sent, ==, THREADS * REQUESTS_EACH);
    end();
}

int main(int argc, char **argv)
{
    module_call_init(MODULE_INIT_QOM);
    /* As in QEMU */
    signal(SIGPIPE, SIG_IGN);
    qemu_mutex_init(&mis.rp_mutex);

    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/postcopy-requests/format", test_format);
    g_test_add_func("/postcopy-requests/order", test_order);
    g_test_add_func("/postcopy-requests/received", test_received);
    g_test_add_func("/postcopy-requests/stalled", test_stalled);
    g_test_add_func("/postcopy-requests/busy", test_busy);
    g_test_add_func("/postcopy-requests/broken", test_broken);
    g_test_add_func("/postcopy-requests/hangup", test_hangup);
    g_test_add_func("/postcopy-requests/stop-stalled", test_stop_stalled);
    g_test_add_func("/postcopy-requests/threads", test_threads);
    return g_test_run();
}
