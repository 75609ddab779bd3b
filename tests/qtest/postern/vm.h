/*
 * A VM to migrate, for Postern's programs and tests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef POSTERN_VM_H
#define POSTERN_VM_H

#include "libqtest.h"
#include "qapi/error.h"

/**
 * struct PosternVMConfig - the configuration of all VMs of one migration
 * @kernel: file with the guest's kernel
 * @initrd: file with the guest's initramfs
 * @accel: accelerator, "kvm" when NULL
 * @machine: machine type; when NULL, "q35", or "virt" on aarch64
 * @cpu: CPU model, "host" with KVM and else "max" when NULL
 * @extra_args: further QEMU arguments, or NULL
 * @append: further words of the guest kernel's command line, or NULL
 * @log: file to which QEMU's messages are appended; our stderr when NULL
 * @memory_mib: guest memory
 * @vcpus: number of vCPUs
 */
typedef struct PosternVMConfig {
    const char *kernel;
    const char *initrd;
    const char *accel;
    const char *machine;
    const char *cpu;
    const char *extra_args;
    const char *append;
    const char *log;
    unsigned memory_mib;
    unsigned vcpus;
} PosternVMConfig;

/**
 * struct PosternVM - one QEMU process
 * @qts: libqtest's handle
 * @name: for error messages
 * @console: our end of the guest's serial console
 * @reader: thread that reads it
 * @lock: protects the members below; a leaf
 * @changed: @unread or @ended has changed
 * @unread: data from the console
 * @ended: there will be no more
 */
typedef struct PosternVM {
    QTestState *qts;
    const char *name;
    int console;
    GThread *reader;
    GMutex lock;
    GCond changed;
    GString *unread;
    bool ended;
} PosternVM;

/**
 * postern_vm_start() - start QEMU
 * @name: static string
 * @config: read only during the call
 * @incoming: start as a destination ("-incoming defer"), do not boot
 * @errp: set if QEMU runs without the requested accelerator
 *
 * If the guest resets or shuts down, the VM is paused, so that its status can
 * still be queried.  If QEMU does not start at all, this process ends, as
 * always in libqtest.  Out-of-band commands are enabled.
 *
 * Return: the VM, or NULL
 */
PosternVM *postern_vm_start(const char *name, const PosternVMConfig *config,
                            bool incoming, Error **errp);

/**
 * postern_vm_stop() - end QEMU and free @vm
 * @vm: may be NULL
 */
void postern_vm_stop(PosternVM *vm);

/**
 * postern_vm_qmp() - run a QMP command whose answer is an object
 * @vm: the VM
 * @errp: set when QEMU has ended or answers with an error
 * @fmt: the command as for qtest_qmp()
 *
 * Return: the command's "return" member, to be unreferenced, or NULL
 */
QDict *postern_vm_qmp(PosternVM *vm, Error **errp, const char *fmt, ...)
    G_GNUC_PRINTF(3, 4);

/**
 * postern_vm_run() - run a QMP command, and discard its answer
 *
 * Return: true if the command succeeded
 */
bool postern_vm_run(PosternVM *vm, Error **errp, const char *fmt, ...)
    G_GNUC_PRINTF(3, 4);

/**
 * postern_vm_is_running() - check that QEMU and its vCPUs run
 * @vm: the VM
 * @errp: set, with the status, if they do not
 *
 * Return: true if they run
 */
bool postern_vm_is_running(PosternVM *vm, Error **errp);

/**
 * postern_vm_read_line() - read the next whole line from the console
 * @vm: the VM
 * @timeout_ms: how long to wait
 *
 * Return: the line without its end, to be freed, or NULL if there was none
 */
char *postern_vm_read_line(PosternVM *vm, int timeout_ms);

/**
 * postern_vm_write_line() - write a line to the console
 * @vm: the VM
 * @line: without its end
 * @errp: set if the console is closed
 *
 * Return: true if it was sent
 */
bool postern_vm_write_line(PosternVM *vm, const char *line, Error **errp);

#endif
