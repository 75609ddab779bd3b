/*
 * A network between two QEMUs that can be cut
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef POSTERN_RELAY_H
#define POSTERN_RELAY_H

#include "qapi/error.h"

typedef struct PosternRelay PosternRelay;

/**
 * postern_relay_start() - carry connections from one unix socket to another
 * @from: path to listen at, does not exist yet
 * @to: path to connect to, each time somebody connects to @from
 * @errp: set when it is not possible to listen
 *
 * Threads of the relay's own carry what comes, in both directions, until
 * postern_relay_end().  A connection of which one direction ends goes on in
 * the other, as that of a network would.
 *
 * Return: the relay, or NULL
 */
PosternRelay *postern_relay_start(const char *from, const char *to,
                                  Error **errp);

/**
 * postern_relay_hold() - carry nothing more for now, or go on
 * @relay: the relay
 * @hold: which of the two
 */
void postern_relay_hold(PosternRelay *relay, bool hold);

/**
 * postern_relay_hold_one() - likewise for one direction of one connection
 * @relay: the relay
 * @connection: its number, in the order of their coming; it has come
 * @back: the direction from the listener, not the one to it
 * @hold: carry nothing, or go on
 */
void postern_relay_hold_one(PosternRelay *relay, unsigned connection,
                            bool back, bool hold);

/**
 * postern_relay_lose_one() - throw away what comes in one direction from now on
 * @relay: the relay
 * @connection: its number; it has come
 * @back: the direction from the listener, not the one to it
 */
void postern_relay_lose_one(PosternRelay *relay, unsigned connection,
                            bool back);

/**
 * postern_relay_carried() - how much has gone in one direction
 * @relay: the relay
 * @connection: its number; it has come
 * @back: the direction from the listener, not the one to it
 *
 * Return: the number of bytes, without what was held back or thrown away
 */
uint64_t postern_relay_carried(PosternRelay *relay, unsigned connection,
                               bool back);

/**
 * postern_relay_over() - has one direction ended?
 * @relay: the relay
 * @connection: its number; it has come
 * @back: the direction from the listener, not the one to it
 *
 * Return: true if its end was passed on, behind all that came before
 */
bool postern_relay_over(PosternRelay *relay, unsigned connection, bool back);

/**
 * postern_relay_end_one() - end one direction of one connection
 * @relay: the relay
 * @connection: its number; it has come
 * @back: the direction from the listener, not the one to it
 *
 * Whoever reads there finds the end behind what is carried now, and whoever
 * writes gets an error.
 */
void postern_relay_end_one(PosternRelay *relay, unsigned connection, bool back);

/**
 * postern_relay_cut() - break connections; both ends see it
 * @relay: the relay
 * @only: the number of the connection to break, in the order of their coming,
 *        or -1 for all
 *
 * Return: whether there was any
 */
bool postern_relay_cut(PosternRelay *relay, int only);

/**
 * postern_relay_end() - break what is left, and free the relay
 * @relay: may be NULL
 */
void postern_relay_end(PosternRelay *relay);

#endif
