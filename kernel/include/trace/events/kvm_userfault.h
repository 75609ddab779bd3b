/* SPDX-License-Identifier: GPL-2.0-only */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM kvm

#if !defined(_TRACE_KVM_USERFAULT_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_KVM_USERFAULT_H

#include <linux/tracepoint.h>

/* Why an exit can't be accepted. */
#ifndef KVM_USERFAULT_REFUSE_REASONS
#define KVM_USERFAULT_REFUSE_REASONS
enum kvm_userfault_refuse {
	KVM_USERFAULT_REFUSE_PRIVATE,	/* the page is private memory */
	KVM_USERFAULT_REFUSE_SMM,	/* the vCPU is in SMM */
	KVM_USERFAULT_REFUSE_EVENT,	/* see kvm_can_do_async_pf() */
	KVM_USERFAULT_REFUSE_LIMIT,	/* too many pages are pending */
};
#endif

TRACE_DEFINE_ENUM(KVM_USERFAULT_REFUSE_PRIVATE);
TRACE_DEFINE_ENUM(KVM_USERFAULT_REFUSE_SMM);
TRACE_DEFINE_ENUM(KVM_USERFAULT_REFUSE_EVENT);
TRACE_DEFINE_ENUM(KVM_USERFAULT_REFUSE_LIMIT);

/* A vCPU leaves KVM_RUN because the bit of the page that it accesses is set. */
TRACE_EVENT(kvm_userfault_exit,
	TP_PROTO(unsigned int vcpu_id, u64 gpa, u64 size, bool write, bool exec),
	TP_ARGS(vcpu_id, gpa, size, write, exec),

	TP_STRUCT__entry(
		__field(unsigned int, vcpu_id)
		__field(u64, gpa)
		__field(u64, size)
		__field(bool, write)
		__field(bool, exec)
	),

	TP_fast_assign(
		__entry->vcpu_id = vcpu_id;
		__entry->gpa = gpa;
		__entry->size = size;
		__entry->write = write;
		__entry->exec = exec;
	),

	TP_printk("vcpu %u gpa 0x%llx size 0x%llx %s",
		  __entry->vcpu_id, __entry->gpa, __entry->size,
		  __entry->exec ? "exec" : __entry->write ? "write" : "read")
);

/* Something happened to a page that a vCPU waits for. */
DECLARE_EVENT_CLASS(kvm_userfault_page,
	TP_PROTO(unsigned int vcpu_id, u64 gpa),
	TP_ARGS(vcpu_id, gpa),

	TP_STRUCT__entry(
		__field(unsigned int, vcpu_id)
		__field(u64, gpa)
	),

	TP_fast_assign(
		__entry->vcpu_id = vcpu_id;
		__entry->gpa = gpa;
	),

	TP_printk("vcpu %u gpa 0x%llx", __entry->vcpu_id, __entry->gpa)
);

/*
 * A vCPU accesses the page of its last userfault exit, and the page's bit is
 * clear.  The first such event after an exit ends the vCPU's wait.
 */
DEFINE_EVENT(kvm_userfault_page, kvm_userfault_resolved,
	TP_PROTO(unsigned int vcpu_id, u64 gpa),
	TP_ARGS(vcpu_id, gpa)
);

/* Userspace has accepted the page of the last exit. */
DEFINE_EVENT(kvm_userfault_page, kvm_userfault_accept,
	TP_PROTO(unsigned int vcpu_id, u64 gpa),
	TP_ARGS(vcpu_id, gpa)
);

/* Userspace says that an accepted page is there. */
DEFINE_EVENT(kvm_userfault_page, kvm_userfault_ready,
	TP_PROTO(unsigned int vcpu_id, u64 gpa),
	TP_ARGS(vcpu_id, gpa)
);

/* A vCPU is halted until an accepted page is there, or an event wakes it. */
DEFINE_EVENT(kvm_userfault_page, kvm_userfault_halt,
	TP_PROTO(unsigned int vcpu_id, u64 gpa),
	TP_ARGS(vcpu_id, gpa)
);

/* An exit can't be accepted, although the capability is enabled. */
TRACE_EVENT(kvm_userfault_refuse,
	TP_PROTO(unsigned int vcpu_id, u64 gpa, int reason),
	TP_ARGS(vcpu_id, gpa, reason),

	TP_STRUCT__entry(
		__field(unsigned int, vcpu_id)
		__field(u64, gpa)
		__field(int, reason)
	),

	TP_fast_assign(
		__entry->vcpu_id = vcpu_id;
		__entry->gpa = gpa;
		__entry->reason = reason;
	),

	TP_printk("vcpu %u gpa 0x%llx %s", __entry->vcpu_id, __entry->gpa,
		  __print_symbolic(__entry->reason,
				   { KVM_USERFAULT_REFUSE_PRIVATE, "private" },
				   { KVM_USERFAULT_REFUSE_SMM, "smm" },
				   { KVM_USERFAULT_REFUSE_EVENT, "event" },
				   { KVM_USERFAULT_REFUSE_LIMIT, "limit" }))
);

#endif /* _TRACE_KVM_USERFAULT_H */

/* The file's name differs from its system's, which is also that of kvm.h. */
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE kvm_userfault

/* This part must be outside protection */
#include <trace/define_trace.h>
