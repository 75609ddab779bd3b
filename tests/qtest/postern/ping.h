/*
 * A guest's network, seen from its host
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef POSTERN_PING_H
#define POSTERN_PING_H

/**
 * postern_ping_open() - make a network interface ready for postern_ping()
 * @ifname: of this host, such as a tap that a VM has opened
 * @errp: set on failure
 *
 * It becomes 10.0.0.1, of a network of 256 addresses.  Several may have that
 * address: a ping goes out, and is answered, through its own interface.
 *
 * Return: a file descriptor, to be closed, or -1
 */
int postern_ping_open(const char *ifname, Error **errp);

/**
 * postern_ping() - send 1400 bytes to 10.0.0.2, to come back
 * @fd: from postern_ping_open()
 * @timeout_ms: how long to wait for them
 *
 * Return: true if the same bytes came back
 */
bool postern_ping(int fd, int timeout_ms);

#endif
