/*
 * A relay for connections between two QEMUs, which a test can hold or break
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef POSTERN_RELAY_H
#define POSTERN_RELAY_H

#include "qapi/error.h"

typedef struct PosternRelay PosternRelay;

/**
 * postern_relay_start() - relay connections from one unix socket to another
 * @from: path to listen at, does not exist yet
 * @to: path to connect to, for each connection to @from
 * @errp: set if it cannot listen
 *
 * Threads of the relay carry data in both directions until postern_relay_end().
 * If one direction of a connection ends, the other one continues, as in a
 * network.
 *
 * Return: the relay, or NULL
 */
PosternRelay *postern_relay_start(const char *from, const char *to,
                                  Error **errp);

/**
 * postern_relay_hold() - hold back all data, or continue
 * @relay: the relay
 * @hold: true to hold back
 */
void postern_relay_hold(PosternRelay *relay, bool hold);

/**
 * postern_relay_hold_one() - hold back one direction of one connection
 * @relay: the relay
 * @connection: its number, from 0 in the order of connections; it exists
 * @back: the direction from the listener, not the one to it
 * @hold: true to hold back, false to continue
 */
void postern_relay_hold_one(PosternRelay *relay, unsigned connection,
                            bool back, bool hold);

/**
 * postern_relay_lose_one() - discard all data of one direction from now on
 * @relay: the relay
 * @connection: its number; it exists
 * @back: the direction from the listener, not the one to it
 */
void postern_relay_lose_one(PosternRelay *relay, unsigned connection,
                            bool back);

/**
 * postern_relay_keep_one() - read all data of one direction, and keep it
 * @relay: the relay
 * @connection: its number; it exists
 * @back: the direction from the listener, not the one to it
 * @keep: true to keep it, false to pass it on and continue
 *
 * To the writer, this is a network that takes whatever it is given.  What was
 * kept is passed on with the relay's lock held: the reader must take it without
 * an answer to what it sends meanwhile.
 */
void postern_relay_keep_one(PosternRelay *relay, unsigned connection,
                            bool back, bool keep);

/**
 * postern_relay_kept() - how much data was kept so far
 * @relay: the relay
 * @connection: its number; it exists
 * @back: the direction from the listener, not the one to it
 *
 * Return: the number of bytes
 */
uint64_t postern_relay_kept(PosternRelay *relay, unsigned connection,
                            bool back);

/**
 * postern_relay_carried() - how much data has passed in one direction
 * @relay: the relay
 * @connection: its number; it exists
 * @back: the direction from the listener, not the one to it
 *
 * Return: the number of bytes that were neither held back nor discarded
 */
uint64_t postern_relay_carried(PosternRelay *relay, unsigned connection,
                               bool back);

/**
 * postern_relay_over() - has one direction ended?
 * @relay: the relay
 * @connection: its number; it exists
 * @back: the direction from the listener, not the one to it
 *
 * Return: true if its end was passed on, after all data
 */
bool postern_relay_over(PosternRelay *relay, unsigned connection, bool back);

/**
 * postern_relay_end_one() - end one direction of one connection
 * @relay: the relay
 * @connection: its number; it exists
 * @back: the direction from the listener, not the one to it
 *
 * The reader finds the end after the data that is being carried, and the writer
 * gets an error.
 */
void postern_relay_end_one(PosternRelay *relay, unsigned connection, bool back);

/**
 * postern_relay_cut() - break connections, for both ends
 * @relay: the relay
 * @only: the number of the connection to break, or -1 for all
 *
 * Return: true if there was one
 */
bool postern_relay_cut(PosternRelay *relay, int only);

/**
 * postern_relay_end() - break all connections, and free the relay
 * @relay: may be NULL
 */
void postern_relay_end(PosternRelay *relay);

#endif
