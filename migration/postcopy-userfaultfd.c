/*
 * Post-copy destination: what userfaultfd takes
 *
 * A guest's memory is also accessed by KVM and by devices in the kernel, so
 * userfaultfd must serve accesses of the kernel, which not everyone may have
 * it do.  There are three ways to be allowed to, and each is enough.
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "postcopy-userfaultfd.h"

#define UFFD_DEVICE "/dev/userfaultfd"
#define UFFD_SYSCTL "vm.unprivileged_userfaultfd"
#define CAP_SYS_PTRACE_BIT 19

/* The file's text from behind @label, as a number; false if there is none */
static bool proc_number(const char *path, const char *label, int base,
                        uint64_t *number)
{
    g_autofree char *text = NULL;
    const char *at;

    if (!g_file_get_contents(path, &text, NULL, NULL)) {
        return false;
    }
    at = strstr(text, label);
    if (!at) {
        return false;
    }
    *number = g_ascii_strtoull(at + strlen(label), NULL, base);
    return true;
}

static bool sysctl_allows(void)
{
    uint64_t value;

    return proc_number("/proc/sys/vm/unprivileged_userfaultfd", "", 10,
                       &value) && value;
}

static bool have_cap_sys_ptrace(void)
{
    uint64_t capabilities;

    return proc_number("/proc/self/status", "CapEff:", 16, &capabilities) &&
           (capabilities & (1ull << CAP_SYS_PTRACE_BIT));
}

void postcopy_userfaultfd_missing(int err, Error **errp)
{
    const char *allowed_by = NULL;

    switch (err) {
    case ENOSYS:
        error_setg(errp, "Userfaultfd not available: the host kernel lacks it"
                   " (CONFIG_USERFAULTFD)");
        return;
    case EPERM:
        break;
    default:
        error_setg(errp, "Userfaultfd not available: %s", strerror(err));
        return;
    }

    if (sysctl_allows()) {
        allowed_by = "sysctl " UFFD_SYSCTL "=1";
    } else if (have_cap_sys_ptrace()) {
        allowed_by = "CAP_SYS_PTRACE";
    }
    if (allowed_by) {
        error_setg(errp, "Userfaultfd not available: %s, although there is %s,"
                   " which would be enough on the host itself: a seccomp filter"
                   " or a user namespace may be in the way", strerror(err),
                   allowed_by);
        return;
    }
    error_setg(errp, "Userfaultfd not available: %s. One of these would be"
               " enough: access to " UFFD_DEVICE " (now: %s), CAP_SYS_PTRACE,"
               " or sysctl " UFFD_SYSCTL "=1", strerror(err),
               access(UFFD_DEVICE, R_OK | W_OK) ? strerror(errno) : "granted");
}
