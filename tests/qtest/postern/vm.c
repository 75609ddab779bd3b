/*
 * A VM to migrate, for Postern's programs and tests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <poll.h>
#include "vm.h"
#include "qemu/cutils.h"
#include "qemu/sockets.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"

/* Guests have the host's architecture, as they need KVM */
#ifdef __aarch64__
#define MACHINE "virt"
#define KERNEL_ARGS "console=ttyAMA0"
#else
#define MACHINE "q35"
/*
 * An emulated host is so slow that the guest's timer check and TSC calibration
 * sometimes fail.
 */
#define KERNEL_ARGS "console=ttyS0 no_timer_check tsc=reliable"
#endif

/* How long to wait for a thread that reads what is there */
#define MORE_US 1000

/* Quoted for a shell: libqtest runs QEMU with "sh -c" */
static char *qemu_arguments(const PosternVMConfig *config, bool incoming,
                            int console)
{
    const char *accel = config->accel ?: "kvm";
    g_autofree char *kernel = g_shell_quote(config->kernel);
    g_autofree char *initrd = g_shell_quote(config->initrd);
    g_autofree char *log = g_shell_quote(config->log ?: "/dev/fd/2");

    return g_strdup_printf(
        "-machine %s -accel %s -cpu %s -smp %u -m %u "
        "-nodefaults -no-user-config -no-reboot -action shutdown=pause "
        "-chardev socket,id=console,fd=%d -serial chardev:console "
        "-kernel %s -initrd %s "
        "-append '" KERNEL_ARGS " quiet panic=-1 nowatchdog %s' %s %s 2>>%s",
        config->machine ?: MACHINE, accel,
        config->cpu ?: g_str_equal(accel, "kvm") ? "host" : "max",
        config->vcpus, config->memory_mib, console, kernel, initrd,
        config->append ?: "", incoming ? "-incoming defer" : "",
        config->extra_args ?: "", log);
}

/* libqtest adds "-accel qtest", which QEMU uses if KVM does not work */
static bool kvm_is_used(PosternVM *vm, Error **errp)
{
    QDict *kvm = postern_vm_qmp(vm, errp, "{ 'execute': 'query-kvm' }");
    bool enabled = kvm && qdict_get_try_bool(kvm, "enabled", false);

    if (kvm && !enabled) {
        error_setg(errp, "%s: QEMU cannot use KVM here", vm->name);
    }
    qobject_unref(kvm);
    return enabled;
}

/* Is there more to read from the console, or its end?  Waits; < 0: for ever. */
static bool readable(PosternVM *vm, int timeout_ms)
{
    struct pollfd pfd = { .fd = vm->console, .events = POLLIN };

    return RETRY_ON_EINTR(poll(&pfd, 1, timeout_ms)) > 0;
}

/*
 * Reads the console all the time.  A PL011 whose console takes no more holds
 * the BQL until it does, so QEMU would not answer.
 */
static void *read_console(void *opaque)
{
    PosternVM *vm = opaque;
    char buf[512];
    ssize_t len;

    do {
        readable(vm, -1);
        /* What has been read is in @unread when another thread has the lock */
        g_mutex_lock(&vm->lock);
        len = RETRY_ON_EINTR(read(vm->console, buf, sizeof(buf)));
        for (ssize_t i = 0; i < len; i++) {
            /* A 0 from firmware must not end the string */
            g_string_append_c(vm->unread, buf[i] ?: '?');
        }
        vm->ended = len <= 0;
        g_cond_signal(&vm->changed);
        g_mutex_unlock(&vm->lock);
    } while (len > 0);
    return NULL;
}

PosternVM *postern_vm_start(const char *name, const PosternVMConfig *config,
                            bool incoming, Error **errp)
{
    PosternVM *vm = g_new0(PosternVM, 1);
    QList *capabilities = qlist_new();
    g_autofree char *args = NULL;
    int ends[2];

    /*
     * Unlike a listening socket, a socket pair loses no output before a
     * connection, and leaves no file behind.
     */
    if (qemu_socketpair(AF_UNIX, SOCK_STREAM, 0, ends)) {
        error_setg_errno(errp, errno, "socketpair");
        qobject_unref(capabilities);
        g_free(vm);
        return NULL;
    }
    fcntl(ends[1], F_SETFD, 0);

    args = qemu_arguments(config, incoming, ends[1]);
    vm->name = name;
    vm->console = ends[0];
    vm->unread = g_string_new(NULL);
    g_mutex_init(&vm->lock);
    g_cond_init(&vm->changed);
    vm->reader = g_thread_new("console", read_console, vm);
    qlist_append_str(capabilities, "oob");
    vm->qts = qtest_init_with_env_and_capabilities(NULL, args, capabilities,
                                                   true);
    qobject_unref(capabilities);
    close(ends[1]);

    if (g_str_equal(config->accel ?: "kvm", "kvm") && !kvm_is_used(vm, errp)) {
        postern_vm_stop(vm);
        return NULL;
    }
    return vm;
}

void postern_vm_stop(PosternVM *vm)
{
    if (!vm) {
        return;
    }
    qtest_quit(vm->qts);
    /* A process that QEMU left behind may have the other end open */
    shutdown(vm->console, SHUT_RDWR);
    g_thread_join(vm->reader);
    g_cond_clear(&vm->changed);
    g_mutex_clear(&vm->lock);
    close(vm->console);
    g_string_free(vm->unread, true);
    g_free(vm);
}

static QDict * G_GNUC_PRINTF(3, 0) vqmp(PosternVM *vm, Error **errp,
                                        const char *fmt, va_list ap)
{
    QDict *response, *value = NULL;

    if (!qtest_probe_child(vm->qts)) {
        error_setg(errp, "%s: QEMU has ended", vm->name);
        return NULL;
    }

    response = qtest_vqmp(vm->qts, fmt, ap);
    if (qdict_haskey(response, "error")) {
        error_setg(errp, "%s: QEMU answers: %s", vm->name,
                   qdict_get_str(qdict_get_qdict(response, "error"), "desc"));
    } else {
        value = qobject_ref(qdict_get_qdict(response, "return"));
    }
    qobject_unref(response);
    return value;
}

QDict *postern_vm_qmp(PosternVM *vm, Error **errp, const char *fmt, ...)
{
    QDict *value;
    va_list ap;

    va_start(ap, fmt);
    value = vqmp(vm, errp, fmt, ap);
    va_end(ap);
    return value;
}

bool postern_vm_run(PosternVM *vm, Error **errp, const char *fmt, ...)
{
    QDict *value;
    va_list ap;

    va_start(ap, fmt);
    value = vqmp(vm, errp, fmt, ap);
    va_end(ap);
    qobject_unref(value);
    return value != NULL;
}

bool postern_vm_is_running(PosternVM *vm, Error **errp)
{
    QDict *status = postern_vm_qmp(vm, errp, "{ 'execute': 'query-status' }");
    bool running;

    if (!status) {
        return false;
    }
    running = qdict_get_bool(status, "running");
    if (!running) {
        error_setg(errp, "%s: the guest does not run, its status is '%s'",
                   vm->name, qdict_get_str(status, "status"));
    }
    qobject_unref(status);
    return running;
}

static char *take_line(GString *unread)
{
    char *end = strchr(unread->str, '\n');
    char *line;

    if (!end) {
        return NULL;
    }
    line = g_strndup(unread->str, end - unread->str);
    g_string_erase(unread, 0, end - unread->str + 1);
    return g_strchomp(line);
}

char *postern_vm_read_line(PosternVM *vm, int timeout_ms)
{
    int64_t deadline = g_get_monotonic_time() + timeout_ms * 1000LL;
    char *line;

    g_mutex_lock(&vm->lock);
    while (!(line = take_line(vm->unread)) && !vm->ended) {
        bool over = g_get_monotonic_time() >= deadline;

        if (over && !readable(vm, 0)) {
            break;
        }
        /* Data that is there already does not count as late */
        g_cond_wait_until(&vm->changed, &vm->lock,
                          over ? g_get_monotonic_time() + MORE_US : deadline);
    }
    g_mutex_unlock(&vm->lock);
    return line;
}

bool postern_vm_write_line(PosternVM *vm, const char *line, Error **errp)
{
    g_autofree char *text = g_strdup_printf("%s\n", line);

    if (qemu_write_full(vm->console, text, strlen(text)) != strlen(text)) {
        error_setg_errno(errp, errno, "%s: cannot write to its console",
                         vm->name);
        return false;
    }
    return true;
}
