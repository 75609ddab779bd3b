/*
 * The program that runs in the guest which is migrated.
 *
 * It fills most of the guest's memory with words whose right value is always
 * known, and one thread on each CPU goes on reading, checking and rewriting
 * them at random.  A page that a migration lost, or delivered in an old
 * version, shows as a wrong word.
 *
 * Word i holds expected(i, generation[i]).  How each kind of damage shows:
 *  - a page of zeroes: no expected value is 0;
 *  - an old page of words, or an old page of generations: the two arrays no
 *    longer agree, as a word and its generation lie in different pages;
 *  - old pages of both, which may agree with each other: each worker keeps
 *    the sum of its words, which it changes with every write, so the sum
 *    differs in the next sweep and ever after.
 *
 * Lines on the console, one write each:
 *   POSTERN ready words=N workers=N bytes=N
 *   POSTERN alive ops=N least=N bad=N      twice a second; least: ops of the
 *                                          worker that has done fewest
 *   POSTERN bad word=N found=X expected=X generation=N       the first few
 *   POSTERN bad sum worker=N found=X expected=X
 *   POSTERN sweep words=N bad=N            the answer to "check": all words
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <termios.h>
#include <unistd.h>

enum {
    DEFAULT_PERCENT = 60,       /* of all memory; postern.percent= changes it */
    MAX_WORKERS = 64,
    BATCH = 64,                 /* operations between looks at what is asked */
    ALIVE_MS = 500,
    MAX_REPORTS = 8,
};

typedef struct Worker {
    pthread_t thread;
    unsigned index;
    uint64_t seed;
    uint64_t sum;               /* what this worker's words must add up to */
    atomic_uint_fast64_t ops;
    atomic_uint_fast64_t bad;
} Worker;

/* Word i belongs to worker i % nworkers, so that all CPUs use every page. */
static Worker workers[MAX_WORKERS];
static unsigned nworkers;
static uint64_t nwords;
static uint64_t *words;
static uint32_t *generation;

static pthread_barrier_t filled;
static atomic_uint sweeps_asked;
static atomic_uint sweepers_left;
static atomic_uint_fast64_t sweep_bad;
static atomic_uint reports;

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *fmt, ...)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    char line[160];
    va_list ap;
    int len;

    va_start(ap, fmt);
    len = vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);

    pthread_mutex_lock(&lock);
    if (write(STDOUT_FILENO, line, len) != len) {
        _exit(1);               /* init dies, the kernel panics: seen outside */
    }
    pthread_mutex_unlock(&lock);
}

static void die(const char *what)
{
    say("POSTERN failed: %s: %m\n", what);
    exit(1);
}

static inline uint64_t expected(uint64_t i, uint32_t gen)
{
    uint64_t x = (i + 1) * 0x9e3779b97f4a7c15 + gen * 0xd6e8feb86659fd93;

    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93;
    x ^= x >> 29;
    return x | 1;
}

static inline uint64_t next_random(uint64_t *seed)
{
    uint64_t x = *seed;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *seed = x;
    return x * 0x2545f4914f6cdd1d;
}

/* Each worker fills one run of pages: two would only fault on the same ones. */
static void fill(const Worker *w)
{
    uint64_t end = nwords / nworkers * (w->index + 1);

    if (w->index == nworkers - 1) {
        end = nwords;
    }
    for (uint64_t i = nwords / nworkers * w->index; i < end; i++) {
        generation[i] = 1;
        words[i] = expected(i, 1);
    }
}

static void report_bad_word(uint64_t i, uint64_t found)
{
    if (atomic_fetch_add(&reports, 1) < MAX_REPORTS) {
        say("POSTERN bad word=%" PRIu64 " found=%" PRIx64 " expected=%" PRIx64
            " generation=%" PRIu32 "\n",
            i, found, expected(i, generation[i]), generation[i]);
    }
}

static void check_and_rewrite(Worker *w, uint64_t i)
{
    uint32_t gen = generation[i];
    uint64_t old = expected(i, gen);
    uint64_t found = words[i];
    uint64_t new = expected(i, gen + 1);

    if (found != old) {
        atomic_fetch_add(&w->bad, 1);
        report_bad_word(i, found);
    }
    generation[i] = gen + 1;
    words[i] = new;
    w->sum += new - old;
}

static void sweep(Worker *w)
{
    uint64_t bad = 0, sum = 0;

    for (uint64_t i = w->index; i < nwords; i += nworkers) {
        uint64_t found = words[i];

        sum += found;
        if (found != expected(i, generation[i])) {
            bad++;
            report_bad_word(i, found);
        }
    }
    if (!bad && sum != w->sum) {
        bad++;
        say("POSTERN bad sum worker=%u found=%" PRIx64 " expected=%" PRIx64
            "\n", w->index, sum, w->sum);
    }

    atomic_fetch_add(&w->bad, bad);
    bad += atomic_fetch_add(&sweep_bad, bad);
    if (atomic_fetch_sub(&sweepers_left, 1) == 1) {
        say("POSTERN sweep words=%" PRIu64 " bad=%" PRIu64 "\n", nwords,
            (uint64_t)atomic_load(&sweep_bad));
    }
}

static void *worker_main(void *opaque)
{
    Worker *w = opaque;
    uint64_t own = (nwords - w->index + nworkers - 1) / nworkers;
    unsigned sweeps = 0;

    fill(w);
    pthread_barrier_wait(&filled);
    for (uint64_t i = w->index; i < nwords; i += nworkers) {
        w->sum += expected(i, 1);
    }
    pthread_barrier_wait(&filled);

    for (;;) {
        for (unsigned n = 0; n < BATCH; n++) {
            uint64_t pick = ((unsigned __int128)next_random(&w->seed) * own)
                            >> 64;

            check_and_rewrite(w, pick * nworkers + w->index);
        }
        atomic_fetch_add(&w->ops, BATCH);
        if (sweeps != atomic_load(&sweeps_asked)) {
            sweeps++;
            sweep(w);
        }
    }
    return NULL;
}

static void start_worker(unsigned index)
{
    Worker *w = &workers[index];
    pthread_attr_t attr;
    cpu_set_t cpus;

    w->index = index;
    w->seed = 0x9e3779b97f4a7c15 * (index + 1);

    CPU_ZERO(&cpus);
    CPU_SET(index, &cpus);
    pthread_attr_init(&attr);
    if (pthread_attr_setaffinity_np(&attr, sizeof(cpus), &cpus) ||
        pthread_create(&w->thread, &attr, worker_main, w)) {
        die("cannot start a worker");
    }
    pthread_attr_destroy(&attr);
}

static unsigned percent_from_command_line(void)
{
    char buf[4096] = "";
    FILE *f = fopen("/proc/cmdline", "r");
    unsigned percent = DEFAULT_PERCENT;
    const char *found;

    if (!f || !fgets(buf, sizeof(buf), f)) {
        die("/proc/cmdline");
    }
    fclose(f);
    found = strstr(buf, "postern.percent=");
    if (found) {
        sscanf(found, "postern.percent=%u", &percent);
    }
    return percent;
}

static void *map_pages(uint64_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED) {
        die("mmap");
    }
    madvise(p, bytes, MADV_HUGEPAGE);   /* only to start sooner */
    return p;
}

/* An echo of what we are told would run into the lines that we say. */
static void make_console_quiet(void)
{
    struct termios tio;

    if (!tcgetattr(STDIN_FILENO, &tio)) {
        tio.c_lflag &= ~ECHO;
        tcsetattr(STDIN_FILENO, TCSANOW, &tio);
    }
}

static void obey_one_line(void)
{
    char line[64];
    ssize_t len = read(STDIN_FILENO, line, sizeof(line) - 1);

    if (len <= 0) {
        die("read from the console");
    }
    line[len] = '\0';
    line[strcspn(line, "\r\n")] = '\0';

    if (strcmp(line, "check")) {
        say("POSTERN unknown command '%.32s'\n", line);
    } else if (atomic_load(&sweepers_left)) {
        say("POSTERN busy\n");
    } else {
        atomic_store(&sweep_bad, 0);
        atomic_store(&sweepers_left, nworkers);
        atomic_fetch_add(&sweeps_asked, 1);
    }
}

static void say_alive(void)
{
    uint64_t ops = 0, bad = 0, least = UINT64_MAX;

    for (unsigned n = 0; n < nworkers; n++) {
        uint64_t own = atomic_load(&workers[n].ops);

        ops += own;
        bad += atomic_load(&workers[n].bad);
        least = own < least ? own : least;
    }
    say("POSTERN alive ops=%" PRIu64 " least=%" PRIu64 " bad=%" PRIu64 "\n",
        ops, least, bad);
}

int main(void)
{
    struct pollfd console = { .fd = STDIN_FILENO, .events = POLLIN };
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    struct sysinfo system;
    uint64_t bytes;

    make_console_quiet();
    if (sysinfo(&system)) {
        die("sysinfo");
    }
    bytes = (uint64_t)system.totalram * system.mem_unit / 100 *
            percent_from_command_line();
    nwords = bytes / (sizeof(*words) + sizeof(*generation));
    nworkers = cpus < MAX_WORKERS ? cpus : MAX_WORKERS;
    words = map_pages(nwords * sizeof(*words));
    generation = map_pages(nwords * sizeof(*generation));

    pthread_barrier_init(&filled, NULL, nworkers + 1);
    for (unsigned n = 0; n < nworkers; n++) {
        start_worker(n);
    }
    pthread_barrier_wait(&filled);
    pthread_barrier_wait(&filled);
    say("POSTERN ready words=%" PRIu64 " workers=%u bytes=%" PRIu64 "\n",
        nwords, nworkers, nwords * (sizeof(*words) + sizeof(*generation)));

    for (;;) {
        int ready = poll(&console, 1, ALIVE_MS);

        if (ready > 0) {
            obey_one_line();
        } else {
            say_alive();
        }
    }
}
