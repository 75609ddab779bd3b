/*
 * A virtual machine to migrate, for Postern's demo and tests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef POSTERN_VM_H
#define POSTERN_VM_H

#include "libqtest.h"
#include "qapi/error.h"

/**
 * struct PosternVMConfig - what all VMs of one migration have in common
 * @kernel: file with the guest's kernel
 * @initrd: file with the guest's initramfs
 * @accel: accelerator, "kvm" when NULL; the tests of a fault path need KVM
 * @extra_args: further QEMU arguments, or NULL
 * @append: further words of the guest kernel's command line, or NULL
 * @log: file that QEMU's messages are appended to; our stderr when NULL
 * @memory_mib: guest memory
 * @vcpus: number of vCPUs
 */
typedef struct PosternVMConfig {
    const char *kernel;
    const char *initrd;
    const char *accel;
    const char *extra_args;
    const char *append;
    const char *log;
    unsigned memory_mib;
    unsigned vcpus;
} PosternVMConfig;

/**
 * struct PosternVM - one QEMU process
 * @qts: libqtest's handle, for whatever these helpers do not offer
 * @name: what error messages call it
 * @console: our end of the guest's serial console
 * @unread: what came from the console and is not yet a whole line
 */
typedef struct PosternVM {
    QTestState *qts;
    const char *name;
    int console;
    GString *unread;
} PosternVM;

/**
 * postern_vm_start() - start QEMU
 * @name: static string
 * @config: read only during the call
 * @incoming: start as a destination ("-incoming defer") and not boot
 * @errp: set when QEMU runs without the accelerator that was asked for
 *
 * A guest that resets or shuts down stays as a paused VM, so that its status
 * can still be asked for. A QEMU that does not come up at all ends the
 * process, as everywhere in libqtest. Out-of-band commands are possible.
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
 * postern_vm_qmp() - run one QMP command whose answer is an object
 * @vm: the VM
 * @errp: set when QEMU has ended or answers with an error
 * @fmt: the command as for qtest_qmp()
 *
 * Return: the command's "return" member, to be unreferenced, or NULL
 */
QDict *postern_vm_qmp(PosternVM *vm, Error **errp, const char *fmt, ...)
    G_GNUC_PRINTF(3, 4);

/**
 * postern_vm_run() - like postern_vm_qmp() where only success matters
 *
 * Return: true when the command succeeded
 */
bool postern_vm_run(PosternVM *vm, Error **errp, const char *fmt, ...)
    G_GNUC_PRINTF(3, 4);

/**
 * postern_vm_is_running() - check that QEMU and its vCPUs run
 * @vm: the VM
 * @errp: set, with the status found, when they do not
 *
 * Return: true when they run
 */
bool postern_vm_is_running(PosternVM *vm, Error **errp);

/**
 * postern_vm_read_line() - the next whole line from the console
 * @vm: the VM
 * @timeout_ms: how long to wait for it
 *
 * Return: the line without its end, to be freed, or NULL when none came
 */
char *postern_vm_read_line(PosternVM *vm, int timeout_ms);

/**
 * postern_vm_write_line() - type one line on the console
 * @vm: the VM
 * @line: without its end
 * @errp: set when the console is gone
 *
 * Return: true when it was sent
 */
bool postern_vm_write_line(PosternVM *vm, const char *line, Error **errp);

#endif
