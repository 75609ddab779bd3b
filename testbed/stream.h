/*
 * L1's output, and the news about the command that travels in it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTBED_STREAM_H
#define TESTBED_STREAM_H

#include <glib.h>

/*
 * News is a NUL byte, a mark that no output contains by accident, a text and a
 * semicolon. News and output share one stream: with two, news could overtake
 * the output, whose end would be lost.
 */
typedef struct Stream {
    GString *mark;      /* with the NUL byte in front */
    GString *held;      /* received, but may be the start of news */
    void (*output)(const char *data, gsize len, void *opaque);
    void (*news)(const char *text, void *opaque);
    void *opaque;       /* for both */
} Stream;

void stream_init(Stream *s, const char *mark);
void stream_clear(Stream *s);

/**
 * stream_feed: process received data
 *
 * Calls output() and news() in the order in which L1 wrote them. Only data
 * that may be the beginning of news is held back.
 */
void stream_feed(Stream *s, const char *data, gsize len);

#endif
