/*
 * L1's output, and the news about the command that travels in it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define _GNU_SOURCE
#include <string.h>

#include "stream.h"

void stream_init(Stream *s, const char *mark)
{
    s->mark = g_string_new(mark);
    g_string_prepend_c(s->mark, '\0');
    s->held = g_string_new(NULL);
}

void stream_clear(Stream *s)
{
    if (s->mark) {
        g_string_free(s->mark, TRUE);
        g_string_free(s->held, TRUE);
    }
}

static void stream_output(Stream *s, gsize len)
{
    if (len) {
        s->output(s->held->str, len, s->opaque);
        g_string_erase(s->held, 0, len);
    }
}

/* The offset of a mark that has not been received to its end. */
static gsize stream_beginning(Stream *s)
{
    gsize len = s->held->len;
    gsize at = len < s->mark->len ? 0 : len - s->mark->len + 1;

    while (at < len && memcmp(s->held->str + at, s->mark->str, len - at)) {
        at++;
    }
    return at;
}

void stream_feed(Stream *s, const char *data, gsize len)
{
    g_string_append_len(s->held, data, len);

    for (;;) {
        char *found = memmem(s->held->str, s->held->len,
                             s->mark->str, s->mark->len);
        char *text, *end;

        if (!found) {
            stream_output(s, stream_beginning(s));
            return;
        }
        stream_output(s, found - s->held->str);
        text = s->held->str + s->mark->len;
        end = memchr(text, ';', s->held->len - s->mark->len);
        if (!end) {
            return;
        }
        *end = '\0';
        s->news(text, s->opaque);
        g_string_erase(s->held, 0, end + 1 - s->held->str);
    }
}
