/* SPDX-License-Identifier: GPL-2.0-only */
/* What reg_list.c needs of the kernel's own headers, for a program on the host. */
#ifndef KVM_HOST_H
#define KVM_HOST_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>

typedef __u16 u16;
typedef __u64 u64;

struct kvm_reg_ids {
	u64 *ids;
	unsigned long room;
	unsigned long n;
};

static inline void kvm_reg_ids_add(struct kvm_reg_ids *list, u64 id)
{
	unsigned long n = list->n++;

	if (n < list->room)
		list->ids[n] = id;
}

#endif
