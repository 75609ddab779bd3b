/* SPDX-License-Identifier: GPL-2.0-only */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM kvm_guest

#if !defined(_TRACE_KVM_GUEST_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_KVM_GUEST_H

#include <linux/tracepoint.h>

/* The host tells this guest about a page; each token stands for one fault. */
DECLARE_EVENT_CLASS(kvm_guest_async_pf,
	TP_PROTO(u32 token),
	TP_ARGS(token),

	TP_STRUCT__entry(
		__field(u32, token)
	),

	TP_fast_assign(
		__entry->token = token;
	),

	TP_printk("token 0x%x", __entry->token)
);

/* The page is missing: the current task sleeps. */
DEFINE_EVENT(kvm_guest_async_pf, kvm_guest_async_pf_not_present,
	TP_PROTO(u32 token),
	TP_ARGS(token)
);

/* The page is ready, or, with token ~0, all pages of this CPU: tasks wake up. */
DEFINE_EVENT(kvm_guest_async_pf, kvm_guest_async_pf_ready,
	TP_PROTO(u32 token),
	TP_ARGS(token)
);

#endif /* _TRACE_KVM_GUEST_H */

/* This part must be outside protection */
#include <trace/define_trace.h>
