/*
 * The memslots of an address space, found by guest address, host address and id
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSTEM_KVM_SLOTS_H
#define SYSTEM_KVM_SLOTS_H

#include "exec/cpu-common.h"
#include "exec/hwaddr.h"
#include "qemu/interval-tree.h"

/* A range of guest addresses, and what KVM maps there */
typedef struct KVMSlot {
    int slot;                   /* its id */
    int as_id;                  /* address space in KVM */
    hwaddr start_addr;          /* in the guest */
    ram_addr_t memory_size;     /* bytes; 0 while it is taken from KVM */
    void *ram;                  /* in QEMU */
    ram_addr_t ram_start_offset;    /* of that, in ram_addr_t */
    int flags;                  /* KVM_MEM_*, as QEMU wants them */
    int old_flags;              /* as KVM has them */
    bool in_kvm;                /* KVM has made it */
    unsigned long *dirty_bmap;  /* what KVM logged; freed with the memslot */
    unsigned long dirty_bmap_size;
    int guest_memfd;            /* -1 if there is none */
    hwaddr guest_memfd_offset;
    /* Where it is in KVMSlots */
    IntervalTreeNode gpa_node;
    IntervalTreeNode hva_node;
} KVMSlot;

/**
 * struct KVMSlots - memslots that exist
 *
 * What it costs in time and memory follows the number of memslots that exist,
 * or did at the same time at most, not the number that KVM allows.
 *
 * Context: no locking of its own; QEMU's are protected by kml_slots_lock.
 */
typedef struct KVMSlots {
    /* Those that are inserted.  By guest address no two overlap. */
    IntervalTreeRoot by_gpa;
    IntervalTreeRoot by_hva;
    unsigned int nr;            /* of them */
    /* KVMSlot of each id up to the highest that was ever in use, or NULL */
    GPtrArray *by_id;
    GArray *free_ids;           /* of those, a stack of int */
    unsigned int max;
} KVMSlots;

/**
 * kvm_slots_init: no memslots yet
 * @slots: to be initialized
 * @max: how many ids KVM allows
 */
void kvm_slots_init(KVMSlots *slots, unsigned int max);

/**
 * kvm_slots_destroy: free @slots and all memslots in it
 * @slots: from kvm_slots_init(), or zeros
 */
void kvm_slots_destroy(KVMSlots *slots);

/**
 * kvm_slot_new: a memslot with an id that no other one of @slots has
 * @slots: where it will be
 *
 * Returns: a memslot of zeros but for its id, which is not found by address
 * before kvm_slot_insert(); NULL if all ids are in use.
 */
KVMSlot *kvm_slot_new(KVMSlots *slots);

/**
 * kvm_slot_insert: from now on a memslot is found
 * @slots: where it was made
 * @slot: with its guest address, host address and size, which must not be 0;
 *        none of those may change until kvm_slot_remove()
 */
void kvm_slot_insert(KVMSlots *slots, KVMSlot *slot);

/**
 * kvm_slot_remove: from now on a memslot is not found by address
 * @slots: where it was inserted
 * @slot: the memslot
 */
void kvm_slot_remove(KVMSlots *slots, KVMSlot *slot);

/**
 * kvm_slot_free: a memslot ends, and its id is free again
 * @slots: where it was made
 * @slot: not inserted, or removed again
 */
void kvm_slot_free(KVMSlots *slots, KVMSlot *slot);

/**
 * kvm_slots_find: the memslot of exactly a range of guest addresses
 * @slots: where to look, in O(log n)
 * @start: first guest address
 * @size: bytes, not 0
 *
 * Returns: the memslot, or NULL.
 */
KVMSlot *kvm_slots_find(KVMSlots *slots, hwaddr start, hwaddr size);

/**
 * kvm_slots_find_id: the memslot of an id
 * @slots: where to look, in O(1)
 * @id: any number
 *
 * Returns: the memslot, which may not be inserted, or NULL.
 */
KVMSlot *kvm_slots_find_id(KVMSlots *slots, unsigned int id);

/**
 * kvm_slots_find_host: a memslot that maps a host address
 * @slots: where to look, in O(log n)
 * @host: the address
 *
 * Returns: a memslot, that of the lowest host address if several map @host; or
 * NULL.
 */
KVMSlot *kvm_slots_find_host(KVMSlots *slots, const void *host);

/**
 * kvm_slots_first: the first memslot in a range of guest addresses
 * @slots: where to look, in O(log n)
 * @start: first guest address
 * @last: last guest address
 *
 * Returns: of the inserted memslots that overlap the range the one with the
 * lowest guest address, or NULL.
 */
KVMSlot *kvm_slots_first(KVMSlots *slots, hwaddr start, hwaddr last);

/**
 * kvm_slots_next: the next one
 * @slot: from kvm_slots_first() or kvm_slots_next(), still inserted
 * @start: first guest address
 * @last: last guest address
 *
 * Returns: the memslot, or NULL.
 */
KVMSlot *kvm_slots_next(KVMSlot *slot, hwaddr start, hwaddr last);

/* All inserted memslots, in the order of guest addresses */
#define KVM_SLOTS_FOREACH(slot, slots)                          \
    for ((slot) = kvm_slots_first(slots, 0, HWADDR_MAX); (slot); \
         (slot) = kvm_slots_next(slot, 0, HWADDR_MAX))

#endif
