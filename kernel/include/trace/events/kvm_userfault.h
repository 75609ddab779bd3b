/* SPDX-License-Identifier: GPL-2.0-only */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM kvm

#if !defined(_TRACE_KVM_USERFAULT_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_KVM_USERFAULT_H

#include <linux/tracepoint.h>

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

/*
 * A vCPU accesses the page of its last userfault exit, and the page's bit is
 * clear.  The first such event after an exit ends the vCPU's wait.
 */
TRACE_EVENT(kvm_userfault_resolved,
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

#endif /* _TRACE_KVM_USERFAULT_H */

/* The file's name differs from its system's, which is also that of kvm.h. */
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE kvm_userfault

/* This part must be outside protection */
#include <trace/define_trace.h>
