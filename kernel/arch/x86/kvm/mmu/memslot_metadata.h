/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Arrays that go with a memslot, by the number of its pages.
 *
 * Copyright 2026 Postern developers
 */
#ifndef __KVM_X86_MMU_MEMSLOT_METADATA_H
#define __KVM_X86_MMU_MEMSLOT_METADATA_H

#include <linux/overflow.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

/**
 * memslot_metadata_alloc - allocate an array of zeroes
 * @n:    elements
 * @size: of each
 *
 * Where memslots are many they are small, and a mapping of its own for each
 * array, of a page at least, would be most of what it takes to create one.
 * Not kvcalloc(), which warns of what is more than 2 GiB, as a memslot can need.
 *
 * Return: the array, to be freed by kvfree(), or NULL.
 */
static inline void *memslot_metadata_alloc(size_t n, size_t size)
{
	if (array_size(n, size) <= PAGE_SIZE / 2)
		return kcalloc(n, size, GFP_KERNEL_ACCOUNT);

	return __vcalloc(n, size, GFP_KERNEL_ACCOUNT);
}

#endif /* __KVM_X86_MMU_MEMSLOT_METADATA_H */
