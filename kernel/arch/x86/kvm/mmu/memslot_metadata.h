/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Allocation of a memslot's arrays, whose length depends on its number of pages.
 *
 * Copyright 2026 Postern developers
 */
#ifndef __KVM_X86_MMU_MEMSLOT_METADATA_H
#define __KVM_X86_MMU_MEMSLOT_METADATA_H

#include <linux/overflow.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

/**
 * memslot_metadata_alloc - allocate a zeroed array
 * @n:    number of elements
 * @size: size of an element
 *
 * Many memslots means small memslots.  To allocate and map at least a page for
 * each of their arrays would be most of the cost of creating them.  kvcalloc()
 * would warn about arrays above 2 GiB, which a memslot can need.
 *
 * Return: the array, to be freed with kvfree(), or NULL.
 */
static inline void *memslot_metadata_alloc(size_t n, size_t size)
{
	if (array_size(n, size) <= PAGE_SIZE / 2)
		return kcalloc(n, size, GFP_KERNEL_ACCOUNT);

	return __vcalloc(n, size, GFP_KERNEL_ACCOUNT);
}

#endif /* __KVM_X86_MMU_MEMSLOT_METADATA_H */
