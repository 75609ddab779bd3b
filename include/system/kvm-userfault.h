/*
 * KVM userfault: vCPU faults on missing pages as KVM exits
 *
 * The boundary between post-copy migration, which knows which pages are
 * there, and the KVM accelerator, which knows memslots and their bitmaps.
 * Migration starts and stops the guarding of guest memory and says which
 * pages have been placed; the accelerator says which vCPU needs which page.
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSTEM_KVM_USERFAULT_H
#define SYSTEM_KVM_USERFAULT_H

#include "exec/cpu-common.h"
#include "exec/hwaddr.h"

/**
 * struct KVMUserfaultOps - what the accelerator asks of its user
 *
 * All callbacks may run from the return of kvm_userfault_start() until the
 * return of kvm_userfault_stop(), and @begin, @wait and @kick also later, for
 * vCPUs that were on their way.  They must cope with that.
 */
typedef struct KVMUserfaultOps {
    /**
     * @missing: which pages of @rb are still to come?
     *
     * Called from kvm_userfault_start() only, for each of the blocks it was
     * told of.  Sets the bits of @bitmap, one a host page and clear before,
     * whose accesses shall exit.
     */
    void (*missing)(RAMBlock *rb, unsigned long *bitmap);

    /**
     * @begin: @cpu touched a guarded page; ask for it
     *
     * Called from the thread of @cpu, without the BQL, in an RCU read section
     * that keeps @rb, with @offset aligned to the host page.  Returns true if
     * the page will come, and @wait is to be called; false when there is
     * nothing to wait for, and kvm_userfault_page_placed() has been called.
     */
    bool (*begin)(CPUState *cpu, RAMBlock *rb, ram_addr_t offset);

    /**
     * @wait: wait for the page of the last @begin
     *
     * Called from the thread of @cpu, outside the BQL and outside RCU read
     * sections.  Returns true when the page is there (and
     * kvm_userfault_page_placed() has been called for it), false when
     * something else wants the vCPU: it then goes back to its event loop and
     * touches the page again later.
     */
    bool (*wait)(CPUState *cpu);

    /**
     * @kick: make a @wait of @cpu return false soon
     *
     * Called from any thread, also when @cpu does not wait, after
     * cpu->thread_kicked has been set.  Must not block.
     */
    void (*kick)(CPUState *cpu);
} KVMUserfaultOps;

/**
 * kvm_userfault_supported: can this host turn missing pages into KVM exits?
 * @errp: says what is missing; may be NULL
 *
 * Asks the running KVM and confirms with a scratch VM that a vCPU that
 * touches a page marked missing really exits, because the number of
 * KVM_CAP_USERFAULT is not one that upstream gave out.  If it does, that is
 * remembered: later calls are cheap.
 *
 * Context: BQL held.
 * Returns: true if it works.
 */
bool kvm_userfault_supported(Error **errp);

/**
 * kvm_userfault_start: guard the missing pages of guest memory
 * @blocks: RAMBlocks to guard, an array of RAMBlock pointers
 * @ops: the user's callbacks; must stay valid forever
 * @errp: why it failed; nothing is guarded then, unless KVM also refused to
 *        undo it for some memslot.  Exits for that one still reach @ops.
 *
 * Makes a userfault bitmap for each block from @ops->missing and sets
 * KVM_MEM_USERFAULT on all memslots that map one of the blocks and begin with a
 * word of its bitmap, see kvm_userfault_cut().  Pages of the others, which are
 * few, are not guarded.  Memslots made or changed later follow by themselves.
 *
 * Context: BQL held, no vCPU running.
 * Returns: true on success.
 */
bool kvm_userfault_start(const GPtrArray *blocks, const KVMUserfaultOps *ops,
                         Error **errp);

/**
 * kvm_userfault_page_placed: accesses to these pages need not exit any more
 * @rb: a block, guarded or not
 * @offset: first byte, aligned to the host page
 * @length: bytes, a multiple of the host page size
 *
 * The content must be visible to vCPUs before: the bits are cleared with
 * release semantics.  Takes no lock; any thread.
 */
void kvm_userfault_page_placed(RAMBlock *rb, ram_addr_t offset, size_t length);

/**
 * kvm_userfault_guarded: would a vCPU's access to this page exit?
 * @rb: a block, guarded or not
 * @offset: a byte in the page
 *
 * Takes no lock; any thread.
 */
bool kvm_userfault_guarded(RAMBlock *rb, ram_addr_t offset);

/**
 * kvm_userfault_stop: end the guarding, free the bitmaps
 *
 * Clears KVM_MEM_USERFAULT on all memslots.  When it has, no vCPU reads a
 * bitmap.  Does nothing when nothing is guarded.
 *
 * Context: any thread, vCPUs may run; takes the lock of KVM's memslots.
 * Returns: false if KVM refused for some memslot; memory stays guarded then,
 * and kvm_userfault_page_placed() must go on being called.
 */
bool kvm_userfault_stop(void);

#endif
