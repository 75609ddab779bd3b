/*
 * A relay for connections between two QEMUs, which a test can hold or break
 *
 * Each connection has two threads, one for each direction.
 *
 * Lock order: there is one lock.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "qemu/cutils.h"
#include "qemu/sockets.h"
#include "relay.h"

/* Migration with postcopy-preempt has two */
#define MAX_CONNECTIONS 4

typedef struct Direction {
    PosternRelay *relay;
    int from;
    int to;
    GThread *thread;
    /* Protected by the relay's lock */
    bool held;
    bool lost;                  /* data is discarded */
    bool keeps;                 /* data goes to @kept */
    GByteArray *kept;           /* or NULL */
    uint64_t carried;           /* in bytes */
    bool over;                  /* its end was passed on */
} Direction;

struct PosternRelay {
    char *from;
    char *to;
    int listener;
    GThread *thread;            /* accepts */
    GMutex lock;                /* protects the members below */
    GCond changed;              /* @held, a direction's @held, or @ended */
    bool held;
    bool ended;
    unsigned nconnections;
    Direction directions[MAX_CONNECTIONS][2];
};

/*
 * Data that is held back stays with the caller, and in the sockets' buffers.
 * Returns false if the data must be discarded.
 */
static bool wait_while_held(Direction *direction)
{
    PosternRelay *relay = direction->relay;
    bool lost;

    g_mutex_lock(&relay->lock);
    while ((relay->held || direction->held) && !relay->ended) {
        g_cond_wait(&relay->changed, &relay->lock);
    }
    lost = direction->lost;
    g_mutex_unlock(&relay->lock);
    return !lost;
}

/* Returns true if the data is kept */
static bool keep(Direction *direction, const void *data, size_t len)
{
    bool keeps;

    g_mutex_lock(&direction->relay->lock);
    keeps = direction->keeps;
    if (keeps) {
        g_byte_array_append(direction->kept, data, len);
    }
    g_mutex_unlock(&direction->relay->lock);
    return keeps;
}

static void *carry(void *opaque)
{
    Direction *direction = opaque;
    char buf[16 * 1024];
    ssize_t len;

    for (;;) {
        len = RETRY_ON_EINTR(read(direction->from, buf, sizeof(buf)));
        if (len <= 0) {
            break;
        }
        if (!wait_while_held(direction)) {
            continue;
        }
        if (keep(direction, buf, len)) {
            continue;
        }
        if (qemu_write_full(direction->to, buf, len) != len) {
            break;
        }
        g_mutex_lock(&direction->relay->lock);
        direction->carried += len;
        g_mutex_unlock(&direction->relay->lock);
    }
    /* Pass the end on to both sides; after an error, nothing is read there */
    shutdown(direction->to, SHUT_WR);
    shutdown(direction->from, SHUT_RD);
    g_mutex_lock(&direction->relay->lock);
    direction->over = true;
    g_mutex_unlock(&direction->relay->lock);
    return NULL;
}

static void connection_start(PosternRelay *relay, int accepted, int connected)
{
    Direction *directions;

    g_mutex_lock(&relay->lock);
    if (relay->ended || relay->nconnections == MAX_CONNECTIONS) {
        close(accepted);
        close(connected);
        g_mutex_unlock(&relay->lock);
        return;
    }
    directions = relay->directions[relay->nconnections++];
    directions[0] = (Direction) { relay, accepted, connected };
    directions[1] = (Direction) { relay, connected, accepted };
    for (unsigned i = 0; i < 2; i++) {
        directions[i].thread = g_thread_new("relay", carry, &directions[i]);
    }
    g_mutex_unlock(&relay->lock);
}

static void *accept_all(void *opaque)
{
    PosternRelay *relay = opaque;
    int accepted, connected;

    while ((accepted = qemu_accept(relay->listener, NULL, NULL)) >= 0) {
        connected = unix_connect(relay->to, NULL);
        if (connected < 0) {
            close(accepted);
        } else {
            connection_start(relay, accepted, connected);
        }
    }
    return NULL;
}

PosternRelay *postern_relay_start(const char *from, const char *to,
                                  Error **errp)
{
    PosternRelay *relay;
    int listener = unix_listen(from, errp);

    if (listener < 0) {
        return NULL;
    }
    relay = g_new0(PosternRelay, 1);
    relay->from = g_strdup(from);
    relay->to = g_strdup(to);
    relay->listener = listener;
    g_mutex_init(&relay->lock);
    g_cond_init(&relay->changed);
    relay->thread = g_thread_new("relay-accept", accept_all, relay);
    return relay;
}

void postern_relay_hold(PosternRelay *relay, bool hold)
{
    g_mutex_lock(&relay->lock);
    relay->held = hold;
    g_cond_broadcast(&relay->changed);
    g_mutex_unlock(&relay->lock);
}

/* Returns the direction, with the relay's lock held */
static Direction *direction_lock(PosternRelay *relay, unsigned connection,
                                 bool back)
{
    g_mutex_lock(&relay->lock);
    g_assert_cmpuint(connection, <, relay->nconnections);
    return &relay->directions[connection][back];
}

void postern_relay_hold_one(PosternRelay *relay, unsigned connection,
                            bool back, bool hold)
{
    direction_lock(relay, connection, back)->held = hold;
    g_cond_broadcast(&relay->changed);
    g_mutex_unlock(&relay->lock);
}

void postern_relay_lose_one(PosternRelay *relay, unsigned connection, bool back)
{
    direction_lock(relay, connection, back)->lost = true;
    g_mutex_unlock(&relay->lock);
}

void postern_relay_keep_one(PosternRelay *relay, unsigned connection,
                            bool back, bool keep)
{
    Direction *direction = direction_lock(relay, connection, back);

    direction->keeps = keep;
    if (keep && !direction->kept) {
        direction->kept = g_byte_array_new();
    } else if (!keep && direction->kept) {
        /* The direction's thread cannot overtake this: it needs the lock */
        if (qemu_write_full(direction->to, direction->kept->data,
                            direction->kept->len) == direction->kept->len) {
            direction->carried += direction->kept->len;
        }
        g_clear_pointer(&direction->kept, g_byte_array_unref);
    }
    g_mutex_unlock(&relay->lock);
}

uint64_t postern_relay_kept(PosternRelay *relay, unsigned connection,
                            bool back)
{
    Direction *direction = direction_lock(relay, connection, back);
    uint64_t kept = direction->kept ? direction->kept->len : 0;

    g_mutex_unlock(&relay->lock);
    return kept;
}

uint64_t postern_relay_carried(PosternRelay *relay, unsigned connection,
                               bool back)
{
    uint64_t carried = direction_lock(relay, connection, back)->carried;

    g_mutex_unlock(&relay->lock);
    return carried;
}

bool postern_relay_over(PosternRelay *relay, unsigned connection, bool back)
{
    bool over = direction_lock(relay, connection, back)->over;

    g_mutex_unlock(&relay->lock);
    return over;
}

void postern_relay_end_one(PosternRelay *relay, unsigned connection, bool back)
{
    shutdown(direction_lock(relay, connection, back)->from, SHUT_RD);
    g_mutex_unlock(&relay->lock);
}

bool postern_relay_cut(PosternRelay *relay, int only)
{
    bool any = false;

    g_mutex_lock(&relay->lock);
    for (int i = 0; i < relay->nconnections; i++) {
        if (only < 0 || only == i) {
            shutdown(relay->directions[i][0].from, SHUT_RDWR);
            shutdown(relay->directions[i][1].from, SHUT_RDWR);
            any = true;
        }
    }
    g_mutex_unlock(&relay->lock);
    return any;
}

void postern_relay_end(PosternRelay *relay)
{
    if (!relay) {
        return;
    }
    g_mutex_lock(&relay->lock);
    relay->ended = true;
    g_cond_broadcast(&relay->changed);
    g_mutex_unlock(&relay->lock);

    /* Ends accept(), so there are no new connections */
    shutdown(relay->listener, SHUT_RDWR);
    g_thread_join(relay->thread);
    close(relay->listener);
    g_unlink(relay->from);

    postern_relay_cut(relay, -1);
    for (unsigned i = 0; i < relay->nconnections; i++) {
        g_thread_join(relay->directions[i][0].thread);
        g_thread_join(relay->directions[i][1].thread);
        close(relay->directions[i][0].from);
        close(relay->directions[i][1].from);
        for (unsigned back = 0; back < 2; back++) {
            g_clear_pointer(&relay->directions[i][back].kept,
                            g_byte_array_unref);
        }
    }
    g_cond_clear(&relay->changed);
    g_mutex_clear(&relay->lock);
    g_free(relay->from);
    g_free(relay->to);
    g_free(relay);
}
