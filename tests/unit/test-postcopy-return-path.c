/*
 * Unit tests of migration/postcopy/return-path.c: pauses on request, and pings
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/module.h"
#include "qemu/thread.h"
#include "io/channel.h"
#include "qapi/error.h"
#include "../migration/migration.h"
#include "../migration/postcopy/faults.h"
#include "../migration/postcopy/return-path.h"
#include "../migration/postcopy-ram.h"
#include "../migration/options.h"
#include "../migration/qemu-file.h"
#include "../migration/savevm.h"

static MigrationIncomingState mis;
static int end_result;          /* of postcopy_faults_end() */
static unsigned pongs, breaks;
static PostcopyState postcopy_state;

/* A channel that can only be shut down and closed */

#define TYPE_TEST_CHANNEL "test-channel"

/* While a thread is in the channel's shutdown, another one may close it */
static bool wait_in_shutdown;
static bool in_shutdown;        /* some thread is, or was, in shutdown */
static bool closed;
static bool closed_in_shutdown;

static int test_channel_shutdown(QIOChannel *ioc, QIOChannelShutdown how,
                                 Error **errp)
{
    qatomic_set(&in_shutdown, true);
    for (int i = 0; wait_in_shutdown && i < 200 && !qatomic_read(&closed);
         i++) {
        g_usleep(1000);
    }
    closed_in_shutdown |= qatomic_read(&closed);
    return 0;
}

static int test_channel_close(QIOChannel *ioc, Error **errp)
{
    qatomic_set(&closed, true);
    return 0;
}

static ssize_t test_channel_readv(QIOChannel *ioc, const struct iovec *iov,
                                  size_t niov, int **fds, size_t *nfds,
                                  int flags, Error **errp)
{
    return 0;
}

static void test_channel_init(Object *obj)
{
    qio_channel_set_feature(QIO_CHANNEL(obj), QIO_CHANNEL_FEATURE_SHUTDOWN);
}

static void test_channel_class_init(ObjectClass *oc, void *data)
{
    QIOChannelClass *klass = QIO_CHANNEL_CLASS(oc);

    klass->io_readv = test_channel_readv;
    klass->io_shutdown = test_channel_shutdown;
    klass->io_close = test_channel_close;
}

static const TypeInfo test_channel_info = {
    .name = TYPE_TEST_CHANNEL,
    .parent = TYPE_QIO_CHANNEL,
    .instance_init = test_channel_init,
    .class_init = test_channel_class_init,
};

/* Functions of QEMU that the tested code calls */

MigrationIncomingState *migration_incoming_get_current(void)
{
    return &mis;
}

MigrationState *migrate_get_current(void)
{
    return NULL;
}

void migrate_set_error(MigrationState *s, const Error *error)
{
}

bool migrate_postcopy_ram(void)
{
    return true;
}

void migrate_set_state(MigrationStatus *state, MigrationStatus old_state,
                       MigrationStatus new_state)
{
    if (*state == old_state) {
        *state = new_state;
    }
}

void migrate_send_rp_pong(MigrationIncomingState *mis, uint32_t value)
{
    pongs++;
}

bool migration_postcopy_is_alive(MigrationStatus state)
{
    return state == MIGRATION_STATUS_POSTCOPY_ACTIVE;
}

bool postcopy_is_paused(MigrationStatus status)
{
    return status == MIGRATION_STATUS_POSTCOPY_PAUSED;
}

PostcopyState postcopy_state_get(void)
{
    return postcopy_state;
}

bool postcopy_faults_guarded(void)
{
    return true;
}

int postcopy_faults_end(void)
{
    return end_result;
}

void postcopy_faults_preempt_broken(void)
{
    breaks++;
}

/* The beginning of a migration, with an open channel */
static void begin(void)
{
    QIOChannel *ioc = QIO_CHANNEL(object_new(TYPE_TEST_CHANNEL));

    wait_in_shutdown = in_shutdown = closed = closed_in_shutdown = false;
    end_result = 0;
    pongs = breaks = 0;
    postcopy_state = POSTCOPY_INCOMING_RUNNING;
    mis.state = MIGRATION_STATUS_POSTCOPY_ACTIVE;
    mis.from_src_file = qemu_file_new_input(ioc);
    object_unref(OBJECT(ioc));
    g_assert_cmpint(postcopy_rp_ping(&mis, POSTCOPY_PING_BEGIN), ==, 0);
}

static void close_stream(void)
{
    qemu_fclose(postcopy_rp_take_stream(&mis));
    g_assert(!mis.from_src_file);
    g_assert(closed);
}

static void *closing_thread(void *opaque)
{
    while (!qatomic_read(&in_shutdown)) {
        g_usleep(100);
    }
    close_stream();
    return NULL;
}

/* The thread that loads the channel closes it while it is being shut down */
static void test_pause_while_closed(void)
{
    QemuThread thread;

    begin();
    wait_in_shutdown = true;
    qemu_thread_create(&thread, "close", closing_thread, NULL,
                       QEMU_THREAD_JOINABLE);
    postcopy_rp_pause(&mis, &error_abort);
    qemu_thread_join(&thread);
    g_assert(!closed_in_shutdown);
    g_assert_cmpuint(breaks, ==, 1);
}

/* It has closed it before */
static void test_pause_closed(void)
{
    Error *err = NULL;

    begin();
    close_stream();
    postcopy_rp_pause(&mis, &error_abort);
    mis.state = MIGRATION_STATUS_POSTCOPY_PAUSED;
    postcopy_rp_pause(&mis, &error_abort);
    mis.state = MIGRATION_STATUS_COMPLETED;
    postcopy_rp_pause(&mis, &err);
    g_assert_cmpstr(error_get_pretty(err), ==, "Migration has ended");
    error_free(err);
    g_assert(!in_shutdown);
    g_assert_cmpuint(breaks, ==, 0);
}

/* A source of upstream's would start the guest if this side paused at the end */
static void test_pause_ended(void)
{
    Error *err = NULL;

    begin();
    g_assert_cmpint(postcopy_rp_stream_ended(mis.from_src_file), ==, 0);
    postcopy_rp_pause(&mis, &err);
    g_assert(err && strstr(error_get_pretty(err), "would not pause"));
    error_free(err);
    g_assert(!in_shutdown);
    g_assert_cmpuint(breaks, ==, 0);

    /* One of ours pauses */
    g_assert_cmpint(postcopy_rp_ping(&mis, POSTCOPY_PING_SOURCE_PAUSES), ==, 0);
    postcopy_rp_pause(&mis, &error_abort);
    g_assert(in_shutdown);
    g_assert_cmpuint(breaks, ==, 1);
    close_stream();
}

/* A pause on request comes before the end of the stream, and ends the wait */
static void test_end_paused(void)
{
    begin();
    postcopy_rp_pause(&mis, &error_abort);
    g_assert_cmpint(postcopy_rp_stream_ended(mis.from_src_file), ==, -EIO);
    close_stream();

    /* The preempt channel breaks, and the source pauses */
    begin();
    g_assert_cmpint(postcopy_rp_ping(&mis, POSTCOPY_PING_SOURCE_PAUSES), ==, 0);
    end_result = -EIO;
    g_assert_cmpint(postcopy_rp_stream_ended(mis.from_src_file), ==, -EIO);
    close_stream();
}

/* The stream fails, or the devices' ping is answered: never both */
static void test_answer(void)
{
    begin();
    postcopy_state = POSTCOPY_INCOMING_LISTENING;
    g_assert(!postcopy_rp_running(&mis));
    g_assert_cmpint(postcopy_rp_ping(&mis, POSTCOPY_PING_DEVICES_LOADED), ==,
                    -1);
    g_assert_cmpuint(pongs, ==, 1);
    close_stream();

    begin();
    g_assert_cmpint(postcopy_rp_ping(&mis, POSTCOPY_PING_DEVICES_LOADED), ==,
                    0);
    g_assert_cmpuint(pongs, ==, 2);
    postcopy_state = POSTCOPY_INCOMING_LISTENING;
    qemu_event_init(&mis.main_thread_load_event, true);
    g_assert(!postcopy_rp_running(&mis));
    postcopy_state = POSTCOPY_INCOMING_RUNNING;
    g_assert(postcopy_rp_running(&mis));
    qemu_event_destroy(&mis.main_thread_load_event);
    close_stream();
}

int main(int argc, char **argv)
{
    module_call_init(MODULE_INIT_QOM);
    type_register_static(&test_channel_info);

    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/postcopy-return-path/pause/while-closed",
                    test_pause_while_closed);
    g_test_add_func("/postcopy-return-path/pause/closed", test_pause_closed);
    g_test_add_func("/postcopy-return-path/pause/ended", test_pause_ended);
    g_test_add_func("/postcopy-return-path/end/paused", test_end_paused);
    g_test_add_func("/postcopy-return-path/answer", test_answer);
    return g_test_run();
}
