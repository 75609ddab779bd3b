/*
 * Reads from a Redis server in the guest
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef GUEST_REDIS_H
#define GUEST_REDIS_H

#include <stdbool.h>

/*
 * redis_connect: connect to the server, once it has started
 *
 * Return: a file descriptor, or -1 on error
 */
int redis_connect(void);

/*
 * redis_fill: let the server make keys with values of 1000 bytes
 * @fd: a connection
 * @keys: the number of keys
 *
 * Return: 0, or -1 on error
 */
int redis_fill(int fd, unsigned keys);

/*
 * redis_get: read the value of a key
 * @fd: a connection, which no other thread uses
 * @key: its number
 *
 * Return: true if it is the right one
 */
bool redis_get(int fd, unsigned key);

#endif
