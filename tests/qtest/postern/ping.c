/*
 * Pings from the host to a guest
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include "ping.h"
#include "qapi/error.h"
#include "qemu/cutils.h"

#define HOST_ADDRESS "10.0.0.1"
#define GUEST_ADDRESS "10.0.0.2"
#define NETMASK "255.255.255.0"

typedef struct Ping {
    struct icmphdr header;
    uint8_t data[1400 - sizeof(struct icmphdr)];
} Ping;

static struct sockaddr_in address(const char *text)
{
    return (struct sockaddr_in) {
        .sin_family = AF_INET,
        .sin_addr.s_addr = inet_addr(text),
    };
}

static bool set_address(int fd, const char *ifname, unsigned long request,
                        const char *text)
{
    struct sockaddr_in to = address(text);
    struct ifreq ifr = { 0 };

    pstrcpy(ifr.ifr_name, sizeof(ifr.ifr_name), ifname);
    memcpy(&ifr.ifr_addr, &to, sizeof(to));
    return ioctl(fd, request, &ifr) == 0;
}

static bool set_up(int fd, const char *ifname)
{
    struct ifreq ifr = { .ifr_flags = IFF_UP | IFF_RUNNING };

    pstrcpy(ifr.ifr_name, sizeof(ifr.ifr_name), ifname);
    return ioctl(fd, SIOCSIFFLAGS, &ifr) == 0;
}

int postern_ping_open(const char *ifname, Error **errp)
{
    int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);

    if (fd < 0 || !set_address(fd, ifname, SIOCSIFADDR, HOST_ADDRESS) ||
        !set_address(fd, ifname, SIOCSIFNETMASK, NETMASK) ||
        !set_up(fd, ifname) ||
        setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, ifname, strlen(ifname))) {
        error_setg_errno(errp, errno, "%s cannot be used", ifname);
        if (fd >= 0) {
            close(fd);
        }
        return -1;
    }
    return fd;
}

/* The Internet checksum: the ones' complement of the ones' complement sum */
static uint16_t checksum(const void *data, size_t size)
{
    const uint16_t *words = data;
    uint32_t sum = 0;

    for (size_t i = 0; i < size / 2; i++) {
        sum += words[i];
    }
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return ~sum;
}

/* Is this packet the answer to @sent? */
static bool is_answer(const uint8_t *packet, size_t size, const Ping *sent)
{
    size_t ip_size = (packet[0] & 0xf) * 4;
    const Ping *got = (const Ping *)(packet + ip_size);

    return size == ip_size + sizeof(*got) &&
           got->header.type == ICMP_ECHOREPLY &&
           got->header.un.echo.sequence == sent->header.un.echo.sequence &&
           !memcmp(got->data, sent->data, sizeof(sent->data));
}

bool postern_ping(int fd, int timeout_ms)
{
    static uint16_t sequence;
    struct sockaddr_in to = address(GUEST_ADDRESS);
    int64_t deadline = g_get_monotonic_time() + timeout_ms * 1000LL;
    struct pollfd pfd = { .fd = fd, .events = POLLIN };
    uint8_t packet[sizeof(struct iphdr) + 40 + sizeof(Ping)];
    Ping ping = { .header.type = ICMP_ECHO };
    int64_t left;

    ping.header.un.echo.sequence = ++sequence;
    for (size_t i = 0; i < sizeof(ping.data); i++) {
        ping.data[i] = g_random_int();
    }
    ping.header.checksum = checksum(&ping, sizeof(ping));
    if (sendto(fd, &ping, sizeof(ping), 0, (void *)&to, sizeof(to)) < 0) {
        return false;
    }
    while ((left = deadline - g_get_monotonic_time()) > 0 &&
           poll(&pfd, 1, DIV_ROUND_UP(left, 1000)) > 0) {
        ssize_t size = recv(fd, packet, sizeof(packet), 0);

        if (size > 0 && is_answer(packet, size, &ping)) {
            return true;
        }
    }
    return false;
}
