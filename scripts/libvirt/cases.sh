#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# cases.sh ROOT QEMU KERNEL INITRD [CASE]...: in L1: migrates a guest between two
# libvirts, which ROOT has; reports TAP.  Without CASE, all of them.

set -eu
# shellcheck source=scripts/tests/tap.sh
. "$(dirname "$0")/../tests/tap.sh"
# shellcheck disable=SC2034 # lab.sh's
root=$(cd "$scripts/.." && pwd) dir=$1 qemu=$2 kernel=$3 initrd=$4
shift 4
# shellcheck source=scripts/libvirt/lab.sh
. "$root/scripts/libvirt/lab.sh"

# arrived NAME FROM TO: what has to be true after a migration
arrived() {
    sides="$(state "$2"), $(state "$3")"
    is "$1: only the destination has the guest" "$sides" "none, running"
    # There is nothing to ask then.
    [ "$sides" = "none, running" ] || return 0
    output=$(faults "$3")
    matches "$1: KVM userfault served the vCPUs" "$output" \
        '^postcopy faults served by: kvm-userfault$'
    matches "$1: there were exits" "$output" '^postcopy kvm exits: [1-9]'
    matches "$1: no vCPU waited in userfaultfd" "$output" \
        '^postcopy userfaultfd faults: vcpu 0,'
    matches "$1: all the guest's words are right" "$(answer "$3" check 'POSTERN sweep')" \
        '^POSTERN sweep words=[1-9][0-9]+ bad=0$'
    matches "$1: so is its disk" "$(answer "$3" disk 'POSTERN disk')" \
        '^POSTERN disk ops=[1-9][0-9]* bad=0$'
}

# need_guest HOST: there is a guest on HOST
need_guest() {
    [ "$(state "$1")" = running ] && return
    end_guest
    output=$(start_guest "$1" '' 2>&1) || {
        is "a guest on host $1" "$output" "started"
        return 1
    }
}

# moves NAME FROM TO [OPTION]...: a migration that just works
moves() {
    _name=$1
    shift
    need_guest "$1" || return 0
    output=$(migrate "$@")
    matches "$_name: virsh succeeds" "$output" '^status 0$'
    arrived "$_name" "$1" "$2"
}

plain() {
    moves plain a b --postcopy-after-precopy
}

bandwidth() {
    moves bandwidth b a --postcopy-after-precopy --postcopy-bandwidth 8
}

timeout_postcopy() {
    # No precopy of this guest ends by itself at that speed.
    moves timeout a b --bandwidth 4 --timeout 3 --timeout-postcopy
}

tunnelled() {
    need_guest b || return 0
    output=$(migrate b a --p2p --tunnelled)
    matches "tunnelled: libvirt refuses it" "$output" 'post-copy is not supported with tunnelled'
    matches "tunnelled: virsh fails" "$output" '^status 1$'
    is "tunnelled: the guest stays" "$(state b), $(state a)" "running, none"
}

back_and_forth() {
    for round in 1 2; do
        moves "back and forth $round" b a --postcopy-after-precopy
        moves "back and forth $round, back" a b --postcopy-after-precopy
    done
}

# in_postcopy FROM TO [OPTION]...: starts a migration, slow in post-copy, with virsh in the
# background; returns when the guest runs on TO
in_postcopy() {
    _src=$1 _dst=$2
    migrate "$@" --postcopy-after-precopy --postcopy-bandwidth 2 >/run/virsh.log &
    client=$!
    wait_for 180 reached "$_dst" running
}

# tell_logs: what libvirt and QEMU said of late
tell_logs() {
    for _host in a b; do
        for _log in libvirtd.log libvirtd.out libvirt/qemu/guest.log; do
            echo "$_host: $_log"
            on "$_host" tail -n 25 "/var/log/$_log" || :
        done
    done 2>&1 | cut -c1-300 | sed 's/^/# /'
}

# reached HOST STATE
reached() {
    [ "$(state "$1")" = "$2" ]
}

# reason HOST: state with its reason, as virsh says it
reason() {
    on "$1" virsh domstate guest --reason 2>&1 | head -n 1
}

failed_postcopy() {
    case $(reason "$1") in
    *'post-copy failed'*) return 0 ;;
    *) return 1 ;;
    esac
}

# resumes NAME FROM TO: a paused post-copy goes on to its end
resumes() {
    output=$(migrate "$2" "$3" --postcopy-resume)
    matches "$1: virsh resumes it" "$output" '^status 0$'
    arrived "$1" "$2" "$3"
}

abort() {
    need_guest a || return 0
    in_postcopy a b || :
    output=$(on a virsh domjobabort guest --postcopy 2>&1 && echo "status 0")
    matches "abort: virsh interrupts post-copy" "$output" '^status 0$'
    wait "$client" || :
    matches "abort: the migration has failed" "$(cat /run/virsh.log)" '^status 1$'
    matches "abort: the source says so" "$(reason a)" 'paused \(post-copy failed\)'
    resumes abort a b
}

cut() {
    need_guest b || return 0
    in_postcopy b a || :
    on a ip link set dev a down
    sleep 30
    # TCP would wait longer than a test can; so would a person.
    on b virsh domjobabort guest --postcopy >/dev/null 2>&1 || :
    wait_for 120 failed_postcopy b || :
    on a ip link set dev a up
    matches "cut: the source waits for a recovery" "$(reason b)" 'paused \(post-copy failed\)'
    wait_for 60 failed_postcopy a || :
    matches "cut: so does the destination" "$(reason a)" 'post-copy failed'
    wait "$client" || :
    resumes cut b a
}

restart() {
    need_guest a || return 0
    in_postcopy a b || :
    for host in a b; do
        on "$host" pkill --pidfile /run/libvirtd.pid
    done
    wait "$client" || :
    wait_for 120 on a virsh version || :
    wait_for 120 on b virsh version || :
    is "restart: the guest runs on the destination" "$(state b)" running
    # The migration goes on without libvirt; it is fast from here on.
    on a virsh migrate-setspeed guest 0 --postcopy >/dev/null 2>&1 || :
    wait_for 300 reached a none || :
    arrived restart a b
}

killed() {
    need_guest b || return 0
    in_postcopy b a || :
    on a pkill -9 qemu-system
    wait "$client" || :
    is "killed: the source does not run the guest, whose memory is lost" \
        "$(reason b)" 'paused (post-copy failed)'
    is "killed: the destination has none" "$(state a)" none
    end_guest
}

memfd() {
    end_guest
    output=$(start_guest a \
        "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>" 2>&1) || {
        is "memfd: a guest" "$output" started
        return 0
    }
    moves memfd a b --postcopy-after-precopy
}

[ $# != 0 ] || set -- plain bandwidth timeout_postcopy tunnelled back_and_forth cut abort \
    restart killed memfd
start_lab || {
    sed 's/^/# /' /run/host-a.log /run/host-b.log
    echo "Bail out! the hosts did not start"
    exit 1
}
for case; do
    "$case" | tee /run/cases
    # tee's shell has counted the cases.
    cases=$((cases + $(grep -cE '^(not )?ok ' /run/cases || :)))
    ! grep -q '^not ok' /run/cases || tell_logs
done
end_guest
done_testing
