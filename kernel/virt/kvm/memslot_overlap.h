/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Is there a memslot in the way?
 *
 * Copyright 2026 Postern developers
 */
#ifndef __KVM_MEMSLOT_OVERLAP_H
#define __KVM_MEMSLOT_OVERLAP_H

#include <linux/kvm_host.h>
#include <linux/rbtree.h>

/**
 * kvm_memslots_range_is_free - has a range of the guest no memslot at all?
 * @slots: the set to look in; the caller keeps it from changing
 * @start: first gfn
 * @end:   gfn behind the last one, above @start
 *
 * Walks the tree down once.  An iterator is for those who have to look at what
 * there is: it looks for the last memslot before the range, then goes from it to
 * the next one, up and down once more.
 *
 * Return: whether no memslot of @slots overlaps the range.
 */
static inline bool kvm_memslots_range_is_free(const struct kvm_memslots *slots,
					      gfn_t start, gfn_t end)
{
	const struct rb_node *node = slots->gfn_tree.rb_node;
	const struct kvm_memory_slot *slot;

	while (node) {
		slot = container_of(node, struct kvm_memory_slot, gfn_node[slots->node_idx]);
		if (end <= slot->base_gfn)
			node = node->rb_left;
		else if (start >= slot->base_gfn + slot->npages)
			node = node->rb_right;
		else
			return false;
	}
	return true;
}

#endif /* __KVM_MEMSLOT_OVERLAP_H */
