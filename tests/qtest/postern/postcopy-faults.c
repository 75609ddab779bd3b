/*
 * postern-test: the statistics of page faults in query-migrate
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "migration/migration-qmp.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "qobject/qlist.h"
#include "messages.h"
#include "postcopy-faults.h"
#include "test-util.h"

QDict *query_faults(QTestState *who)
{
    QDict *info = migrate_query(who);
    QDict *faults = qdict_get_qdict(info, "postcopy-faults");

    if (faults) {
        qobject_ref(faults);
    }
    qobject_unref(info);
    return faults;
}

uint64_t faults_get(QTestState *who, const char *member)
{
    QDict *faults = query_faults(who);
    uint64_t value;

    g_assert(faults);
    value = qdict_get_int(faults, member);
    qobject_unref(faults);
    return value;
}

/* The statistics of all vCPUs, and of all steps of latency, add up */
static void check_fault_lists(QDict *faults)
{
    const QListEntry *entry;
    int64_t blocked_ns = 0, vcpu_faults = 0, served = 0, below = -1;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(faults, "vcpus"), entry) {
        QDict *vcpu = qobject_to(QDict, qlist_entry_obj(entry));

        /* The guest has one vCPU */
        g_assert_cmpint(qdict_get_int(vcpu, "cpu-index"), ==, 0);
        vcpu_faults += qdict_get_int(vcpu, "faults");
        blocked_ns += qdict_get_int(vcpu, "blocked-ns");
    }
    g_assert_cmpint(blocked_ns, ==, qdict_get_int(faults, "vcpu-blocked-ns"));
    g_assert_cmpint(vcpu_faults, ==,
                    qdict_get_int(faults, "kvm-exits") -
                    qdict_get_int(faults, "kvm-exits-present") +
                    qdict_get_int(faults, "userfaultfd-vcpu") +
                    qdict_get_int(faults, "userfaultfd-vcpu-host"));

    QLIST_FOREACH_ENTRY(qdict_get_qlist(faults, "latency"), entry) {
        QDict *step = qobject_to(QDict, qlist_entry_obj(entry));

        g_assert_cmpint(qdict_get_int(step, "max-ns"), >, below);
        below = qdict_get_int(step, "max-ns");
        served += qdict_get_int(step, "count");
    }
    g_assert_cmpint(served, >, 0);
    g_assert_cmpint(qdict_get_int(faults, "latency-p99-ns"), <=, below);
}

void check_faults(QTestState *to, bool kvm)
{
    g_autofree char *hmp = qtest_hmp(to, "info migrate");
    g_autoptr(GString) json = NULL;
    QDict *faults = query_faults(to);

    g_assert(faults);
    json = qobject_to_json(QOBJECT(faults));
    g_test_message("%s", json->str);
    g_assert_cmpstr(qdict_get_str(faults, "mechanism"), ==,
                    kvm ? "kvm-userfault" : "userfaultfd");
    if (kvm) {
        g_assert_cmpint(qdict_get_int(faults, "kvm-exits"), >, 0);
        g_assert_cmpint(qdict_get_int(faults, "userfaultfd-vcpu"), ==, 0);
        g_assert_cmpint(qdict_get_int(faults, "userfaultfd-async"), ==, 0);
        /* KVM and devices do not access the memory of this guest */
        g_assert_cmpint(qdict_get_int(faults, "userfaultfd-vcpu-host"), ==, 0);
    } else {
        g_assert_cmpint(qdict_get_int(faults, "kvm-exits"), ==, 0);
        g_assert_cmpint(qdict_get_int(faults, "userfaultfd-vcpu") +
                        qdict_get_int(faults, "userfaultfd-async"), >, 0);
    }
    g_assert_cmpint(qdict_get_int(faults, "requested"), >, 0);
    g_assert_cmpint(qdict_get_int(faults, "vcpu-blocked-ns"), >, 0);
    g_assert_cmpint(qdict_get_int(faults, "latency-p50-ns"), >, 0);
    g_assert_cmpint(qdict_get_int(faults, "latency-p99-ns"), >=,
                    qdict_get_int(faults, "latency-p50-ns"));
    check_fault_lists(faults);
    qobject_unref(faults);

    g_assert(strstr(hmp, kvm ? "postcopy faults served by: kvm-userfault"
                             : "postcopy faults served by: userfaultfd"));
}

uint64_t guest_faults(QTestState *who)
{
    return faults_get(who, "kvm-exits") +
           faults_get(who, "userfaultfd-vcpu") +
           faults_get(who, "userfaultfd-async");
}

void wait_for_guest_faults(QTestState *who, uint64_t goal)
{
    for (int i = 0; guest_faults(who) < goal; i++) {
        if (i >= POLLS_MAX) {
            messages_show_state(who);
            g_assert_cmpuint(guest_faults(who), >=, goal);
        }
        g_usleep(POLL_US);
    }
}

void wait_for_requests(QTestState *who, unsigned more)
{
    uint64_t goal = faults_get(who, "requested") + more;

    for (int i = 0; faults_get(who, "requested") < goal; i++) {
        if (i >= POLLS_MAX) {
            messages_show_state(who);
            g_assert_cmpuint(faults_get(who, "requested"), >=, goal);
        }
        g_usleep(POLL_US);
    }
}
