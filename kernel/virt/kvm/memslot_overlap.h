/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A fast check whether a range of gfns has no memslot.
 *
 * Copyright 2026 Postern developers
 */
#ifndef __KVM_MEMSLOT_OVERLAP_H
#define __KVM_MEMSLOT_OVERLAP_H

#include <linux/kvm_host.h>
#include <linux/rbtree.h>

/**
 * kvm_memslots_range_is_free - does no memslot overlap a range?
 * @slots: the set of memslots; the caller keeps it from changing
 * @start: first gfn
 * @end:   gfn after the last one, above @start
 *
 * Walks down the tree once.  An iterator over the range first looks for the last
 * memslot before it, then walks up and down once more to the next memslot.
 *
 * Return: true if no memslot of @slots overlaps the range.
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
