/*
 * The program of the guest that is migrated
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * It fills most of the guest's memory with words whose right value is always
 * known.  A thread on each CPU keeps reading, checking and rewriting them at
 * random.  If a migration loses a page, or delivers an old version of it, that
 * shows as a wrong word.
 *
 * Word i holds expected(i, generation[i]).  How each kind of damage shows:
 *  - a page of zeroes: no expected value is 0;
 *  - an old page of words, or an old page of generations: the two arrays no
 *    longer agree, as a word and its generation lie in different pages;
 *  - old pages of both, which may agree with each other: each worker keeps
 *    the sum of its words and updates it with every write, so the sum is wrong
 *    in the next sweep and ever after.
 *
 * Words of the kernel's command line:
 *   postern.percent=N       fill N % of all memory
 *   postern.rest=N          sleep N microseconds after each batch of
 *                           operations; by default not at all
 *   postern.time=N          time each operation; one of N microseconds or more
 *                           counts as one that waited for a page
 *   postern.memory=N        wait until the guest has N MiB of memory: some of
 *                           it may have to be plugged in
 *   postern.workers=N       N threads use memory, not one on each CPU
 *   postern.disk=1          use /dev/vda, too (disk.c)
 *   postern.redis=N         an operation reads one of N keys of a Redis server in
 *                           the guest, and uses no memory besides (redis.c)
 *   postern.work=1          another thread on each CPU counts, and uses no other
 *                           memory: what the guest gets done meanwhile
 *
 * Lines on the console, one write each:
 *   POSTERN ready words=N workers=N bytes=N
 *   POSTERN alive ops=N least=N bad=N      twice a second; least: the fewest
 *                                          ops of a worker
 *   POSTERN bad word=N found=X expected=X generation=N       the first few
 *   POSTERN bad sum worker=N found=X expected=X
 *   POSTERN sweep words=N bad=N            the answer to "check": all words
 *   POSTERN walked pages=N                 the answer to "walk": the workers
 *                                          have used one word of each page of
 *                                          words, in great strides; after
 *                                          "pause", which has no answer, they
 *                                          only do that and "check"
 *   POSTERN marked stop=N                  the answer to "mark": the physical
 *                                          address at which a 1 from outside
 *                                          stops the workers, and a 0 resumes
 *                                          them
 *   POSTERN waits stopped=N us=N ops=N waits=N wait_us=N p50_us=N p99_us=N
 *           work=N                         the answer to "tell", from "mark" to
 *                                          the stop: time and operations; of
 *                                          those that waited, their number,
 *                                          total time, and percentiles; and how
 *                                          far the other threads counted
 *   POSTERN disk ops=N bad=N               the answer to "disk": requests, and
 *                                          wrong pages
 *   POSTERN more bytes=N bad=N             the answer to "more": other memory
 *                                          was used besides, and freed
 *   POSTERN apf en=N int=N                 the answer to "apf": the first CPU's
 *                                          MSRs of KVM's async page faults
 *   POSTERN loaded ok=1                    the answer to "load": the kernel on
 *                                          /dev/vda, with the initramfs on
 *                                          /dev/vdb, which "kexec" boots
 */
#define _GNU_SOURCE
#include <fcntl.h>
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
#include <time.h>
#include <unistd.h>
#include "disk.h"
#include "kexec.h"
#include "redis.h"

enum {
    DEFAULT_PERCENT = 60,       /* of all memory */
    MAX_WORKERS = 64,
    BATCH = 64,                 /* operations between checks for commands */
    ALIVE_MS = 500,
    MAX_REPORTS = 8,
    SUB_BITS = 3,               /* 8 steps of a histogram for each doubling */
    WAIT_STEPS = 64 << SUB_BITS,
    WALK_STRIDE = 104729,       /* a prime, so that a walk meets each page */
    PAUSE_US = 20000,
    PAGE = 4096,
    MORE_BYTES = 32 << 20,
    MSR_KVM_ASYNC_PF_EN = 0x4b564d02,
    MSR_KVM_ASYNC_PF_INT = 0x4b564d06,
    WORDS_PER_PAGE = PAGE / sizeof(uint64_t),
};

/* Waiting times of one worker, the only writer */
typedef struct Waits {
    atomic_uint_fast64_t ns;
    atomic_uint_fast64_t steps[WAIT_STEPS];
} Waits;

typedef struct Worker {
    unsigned index;
    uint64_t seed;
    uint64_t sum;               /* of this worker's words, as it must be */
    int redis;                  /* its connection */
    atomic_uint_fast64_t ops;
    atomic_uint_fast64_t bad;
    Waits waits;
} Worker;

/* Word i belongs to worker i % nworkers, so that all CPUs use every page. */
static Worker workers[MAX_WORKERS];
static unsigned nworkers;
static uint64_t nwords;
static uint64_t *words;
static uint32_t *generation;
static unsigned rest_us;
static unsigned redis_keys;        /* 0: no server is used */
static uint64_t wait_min_ns;       /* 0: operations are not timed */

/*
 * Written from outside, by its physical address, which "mark" reports: this
 * stops the workers at once, whatever else the guest is busy with.
 */
static union {
    atomic_uint stop;
    char page[PAGE];
} outside __attribute__((aligned(PAGE)));
static atomic_uint_fast64_t stopped_ns;

/* On cache lines of their own */
static struct {
    atomic_uint_fast64_t count;
} __attribute__((aligned(64))) counters[MAX_WORKERS];

static pthread_barrier_t filled;
static atomic_bool paused;
static atomic_uint walks_asked;
static atomic_uint walkers_left;
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
        _exit(1);               /* PID 1 ends, so the kernel panics */
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

/* Each worker fills pages of its own, so that no two fault on the same one. */
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

static uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * UINT64_C(1000000000) + ts.tv_nsec;
}

static unsigned wait_step(uint64_t ns)
{
    unsigned shift = 63 - __builtin_clzll(ns) - SUB_BITS;

    return (shift << SUB_BITS) + (ns >> shift);
}

/* The middle of a step */
static uint64_t wait_step_ns(unsigned step)
{
    unsigned shift = (step >> SUB_BITS) - 1;
    uint64_t low = step - ((uint64_t)shift << SUB_BITS);

    return (low << shift) + (UINT64_C(1) << shift) / 2;
}

static void read_key(Worker *w, unsigned key)
{
    if (!redis_get(w->redis, key)) {
        atomic_fetch_add(&w->bad, 1);
        if (atomic_fetch_add(&reports, 1) < MAX_REPORTS) {
            say("POSTERN bad key=%u\n", key);
        }
    }
}

static void timed_use(Worker *w, uint64_t i)
{
    uint64_t ns = now_ns();

    if (redis_keys) {
        read_key(w, i % redis_keys);
    } else {
        check_and_rewrite(w, i);
    }
    ns = now_ns() - ns;
    if (ns >= wait_min_ns) {
        atomic_fetch_add(&w->waits.ns, ns);
        atomic_fetch_add(&w->waits.steps[wait_step(ns)], 1);
    }
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

static void use_word(Worker *w, uint64_t i)
{
    if (wait_min_ns || redis_keys) {
        timed_use(w, i);
    } else {
        check_and_rewrite(w, i);
    }
}

/* Uses this worker's share of the pages */
static void walk(Worker *w)
{
    uint64_t npages = nwords / WORDS_PER_PAGE / nworkers;

    for (uint64_t n = 0; n < npages; n++) {
        uint64_t page = n * WALK_STRIDE % npages * nworkers + w->index;
        uint64_t i = page * WORDS_PER_PAGE;

        /* The first word of this page that is the worker's */
        use_word(w, i + (w->index + nworkers - i % nworkers) % nworkers);
    }
    atomic_fetch_add(&w->ops, npages);
    if (atomic_fetch_sub(&walkers_left, 1) == 1) {
        say("POSTERN walked pages=%" PRIu64 "\n", npages * nworkers);
    }
}

/* Must the workers stop? The first call that sees it notes the time. */
static bool workers_stop(void)
{
    uint64_t none = 0;

    if (!atomic_load_explicit(&outside.stop, memory_order_relaxed)) {
        return false;
    }
    atomic_compare_exchange_strong(&stopped_ns, &none, now_ns());
    return true;
}

static void use_some(Worker *w, uint64_t own)
{
    for (unsigned n = 0; n < BATCH && !workers_stop(); n++) {
        uint64_t pick = ((unsigned __int128)next_random(&w->seed) * own) >> 64;

        use_word(w, pick * nworkers + w->index);
        atomic_fetch_add(&w->ops, 1);
    }
    if (rest_us) {
        usleep(rest_us);
    }
}

static void *worker_main(void *opaque)
{
    Worker *w = opaque;
    uint64_t own = (nwords - w->index + nworkers - 1) / nworkers;
    unsigned sweeps = 0, walks = 0;

    fill(w);
    if (redis_keys) {
        w->redis = redis_connect();
        if (w->redis < 0 || (!w->index && redis_fill(w->redis, redis_keys))) {
            die("redis");
        }
    }
    pthread_barrier_wait(&filled);
    for (uint64_t i = w->index; i < nwords; i += nworkers) {
        w->sum += expected(i, 1);
    }
    pthread_barrier_wait(&filled);

    for (;;) {
        if (atomic_load(&paused) || workers_stop()) {
            usleep(PAUSE_US);
        } else {
            use_some(w, own);
        }
        if (walks != atomic_load(&walks_asked)) {
            walks++;
            walk(w);
        }
        if (sweeps != atomic_load(&sweeps_asked)) {
            sweeps++;
            sweep(w);
        }
    }
    return NULL;
}

static void *counter_main(void *opaque)
{
    atomic_uint_fast64_t *count = opaque;
    uint64_t n = 0;

    for (;;) {
        /* The loop of the benchmark that this is modelled on */
        atomic_store_explicit(count, ++n, memory_order_relaxed);
        if (n % (1 << 20) == 0 && workers_stop()) {
            while (workers_stop()) {
                usleep(PAUSE_US);
            }
        }
    }
    return NULL;
}

static void start_thread(unsigned cpu, void *(*run)(void *), void *arg)
{
    pthread_attr_t attr;
    pthread_t thread;
    cpu_set_t cpus;

    CPU_ZERO(&cpus);
    CPU_SET(cpu, &cpus);
    pthread_attr_init(&attr);
    if (pthread_attr_setaffinity_np(&attr, sizeof(cpus), &cpus) ||
        pthread_create(&thread, &attr, run, arg)) {
        die("cannot start a worker");
    }
    pthread_attr_destroy(&attr);
}

static void start_worker(unsigned index, unsigned cpu)
{
    Worker *w = &workers[index];

    w->index = index;
    w->seed = 0x9e3779b97f4a7c15 * (index + 1);
    start_thread(cpu, worker_main, w);
}

static unsigned number_from_command_line(const char *name, unsigned number)
{
    char buf[4096] = "";
    FILE *f = fopen("/proc/cmdline", "r");
    const char *found;

    if (!f || !fgets(buf, sizeof(buf), f)) {
        die("/proc/cmdline");
    }
    fclose(f);
    found = strstr(buf, name);
    if (found) {
        sscanf(found + strlen(name), "%u", &number);
    }
    return number;
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

/* An echo of commands would run into the lines that we print. */
static void make_console_quiet(void)
{
    struct termios tio;

    if (!tcgetattr(STDIN_FILENO, &tio)) {
        tio.c_lflag &= ~ECHO;
        tcsetattr(STDIN_FILENO, TCSANOW, &tio);
    }
}

/* Sums of all workers */
typedef struct Totals {
    uint64_t ns;                /* the time of the sums, on the guest's clock */
    uint64_t ops;
    uint64_t work;
    uint64_t wait_ns;
    uint64_t steps[WAIT_STEPS];
} Totals;

static Totals marked;

static Totals totals(void)
{
    Totals sum = { .ns = now_ns() };

    for (unsigned n = 0; n < nworkers; n++) {
        sum.ops += atomic_load(&workers[n].ops);
        sum.work += atomic_load(&counters[n].count);
        sum.wait_ns += atomic_load(&workers[n].waits.ns);
        for (unsigned i = 0; i < WAIT_STEPS; i++) {
            sum.steps[i] += atomic_load(&workers[n].waits.steps[i]);
        }
    }
    return sum;
}

static uint64_t percentile_us(const Totals *t, uint64_t count, unsigned percent)
{
    uint64_t seen = 0;

    for (unsigned i = 0; i < WAIT_STEPS; i++) {
        seen += t->steps[i] - marked.steps[i];
        if (seen && seen * 100 >= count * percent) {
            return wait_step_ns(i) / 1000;
        }
    }
    return 0;
}

static void tell(void)
{
    /* Perhaps no worker has seen the stop yet */
    bool stopped = workers_stop();
    Totals now = totals();
    uint64_t count = 0;

    for (unsigned i = 0; i < WAIT_STEPS; i++) {
        count += now.steps[i] - marked.steps[i];
    }
    if (stopped) {
        now.ns = atomic_load(&stopped_ns);
    }
    say("POSTERN waits stopped=%d us=%" PRIu64 " ops=%" PRIu64 " waits=%" PRIu64
        " wait_us=%" PRIu64 " p50_us=%" PRIu64 " p99_us=%" PRIu64
        " work=%" PRIu64 "\n",
        stopped, (now.ns - marked.ns) / 1000, now.ops - marked.ops, count,
        (now.wait_ns - marked.wait_ns) / 1000,
        percentile_us(&now, count, 50), percentile_us(&now, count, 99),
        now.work - marked.work);
}

/* The physical address of the word that stops the workers */
static uint64_t stop_address(void)
{
    const uint64_t present = UINT64_C(1) << 63;
    const uint64_t pfn_mask = (UINT64_C(1) << 55) - 1;
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    uint64_t entry;

    atomic_store(&outside.stop, 0);
    if (fd < 0 || mlock(&outside, sizeof(outside)) ||
        pread(fd, &entry, sizeof(entry),
              (uintptr_t)&outside / PAGE * sizeof(entry)) != sizeof(entry) ||
        !(entry & present)) {
        die("/proc/self/pagemap");
    }
    close(fd);
    return (entry & pfn_mask) * PAGE;
}

/* Uses pages that were free, or that the kernel got back from a balloon */
static void use_more(void)
{
    uint64_t *more = map_pages(MORE_BYTES), bad = 0;

    for (uint64_t i = 0; i < MORE_BYTES / sizeof(*more); i++) {
        bad += more[i] != 0;
        more[i] = expected(i, 0);
    }
    for (uint64_t i = 0; i < MORE_BYTES / sizeof(*more); i++) {
        bad += more[i] != expected(i, 0);
    }
    munmap(more, MORE_BYTES);
    say("POSTERN more bytes=%u bad=%" PRIu64 "\n", MORE_BYTES, bad);
}

static uint64_t read_msr(uint32_t msr)
{
    int fd = open("/dev/cpu/0/msr", O_RDONLY | O_CLOEXEC);
    uint64_t value;

    if (fd < 0 || pread(fd, &value, sizeof(value), msr) != sizeof(value)) {
        die("/dev/cpu/0/msr");
    }
    close(fd);
    return value;
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

    if (!strcmp(line, "mark")) {
        uint64_t address = stop_address();

        atomic_store(&stopped_ns, 0);
        marked = totals();
        say("POSTERN marked stop=%" PRIu64 "\n", address);
    } else if (!strcmp(line, "tell")) {
        tell();
    } else if (!strcmp(line, "disk")) {
        say("POSTERN disk ops=%" PRIu64 " bad=%" PRIu64 "\n", disk_ops(),
            disk_bad());
    } else if (!strcmp(line, "more")) {
        use_more();
    } else if (!strcmp(line, "apf")) {
        say("POSTERN apf en=%" PRIu64 " int=%" PRIu64 "\n",
            read_msr(MSR_KVM_ASYNC_PF_EN), read_msr(MSR_KVM_ASYNC_PF_INT));
    } else if (!strcmp(line, "load")) {
        const char *failed = kexec_load();

        if (failed) {
            die(failed);
        }
        say("POSTERN loaded ok=1\n");
    } else if (!strcmp(line, "kexec")) {
        kexec_boot();
        die("kexec");
    } else if (!strcmp(line, "pause")) {
        atomic_store(&paused, true);
    } else if (!strcmp(line, "walk") && !atomic_load(&walkers_left)) {
        atomic_store(&walkers_left, nworkers);
        atomic_fetch_add(&walks_asked, 1);
    } else if (strcmp(line, "check")) {
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

/* Waits until there is that much memory; returns all of it in bytes */
static uint64_t wait_for_memory(uint64_t mib)
{
    struct sysinfo system;
    uint64_t bytes;

    for (;;) {
        if (sysinfo(&system)) {
            die("sysinfo");
        }
        bytes = (uint64_t)system.totalram * system.mem_unit;
        if (bytes >> 20 >= mib) {
            return bytes;
        }
        usleep(PAUSE_US);
    }
}

int main(void)
{
    struct pollfd console = { .fd = STDIN_FILENO, .events = POLLIN };
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t bytes;

    make_console_quiet();
    bytes = wait_for_memory(number_from_command_line("postern.memory=", 0)) /
            100 * number_from_command_line("postern.percent=", DEFAULT_PERCENT);
    wait_min_ns = number_from_command_line("postern.time=", 0) * 1000ull;
    rest_us = number_from_command_line("postern.rest=", 0);
    redis_keys = number_from_command_line("postern.redis=", 0);
    nwords = bytes / (sizeof(*words) + sizeof(*generation));
    nworkers = number_from_command_line("postern.workers=", cpus);
    if (!nworkers || nworkers > MAX_WORKERS) {
        nworkers = MAX_WORKERS;
    }
    words = map_pages(nwords * sizeof(*words));
    generation = map_pages(nwords * sizeof(*generation));

    pthread_barrier_init(&filled, NULL, nworkers + 1);
    for (unsigned n = 0; n < nworkers; n++) {
        start_worker(n, n % cpus);
    }
    pthread_barrier_wait(&filled);
    pthread_barrier_wait(&filled);
    if (number_from_command_line("postern.work=", 0)) {
        for (unsigned n = 0; n < nworkers; n++) {
            start_thread(n % cpus, counter_main, &counters[n].count);
        }
    }
    if (number_from_command_line("postern.disk=", 0) && disk_start()) {
        die("disk");
    }
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
