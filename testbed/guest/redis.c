/*
 * Reads from a Redis server in the guest
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define _GNU_SOURCE
#include "redis.h"
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    PORT = 6379,
    VALUE_BYTES = 1000,
    TRIES = 3000,
    RETRY_US = 20000,
};

int redis_connect(void)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(PORT),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;

    for (int i = 0; i < TRIES; i++) {
        if (!connect(fd, (struct sockaddr *)&address, sizeof(address))) {
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
            return fd;
        }
        usleep(RETRY_US);
    }
    return -1;
}

/* Returns the number of bytes that came, up to @size, or -1 */
static ssize_t command(int fd, const char *line, char *answer, size_t size,
                       size_t least)
{
    size_t got = 0;
    ssize_t n;

    if (write(fd, line, strlen(line)) != (ssize_t)strlen(line)) {
        return -1;
    }
    do {
        n = read(fd, answer + got, size - got);
        if (n <= 0) {
            return -1;
        }
        got += n;
    } while (got < least && answer[0] != '-');
    return got;
}

int redis_fill(int fd, unsigned keys)
{
    char line[64], answer[64];

    snprintf(line, sizeof(line), "DEBUG POPULATE %u key %u\r\n", keys,
             (unsigned)VALUE_BYTES);
    if (command(fd, line, answer, sizeof(answer), 5) != 5 ||
        memcmp(answer, "+OK\r\n", 5)) {
        return -1;
    }
    return 0;
}

bool redis_get(int fd, unsigned key)
{
    char line[64], answer[VALUE_BYTES + 16];
    size_t length, head;

    /* The value is a text, and bytes of 0 behind it.  Each page has some text. */
    snprintf(line, sizeof(line), "GET key:%u\r\n", key);
    head = snprintf(answer, sizeof(answer), "$%u\r\n", (unsigned)VALUE_BYTES);
    length = head + VALUE_BYTES + 2;
    if (command(fd, line, answer, sizeof(answer), length) != (ssize_t)length) {
        return false;
    }
    memset(line, 0, sizeof(line));
    snprintf(line, sizeof(line), "value:%u", key);
    if (memcmp(answer + head, line, sizeof(line))) {
        return false;
    }
    for (size_t i = head + sizeof(line); i < head + VALUE_BYTES; i++) {
        if (answer[i]) {
            return false;
        }
    }
    return true;
}
