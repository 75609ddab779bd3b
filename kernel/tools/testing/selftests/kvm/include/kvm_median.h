/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The median of several measurements, for tests that measure the cost of something.
 */
#ifndef SELFTEST_KVM_MEDIAN_H
#define SELFTEST_KVM_MEDIAN_H

#include <stdint.h>
#include <stdlib.h>

static inline int kvm_median_compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

/*
 * The median of @nr values, which get sorted.  Unlike the mean, it ignores a few
 * that have waited for a timer, say.
 */
static inline int64_t kvm_median(int64_t *values, int nr)
{
	int middle = nr / 2;

	qsort(values, nr, sizeof(*values), kvm_median_compare);
	if (nr % 2)
		return values[middle];
	return (values[middle - 1] + values[middle]) / 2;
}

#endif /* SELFTEST_KVM_MEDIAN_H */
