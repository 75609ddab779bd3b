/*
 * Threads that wait in the userfaultfd of a post-copy destination
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <linux/userfaultfd.h>
#include "qemu/atomic.h"
#include "uffd.h"

struct UffdReader {
    GThread *thread;
    pid_t pid;
    uint64_t address;
    pid_t tid;
    bool done;
};

/* Returns a duplicate of @pid's userfaultfd */
static int take_userfaultfd(pid_t pid)
{
    g_autofree char *folder = g_strdup_printf("/proc/%d/fd", pid);
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    int pidfd = syscall(SYS_pidfd_open, pid, 0);
    const char *name;
    int fd = -1;

    g_assert(dir);
    g_assert_cmpint(pidfd, >=, 0);
    while (fd < 0 && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(folder, name, NULL);
        g_autofree char *target = g_file_read_link(path, NULL);

        if (!g_strcmp0(target, "anon_inode:[userfaultfd]")) {
            fd = syscall(SYS_pidfd_getfd, pidfd, atoi(name), 0);
        }
    }
    close(pidfd);
    g_assert_cmpint(fd, >=, 0);
    return fd;
}

/* The stack pointer of a thread that waits in the kernel, or 0 */
static uint64_t stack_pointer(pid_t pid, const char *thread)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task/%s/syscall", pid,
                                            thread);
    g_autofree char *text = NULL;
    g_auto(GStrv) words = NULL;
    unsigned nr;

    if (atoi(thread) == pid || !g_file_get_contents(path, &text, NULL, NULL)) {
        return 0;
    }
    /* The last two words are the stack pointer and the program counter */
    words = g_strsplit(text, " ", -1);
    nr = g_strv_length(words);
    return nr > 2 ? g_ascii_strtoull(words[nr - 2], NULL, 16) : 0;
}

/* The stack pointer of any thread but the main one */
static uint64_t some_stack_pointer(pid_t pid)
{
    g_autofree char *folder = g_strdup_printf("/proc/%d/task", pid);
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    uint64_t found = 0;
    const char *thread;

    g_assert(dir);
    while (!found && (thread = g_dir_read_name(dir))) {
        found = stack_pointer(pid, thread);
    }
    g_assert_cmphex(found, !=, 0);
    return found;
}

/* There is a guard page below a stack, so the mapping begins with the stack */
static uint64_t mapping_start(pid_t pid, uint64_t address)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/maps", pid);
    g_autofree char *maps = NULL;
    g_auto(GStrv) lines = NULL;

    g_assert(g_file_get_contents(path, &maps, NULL, NULL));
    lines = g_strsplit(maps, "\n", -1);
    for (char **line = lines; *line; line++) {
        uint64_t start, end;

        if (sscanf(*line, "%" PRIx64 "-%" PRIx64, &start, &end) == 2 &&
            start <= address && address < end) {
            return start;
        }
    }
    g_assert_not_reached();
}

uint64_t uffd_watch_stack(QTestState *who)
{
    pid_t pid = qtest_pid(who);
    struct uffdio_register watch = {
        .range.start = mapping_start(pid, some_stack_pointer(pid)),
        .range.len = qemu_real_host_page_size(),
        .mode = UFFDIO_REGISTER_MODE_MISSING,
    };
    int fd = take_userfaultfd(pid);

    g_assert_cmpint(ioctl(fd, UFFDIO_REGISTER, &watch), ==, 0);
    close(fd);
    return watch.range.start;
}

static void *read_byte(void *opaque)
{
    UffdReader *reader = opaque;
    uint8_t byte;
    struct iovec local = { .iov_base = &byte, .iov_len = 1 };
    struct iovec remote = {
        .iov_base = (void *)(uintptr_t)reader->address,
        .iov_len = 1,
    };

    qatomic_set(&reader->tid, syscall(SYS_gettid));
    if (process_vm_readv(reader->pid, &local, 1, &remote, 1, 0) == 1) {
        qatomic_set(&reader->done, true);
    }
    return NULL;
}

UffdReader *uffd_reader_new(QTestState *who, uint64_t address)
{
    UffdReader *reader = g_new0(UffdReader, 1);

    reader->pid = qtest_pid(who);
    reader->address = address;
    reader->thread = g_thread_new("reader", read_byte, reader);
    return reader;
}

bool uffd_reader_sleeps(UffdReader *reader)
{
    g_autofree char *path = g_strdup_printf("/proc/self/task/%d/stat",
                                            qatomic_read(&reader->tid));
    g_autofree char *text = NULL;

    /* GUP waits uninterruptibly, so the state is not 'S' */
    return g_file_get_contents(path, &text, NULL, NULL) &&
           strstr(text, ") D ");
}

bool uffd_reader_done(UffdReader *reader)
{
    return qatomic_read(&reader->done);
}

void uffd_reader_free(UffdReader *reader)
{
    g_thread_join(reader->thread);
    g_free(reader);
}
