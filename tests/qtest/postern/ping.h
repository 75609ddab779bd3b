/*
 * Pings from the host to a guest
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef POSTERN_PING_H
#define POSTERN_PING_H

/**
 * postern_ping_open() - configure a network interface for postern_ping()
 * @ifname: of this host, such as a tap that a VM has opened
 * @errp: set on failure
 *
 * The interface gets the address 10.0.0.1/24.  Several interfaces may have that
 * address: each ping uses its own interface.
 *
 * Return: a file descriptor, to be closed, or -1
 */
int postern_ping_open(const char *ifname, Error **errp);

/**
 * postern_ping() - send 1400 bytes to 10.0.0.2, and wait for them to return
 * @fd: from postern_ping_open()
 * @timeout_ms: how long to wait
 *
 * Return: true if the same bytes have returned
 */
bool postern_ping(int fd, int timeout_ms);

#endif
