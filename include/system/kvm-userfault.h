/*
 * KVM userfault: vCPU faults on missing pages as KVM exits
 *
 * The boundary between post-copy migration, which knows which pages have
 * arrived, and the KVM accelerator, which knows memslots and their bitmaps.
 * Migration starts and stops the guarding of guest memory, and says which
 * pages have been placed.  The accelerator says which vCPU needs which page.
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSTEM_KVM_USERFAULT_H
#define SYSTEM_KVM_USERFAULT_H

#include "exec/cpu-common.h"
#include "exec/hwaddr.h"

/* An exit that KVM has accepted: a vCPU goes on without its page */
typedef struct KVMUserfaultAccepted {
    int vcpu_fd;                /* open as long as there is a VM */
    hwaddr gpa;
} KVMUserfaultAccepted;

/* What KVM did with the accepted exits of a vCPU */
typedef struct KVMUserfaultAsyncStats {
    uint64_t told;              /* told the guest that a page is missing */
    uint64_t halts;             /* halted the vCPU */
    uint64_t halt_ns;           /* and for how long */
} KVMUserfaultAsyncStats;

/**
 * struct KVMUserfaultOps - callbacks for the accelerator
 *
 * All callbacks may run from the call of kvm_userfault_start() until the
 * return of kvm_userfault_stop().  All but @missing may also run later, for
 * vCPUs that left KVM before.
 */
typedef struct KVMUserfaultOps {
    /**
     * @missing: mark the missing pages of @rb
     *
     * Called only by kvm_userfault_start(), for each of its blocks.  Sets the
     * bits of pages whose accesses must exit in @bitmap, which has one bit for
     * each host page, and is clear before.
     */
    void (*missing)(RAMBlock *rb, unsigned long *bitmap);

    /**
     * @begin: @cpu accessed a guarded page
     *
     * Called from the thread of @cpu, without the BQL, in an RCU read section
     * that keeps @rb; @offset is aligned to the host page.  Returns true if the
     * page will come, and @accepted, or @request and @wait, must be called.
     * Returns false if there is nothing to wait for, after a call of
     * kvm_userfault_page_placed().
     */
    bool (*begin)(CPUState *cpu, RAMBlock *rb, ram_addr_t offset);

    /**
     * @request: request the page of the last @begin
     *
     * Called in the RCU read section of @begin.
     */
    void (*request)(CPUState *cpu);

    /**
     * @accepted: in place of @request and @wait: @cpu goes on without the page
     *
     * Called in the RCU read section of @begin.  Requests the page without
     * holding up @cpu.  From now on, kvm_userfault_page_ready() must be called
     * with @accepted when the page is in place, after a call of
     * kvm_userfault_page_placed().
     */
    void (*accepted)(CPUState *cpu, const KVMUserfaultAccepted *accepted);

    /**
     * @wait: wait for the page of the last @begin
     *
     * Called from the thread of @cpu, outside the BQL and outside RCU read
     * sections.  Returns true when the page is in place, after a call of
     * kvm_userfault_page_placed().  Returns false if the vCPU was kicked: it
     * returns to its event loop, and accesses the page again later.
     */
    bool (*wait)(CPUState *cpu);

    /**
     * @kick: make a @wait of @cpu return false soon
     *
     * Called from any thread after cpu->thread_kicked was set, also if @cpu
     * does not wait.  Must not block.
     */
    void (*kick)(CPUState *cpu);
} KVMUserfaultOps;

/**
 * kvm_userfault_supported: does this host support KVM userfault?
 * @errp: says what is missing; may be NULL
 *
 * Asks KVM for KVM_CAP_USERFAULT.  Upstream has not assigned the number of that
 * capability, so a vCPU of a scratch VM then confirms that it exits for a page
 * that is marked missing.  After success, later calls are cheap.
 *
 * Context: BQL held.
 * Returns: true if it works.
 */
bool kvm_userfault_supported(Error **errp);

/**
 * kvm_userfault_async_supported: can exits be accepted on this host?
 * @errp: says what is missing; may be NULL
 *
 * Returns: true if so, where kvm_userfault_supported() is true as well.
 */
bool kvm_userfault_async_supported(Error **errp);

/**
 * kvm_userfault_start: guard the missing pages of guest memory
 * @blocks: RAMBlocks to guard, an array of RAMBlock pointers
 * @ops: the user's callbacks; must stay valid forever
 * @async: accept exits where possible
 * @errp: why it failed; nothing is guarded then, unless KVM also refused to
 *        undo it for a memslot.  Exits for that one still reach @ops.
 *
 * Makes a userfault bitmap for each block with @ops->missing, and sets
 * KVM_MEM_USERFAULT on all memslots that map one of the blocks and begin with a
 * word of its bitmap: see kvm_userfault_cut().  The few pages of other memslots
 * are not guarded.  Memslots that are added or changed later get their bitmap,
 * too.
 *
 * Context: BQL held, no vCPU running.
 * Returns: true on success.
 */
bool kvm_userfault_start(const GPtrArray *blocks, const KVMUserfaultOps *ops,
                         bool async, Error **errp);

/**
 * kvm_userfault_page_placed: end the exits for these pages
 * @rb: a block, guarded or not
 * @offset: first byte, aligned to the host page
 * @length: bytes, a multiple of the host page size
 *
 * The content must be visible to vCPUs before: the bits are cleared with
 * release semantics.
 *
 * Context: any thread; takes no lock.
 */
void kvm_userfault_page_placed(RAMBlock *rb, ram_addr_t offset, size_t length);

/**
 * kvm_userfault_page_ready: the page of an accepted exit is in place
 * @accepted: from @accepted of KVMUserfaultOps; used once
 *
 * Context: any thread, the vCPU may run.  Does not wait for it.
 */
void kvm_userfault_page_ready(const KVMUserfaultAccepted *accepted);

/**
 * kvm_userfault_async_stats: what KVM did with a vCPU's accepted exits
 * @cpu: the vCPU
 * @stats: set; all 0 if its exits are not accepted
 *
 * Context: BQL held.
 */
void kvm_userfault_async_stats(CPUState *cpu, KVMUserfaultAsyncStats *stats);

/**
 * kvm_userfault_guarded: would a vCPU's access to this page exit?
 * @rb: a block, guarded or not
 * @offset: a byte in the page
 *
 * Context: any thread; takes no lock.
 */
bool kvm_userfault_guarded(RAMBlock *rb, ram_addr_t offset);

/**
 * kvm_userfault_stop: end the guarding, free the bitmaps
 *
 * Clears KVM_MEM_USERFAULT on all memslots, after which no vCPU reads a bitmap.
 * Does nothing if nothing is guarded.
 *
 * Context: any thread, vCPUs may run; takes the lock of KVM's memslots.
 * Returns: false if KVM refused for a memslot; then memory stays guarded, and
 * kvm_userfault_page_placed() must still be called for each page.
 */
bool kvm_userfault_stop(void);

#endif
