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
#include "qemu/queue.h"

/* A memslot: a range of guest addresses, and the memory that KVM maps there */
typedef struct KVMSlot {
    int slot;                   /* id */
    int as_id;                  /* address space in KVM */
    hwaddr start_addr;          /* guest address */
    ram_addr_t memory_size;     /* bytes; 0 while it is removed from KVM */
    void *ram;                  /* host address */
    ram_addr_t ram_start_offset;    /* of @ram, in ram_addr_t */
    int flags;                  /* KVM_MEM_*, as QEMU wants them */
    int old_flags;              /* KVM_MEM_*, as KVM has them */
    bool in_kvm;                /* KVM has the memslot */
    unsigned long *dirty_bmap;  /* pages that KVM logged */
    unsigned long dirty_bmap_size;
    int guest_memfd;            /* -1 if there is none */
    hwaddr guest_memfd_offset;
    /* Places in KVMSlots */
    IntervalTreeNode gpa_node;
    IntervalTreeNode hva_node;
} KVMSlot;

/**
 * struct KVMSlots - the memslots of an address space
 *
 * Time and memory depend on the largest number of memslots that have existed at
 * the same time, not on the number that KVM allows.
 *
 * Context: no locking of its own; QEMU's are protected by kml_slots_lock.
 */
typedef struct KVMSlots {
    /* The inserted memslots; no two overlap by guest address */
    IntervalTreeRoot by_gpa;
    IntervalTreeRoot by_hva;
    unsigned int nr;            /* number of inserted memslots */
    /* KVMSlot of each id, up to the highest id that was ever in use, or NULL */
    GPtrArray *by_id;
    GArray *free_ids;           /* free ids in by_id, a stack of int */
    unsigned int max;           /* number of ids that KVM allows */
} KVMSlots;

/**
 * kvm_slots_init: initialize, without memslots
 * @slots: to be initialized
 * @max: number of ids that KVM allows
 */
void kvm_slots_init(KVMSlots *slots, unsigned int max);

/**
 * kvm_slots_destroy: free @slots and all memslots in it
 * @slots: from kvm_slots_init(), or zeros
 */
void kvm_slots_destroy(KVMSlots *slots);

/**
 * kvm_slot_new: make a memslot with a free id
 * @slots: where it will be
 *
 * Returns: a memslot with all zeros except for its id, which is not found by
 * address before kvm_slot_insert(); NULL if all ids are in use.
 */
KVMSlot *kvm_slot_new(KVMSlots *slots);

/**
 * kvm_slot_insert: let a memslot be found by address
 * @slots: where it was made
 * @slot: with its guest address, host address and size, which must not be 0;
 *        the addresses may not change until kvm_slot_remove(), nor the size
 *        while the memslot is looked up
 */
void kvm_slot_insert(KVMSlots *slots, KVMSlot *slot);

/**
 * kvm_slot_remove: let a memslot not be found by address any more
 * @slots: where it was inserted
 * @slot: the memslot
 */
void kvm_slot_remove(KVMSlots *slots, KVMSlot *slot);

/**
 * kvm_slot_free: free a memslot and its id
 * @slots: where it was made
 * @slot: not inserted, or removed again
 */
void kvm_slot_free(KVMSlots *slots, KVMSlot *slot);

/**
 * kvm_slots_find: find the memslot of exactly this range of guest addresses
 * @slots: where to look, in O(log n)
 * @start: first guest address
 * @size: bytes, not 0
 *
 * Returns: the memslot, or NULL.
 */
KVMSlot *kvm_slots_find(KVMSlots *slots, hwaddr start, hwaddr size);

/**
 * kvm_slots_find_id: find the memslot with an id
 * @slots: where to look, in O(1)
 * @id: any number
 *
 * Returns: the memslot, which may not be inserted, or NULL.
 */
KVMSlot *kvm_slots_find_id(KVMSlots *slots, unsigned int id);

/**
 * kvm_slots_find_host: find a memslot that maps a host address
 * @slots: where to look, in O(log n)
 * @host: the address
 *
 * Returns: the memslot with the lowest host address if several map @host, or
 * NULL.
 */
KVMSlot *kvm_slots_find_host(KVMSlots *slots, const void *host);

/**
 * kvm_slots_first: find the first memslot in a range of guest addresses
 * @slots: where to look, in O(log n)
 * @start: first guest address
 * @last: last guest address
 *
 * Returns: the inserted memslot with the lowest guest address that overlaps the
 * range, or NULL.
 */
KVMSlot *kvm_slots_first(KVMSlots *slots, hwaddr start, hwaddr last);

/**
 * kvm_slots_next: find the next memslot in the range
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

/* Upstream's names, with which its functions work as they are */
#define kvm_lookup_matching_slot(kml, start, size) \
    kvm_slots_find(&(kml)->slots, (start), (size))
#define kvm_alloc_slot(kml) kvm_slot_new(&(kml)->slots)

/*
 * State of accel/kvm/kvm-unbacked.c in a KVMMemoryListener, zeros at the start.
 * The queues are by the reason why a section is unbacked.
 */
typedef enum KVMUnbackedQueue {
    KVM_UNBACKED_IMPORTANT,         /* no memslot was free */
    KVM_UNBACKED_EXPENDABLE,        /* only reserved memslots were free */
    KVM_UNBACKED_REFUSED,           /* KVM had no room */
    KVM_UNBACKED_REFUSED_FOREVER,   /* KVM refused it for another reason */
    KVM_UNBACKED_QUEUES
} KVMUnbackedQueue;

typedef struct KVMUnbacked {
    IntervalTreeRoot sections;      /* by guest address */
    QTAILQ_HEAD(, KVMUnbackedSection) queue[KVM_UNBACKED_QUEUES];
    unsigned int round;             /* number of the last retry */
    bool retrying;
    int64_t retried_ns;             /* last retry of KVM_UNBACKED_REFUSED */
    unsigned int nr_new;            /* since the last warning */
    int64_t reported_ns;
    unsigned int nr_refused_new;
    int64_t refused_reported_ns;
} KVMUnbacked;

/* State of accel/kvm/kvm-region-batch.c, likewise */
typedef struct KVMRegionBatch {
    GArray *regions;                /* NULL if changes are not collected */
    GArray *sections;
    GArray *log;                    /* sections that log dirty pages or stop */
    bool region2;
    bool atomic;                    /* vCPUs run during this transaction */
    int error;
} KVMRegionBatch;

#endif
