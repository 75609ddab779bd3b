/*
 * postern-doctor: can this host do post-copy with KVM userfault?
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Prints a line for each thing that is needed, and what to do if it is missing.
 */

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/kvm.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <glib.h>

/* As in our <linux/kvm.h>, which is not installed everywhere */
#define KVM_CAP_USERFAULT 0x50530001
#define KVM_CAP_MEMORY_REGIONS 0x50530002
#define KVM_CAP_ASYNC_PF_USERFAULT 0x50530003

#define KVM "/dev/kvm"
#define USERFAULTFD "/dev/userfaultfd"
#define SYSCTL "/proc/sys/vm/unprivileged_userfaultfd"
#define CAPABILITY "postcopy-kvm-userfault"
#define LIBVIRT_USER "libvirt-qemu"

/* Of postern-kvm-dkms, whose prepare.sh says here why it left a kernel alone */
#define REASONS "/var/lib/postern-kvm"
#define DKMS "/var/lib/dkms/postern-kvm"

/* A QEMU that does not answer is ended */
#define QEMU_SECONDS "20"

typedef enum Verdict {
    GOOD,
    NOTE,                       /* works, but not as well as it could */
    UNKNOWN,
    BAD,
} Verdict;

static char *qemu;
static char *user;
static gboolean quiet;
static bool bad;
static bool unknown;

static void tell(Verdict verdict, const char *what, const char *advice)
{
    static const char *const words[] = {
        "ok", "note", "unknown", "MISSING"
    };

    bad |= verdict == BAD;
    unknown |= verdict == UNKNOWN;
    if (!quiet) {
        printf("%-8s %s\n", words[verdict], what);
        if (advice) {
            printf("%-8s   %s\n", "", advice);
        }
    }
}

/* The first line of a file; NULL if it cannot be read */
static char *line_of(const char *path)
{
    char *text = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL)) {
        return NULL;
    }
    text[strcspn(text, "\n")] = '\0';
    return text;
}

/* What to do if the modules that are loaded have no KVM userfault */
static char *advice_on_modules(void)
{
    g_autofree char *path = NULL;
    g_autofree char *headers = NULL;
    char *reason;
    struct utsname name;

    if (!g_file_test(DKMS, G_FILE_TEST_EXISTS)) {
        return g_strdup("install postern-kvm-dkms");
    }
    uname(&name);
    headers = g_build_filename("/lib/modules", name.release, "build/include",
                               NULL);
    if (!g_file_test(headers, G_FILE_TEST_EXISTS)) {
        return g_strdup_printf("install linux-headers-%s", name.release);
    }
    path = g_build_filename(REASONS, name.release, NULL);
    reason = line_of(path);
    return reason ?:
           g_strdup("\"dkms status postern-kvm\" must say \"installed\" for this"
                    " kernel, a 6.12 for amd64 but cloud or rt; then end all VMs"
                    " and load KVM's modules again, or reboot");
}

static void check_kvm(void)
{
    g_autofree char *version = line_of("/sys/module/kvm/version");
    g_autofree char *what = NULL;
    g_autofree char *advice = NULL;
    int fd = open(KVM, O_RDWR | O_CLOEXEC);
    int err = errno;

    if (fd < 0) {
        what = g_strdup_printf("KVM: %s: %s", KVM, g_strerror(err));
        tell(BAD, what, err == EACCES ? "run this as root" :
             "load kvm-intel or kvm-amd; firmware may have to enable "
             "virtualization");
        return;
    }
    what = g_strdup_printf("KVM%s%s", version ? ", module " : "",
                           version ?: "");
    tell(GOOD, what, NULL);
    if (ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_USERFAULT) <= 0) {
        advice = advice_on_modules();
        tell(BAD, "KVM userfault", advice);
        close(fd);
        return;
    }
    tell(GOOD, "KVM userfault", NULL);
    if (ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_ASYNC_PF_USERFAULT) <= 0) {
        tell(NOTE, "no asynchronous page faults with KVM userfault",
             "a vCPU waits until its page has come");
    }
    if (ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_MEMORY_REGIONS) <= 0) {
        tell(NOTE, "KVM changes memslots one by one",
             "VMs with many memory regions change them slowly");
    }
    close(fd);
}

/* Runs QEMU without a machine; returns what it answers through QMP, or NULL */
static char *ask_qemu(GError **err)
{
    static const char questions[] =
        "{ \"execute\": \"qmp_capabilities\" }\n"
        "{ \"execute\": \"query-migrate-capabilities\" }\n"
        "{ \"execute\": \"quit\" }\n";
    const char *argv[] = { "timeout", "--kill-after=1", QEMU_SECONDS, qemu,
                           "-machine", "none", "-nodefaults", "-display",
                           "none", "-qmp", "stdio", NULL };
    GSpawnFlags flags = G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD |
                        (quiet ? G_SPAWN_STDERR_TO_DEV_NULL : 0);
    g_autoptr(GIOChannel) out = NULL;
    char *answer = NULL;
    int in_fd, out_fd;
    GPid pid;

    if (!g_spawn_async_with_pipes(NULL, (char **)argv, NULL, flags, NULL, NULL,
                                  &pid, &in_fd, &out_fd, NULL, err)) {
        return NULL;
    }
    /* Less than a pipe holds */
    if (write(in_fd, questions, sizeof(questions) - 1) < 0) {
        /* It has ended already, and there will be no answer. */
    }
    close(in_fd);
    out = g_io_channel_unix_new(out_fd);
    g_io_channel_set_encoding(out, NULL, NULL);
    g_io_channel_set_close_on_unref(out, TRUE);
    g_io_channel_read_to_end(out, &answer, NULL, err);
    waitpid(pid, NULL, 0);
    return answer;
}

static void check_qemu(void)
{
    g_autoptr(GError) err = NULL;
    g_autofree char *answer = ask_qemu(&err);
    g_autofree char *what = NULL;

    if (!answer || !strstr(answer, "\"QMP\"")) {
        what = g_strdup_printf("QEMU: %s does not run%s%s", qemu,
                               err ? ": " : "", err ? err->message : "");
        tell(BAD, what, "--qemu=FILE names the one that VMs use");
        return;
    }
    what = g_strdup_printf("QEMU with KVM userfault: %s", qemu);
    if (strstr(answer, "\"" CAPABILITY "\"")) {
        tell(GOOD, what, NULL);
    } else {
        tell(BAD, what, "this is another QEMU than Postern's; --qemu=FILE names "
             "the one that VMs use");
    }
}

/* As @entry's user, in a child: true if @path can be opened */
static bool user_can_open(const struct passwd *entry, const char *path)
{
    pid_t child = fork();
    int status;

    if (!child) {
        if (getuid() != entry->pw_uid &&
            (initgroups(entry->pw_name, entry->pw_gid) ||
             setgid(entry->pw_gid) || setuid(entry->pw_uid))) {
            _exit(EXIT_FAILURE);
        }
        _exit(open(path, O_RDWR | O_CLOEXEC) < 0);
    }
    return child > 0 && waitpid(child, &status, 0) == child && !status;
}

/*
 * QEMU itself, vhost and the kernel may touch missing pages: these still go
 * through userfaultfd.
 */
static void check_user(void)
{
    g_autofree char *sysctl = line_of(SYSCTL);
    g_autofree char *what = NULL;
    g_autofree char *kvm = NULL;
    struct passwd *entry = getpwnam(user ?: LIBVIRT_USER);

    if (!entry && !user) {
        /* libvirt is not installed */
        entry = getpwuid(getuid());
    }
    if (!entry) {
        what = g_strdup_printf("the user %s", user ?: "that runs this");
        tell(BAD, what, "--user=NAME names the one that VMs run as");
        return;
    }
    if (getuid() && getuid() != entry->pw_uid) {
        what = g_strdup_printf("permissions of the user %s", entry->pw_name);
        tell(UNKNOWN, what, "run this as root");
        return;
    }
    kvm = g_strdup_printf("%s for the user %s", KVM, entry->pw_name);
    if (access(KVM, F_OK) == 0 && !user_can_open(entry, KVM)) {
        tell(BAD, kvm, "put the user into the group kvm");
    }
    what = g_strdup_printf("userfaultfd for the user %s", entry->pw_name);
    if (!sysctl) {
        tell(BAD, what, "this kernel has no CONFIG_USERFAULTFD");
    } else if (!entry->pw_uid || g_str_equal(sysctl, "1") ||
               user_can_open(entry, USERFAULTFD)) {
        tell(GOOD, what, NULL);
    } else {
        tell(BAD, what, "sysctl vm.unprivileged_userfaultfd=1, and the same in a "
             "file in /etc/sysctl.d/");
    }
}

int main(int argc, char **argv)
{
    const GOptionEntry entries[] = {
        { "qemu", 0, 0, G_OPTION_ARG_FILENAME, &qemu,
          "the QEMU that VMs use (qemu-system-x86_64)", "FILE" },
        { "user", 0, 0, G_OPTION_ARG_STRING, &user,
          "the user that VMs run as (" LIBVIRT_USER ", if there is one; else who "
          "runs this)", "NAME" },
        { "quiet", 0, 0, G_OPTION_ARG_NONE, &quiet,
          "print nothing, but end with the status", NULL },
        { .long_name = NULL }
    };
    g_autoptr(GOptionContext) context =
        g_option_context_new("- can this host do post-copy with KVM userfault?");
    g_autoptr(GError) err = NULL;

    g_option_context_set_summary(context, "Ends with 0 if it can, else 1.");
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &err) || argc > 1) {
        fprintf(stderr, "postern-doctor: %s\n",
                err ? err->message : "it takes options only; see --help");
        return EXIT_FAILURE;
    }
    qemu = qemu ?: g_strdup("qemu-system-x86_64");
    signal(SIGPIPE, SIG_IGN);   /* of a QEMU that ends early */
    check_kvm();
    check_qemu();
    check_user();
    if (!quiet) {
        puts(bad ? "This host cannot do post-copy with KVM userfault yet." :
             unknown ? "This host may be able to do post-copy with KVM"
                       " userfault." :
             "This host can do post-copy with KVM userfault.");
    }
    return bad || unknown ? EXIT_FAILURE : EXIT_SUCCESS;
}
