#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Evaluates traces of two kinds: of every instruction of L1 (instructions.sh), and
of the way of pages in post-copy (faults.sh).

    nm -n PROGRAM | trace.py profile|locks|threads - System.map TRACE
    trace.py faults LOG...
"""

import argparse
import bisect
import collections
import re
import signal
import sys

Instruction = collections.namedtuple('Instruction', 'at name entry')

GUEST = 'L2 the guest'
MAPS_PAGE = 'kernel kvm_tdp_mmu_map'    # called once for each page


def read_symbols(nm, system_map):
    """Addresses and names of the functions, sorted by address."""
    # All addresses have 16 hexadecimal digits, so they compare as text.
    addresses, names = [], []
    for file in nm, system_map:
        for line in file:
            words = line.split()
            if len(words) == 3 and words[1] in 'tTwW':
                addresses.append(words[0])
                names.append(words[2])
    return addresses, names


def executed(trace):
    """
    The lines of a trace that are of executed instructions.

    QEMU logs an instruction before it executes it, and then logs if an interrupt
    prevented that. So each waits for the line after it. The last line of the
    trace may be cut off and does not count.
    """
    upcoming = None
    for line in trace:
        if line.startswith('Stopped execution of TB chain before '):
            upcoming = None
        elif line.startswith('Trace '):
            if upcoming:
                yield upcoming
            upcoming = line


def instructions(args):
    """
    The Instructions of a trace: where ("kernel" or "user", and the function), the
    function's name, and whether it is the function's first instruction.

    Other programs and libraries are one function, and so is L2, the guest, which
    leaves the name as it was.
    """
    addresses, names = read_symbols(args.nm, args.system_map)
    known = {}      # by address
    name = ''
    for line in executed(args.trace):
        _, address, flags, _ = line.split()[3].split('/')
        # HF_GUEST_MASK
        if flags[2] in '2367abef':
            yield Instruction(GUEST, name, False)
            continue
        if address not in known:
            index = bisect.bisect_right(addresses, address) - 1
            # Libraries lie far above the program.
            if index < 0 or address.startswith('00007f'):
                known[address] = Instruction('user libraries', '', False)
            else:
                where = 'kernel ' if address.startswith('f') else 'user '
                known[address] = Instruction(where + names[index], names[index],
                                             address == addresses[index])
        name = known[address].name
        yield known[address]


def need(pages):
    if not pages:
        sys.exit('no page was mapped')


def profile(args):
    """Prints "instructions a page, calls a page, where, function", the most first."""
    count, calls = collections.Counter(), collections.Counter()
    for instruction in instructions(args):
        count[instruction.at] += 1
        calls[instruction.at] += instruction.entry
    pages = calls[MAPS_PAGE]
    need(pages)
    print(f'{pages} pages, {sum(count.values()) / pages:.0f} instructions a page')
    for at, number in sorted(count.items(), key=lambda item: (-item[1], item[0])):
        print(f'{number / pages:8.1f} {calls[at] / pages:6.2f} {at}')


LOCKS = [
    ('spin', r'_raw_spin_(un)?(try)?lock'),
    ('read', r'_raw_read_(un)?(try)?lock'),
    ('write', r'_raw_write_(un)?(try)?lock'),
    ('sem-read', r'(down_read|up_read)(_trylock|_killable|_interruptible)?$'),
    ('sem-write', r'(down_write|up_write)(_trylock|_killable)?$'),
    ('mutex', r'mutex_(un)?lock(_killable|_interruptible)?$'),
]


def lock_kind(name):
    """The kind of lock that a function takes or releases; None for others."""
    return next((kind for kind, pattern in LOCKS if re.match(pattern, name)), None)


def locks(args):
    """
    Prints "times taken a page, instructions held (median, longest), kind, where it
    is taken, where it is released", what is held most first. The two functions
    tell which lock it is.

    The median leaves out the few times when an interrupt came; the longest does
    not. A lock that is held while another is taken has its own instructions and
    the other's. Not counted is what the lock functions do themselves, after they
    have the lock and before they release it.
    """
    Held = collections.namedtuple('Held', 'taker begin')
    stacks = collections.defaultdict(list)      # by kind, those that are held
    holds = collections.defaultdict(list)       # by kind, taker and releaser
    kinds = {}                                  # by function
    entering = None                             # the kind that is being taken
    pages, before = 0, ''
    for number, instruction in enumerate(instructions(args), 1):
        name = instruction.name
        if name not in kinds:
            kinds[name] = lock_kind(name)
        kind = kinds[name]
        pages += instruction.entry and instruction.at == MAPS_PAGE
        # Whoever ran before is the caller.
        if instruction.entry and kind:
            if not re.search('unlock|up_', name):
                stacks[kind].append(Held(before, 0))
                entering = kind
            elif stacks[kind]:
                taker, begin = stacks[kind].pop()
                holds[kind, taker, before].append(number - begin if begin else 0)
        # The lock counts as held once its function is left.
        if entering and not kind:
            if stacks[entering]:
                stacks[entering][-1] = stacks[entering][-1]._replace(begin=number)
            entering = None
        before = name
    need(pages)

    lines = []
    for key, held in holds.items():
        held.sort()
        median = held[(len(held) - 1) // 2]
        lines.append((median * len(held), f'{len(held) / pages:6.2f} {median:6} {held[-1]:6}  '
                                          + ' '.join(key)))
    print(f'{pages} pages')
    for _, line in sorted(lines, reverse=True):
        print(line)


VCPU = re.compile('(kvm_vcpu_ioctl|kvm_mmu_page_fault|svm_vcpu_run|handle_userfault)$')
READER = re.compile(
    '(do_epoll_wait|userfaultfd_read_iter|ep_send_events|mfill_atomic_copy)$')


def threads(args):
    """
    Prints how a trace of userfault_perf_test divides between the threads of vCPUs
    and the readers of userfaultfd: instructions and turns a page of each.

    A thread is told by what it calls between two switches. An interrupt counts
    for the thread that it interrupts.
    """
    turns, total = collections.Counter(), collections.Counter()
    who, pages = 'others', 0
    begin = number = 1
    for number, instruction in enumerate(instructions(args), 1):
        if not instruction.entry:
            continue
        if instruction.name.startswith('finish_task_switch'):
            turns[who] += 1
            total[who] += number - begin
            begin, who = number, 'others'
        elif VCPU.match(instruction.name):
            who = 'vCPUs'
        elif READER.match(instruction.name) and who != 'vCPUs':
            who = 'readers'
        pages += instruction.at == MAPS_PAGE
    turns[who] += 1
    total[who] += number + 1 - begin
    need(pages)
    print(f'{pages} pages')
    for who, number in turns.items():
        print(f'{total[who] / pages:8.0f} {number / pages:6.2f} turns  {who}')


# The points of a page's way, and the parts between them
POINTS = ['begin', 'asked', 'queued', 'taken', 'end']
PARTS = ['from the fault to asking', "to the source's queue", 'waits in the queue', 'comes']


class Ways:
    """When each page came to each point, in the migrations of a trace."""

    def __init__(self):
        self.pages = {}         # by migration and page: microseconds by point
        self.modes = {}         # plain or preempt, by migration
        self.migration = 0
        self.vcpus = {}         # the page that a vCPU waits for, in our QEMU
        self.addresses = {}     # RAMBlock and offset of an address, in upstream's

    def at(self, point, page, us):
        """Only the first time counts."""
        way = self.pages.setdefault((self.migration, page), {})
        way.setdefault(point, us)

    def event(self, us, event, words):
        """Takes an event; words are what QEMU logs after its name."""
        if event == 'postcopy_start':
            self.migration += 1
        elif event == 'postcopy_preempt_enabled':
            self.modes[self.migration] = 'preempt' if int(words[0]) else 'plain'

        # Ours: "cpu_index 0 pc.ram/0x1000 first 1", "cpu_index 0 came 1"
        elif event == 'postcopy_fault_vcpu_begin':
            self.vcpus[words[1]] = words[2]
            self.at('begin', words[2], us)
        elif event == 'postcopy_request_sent':
            self.at('asked', words[0], us)
        elif event == 'postcopy_fault_vcpu_end':
            if words[3] == '1' and words[1] in self.vcpus:
                self.at('end', self.vcpus[words[1]], us)

        # Upstream's: "Request for HVA=0x7f00 rb=pc.ram offset=0x1000 pid=0"
        elif event == 'postcopy_ram_fault_thread_request':
            address, block, offset = (word.split('=', 1)[1] for word in words[2:5])
            self.addresses[address] = f'{block}/{offset}'
            self.at('begin', self.addresses[address], us)
        elif event in ('postcopy_page_req_add', 'postcopy_page_req_del'):
            if words[3] in self.addresses:
                point = 'asked' if event == 'postcopy_page_req_add' else 'end'
                self.at(point, self.addresses[words[3]], us)

        # Both sources': "pc.ram: start: 0x1000 len: 0x1000", "pc.ram/0x1000
        # page_abs=0x1", and with preempt, which has no queue, "ramblock pc.ram
        # offset 0x1", in pages
        elif event == 'ram_save_queue_pages':
            self.at('queued', f"{words[0].rstrip(':')}/{words[2]}", us)
        elif event == 'get_queued_page':
            self.at('taken', words[0], us)
        elif event == 'postcopy_preempt_send_host_page':
            self.at('taken', f'{words[1]}/{words[3]}000', us)

    def line(self, name, mode, start, stop, queued):
        """
        Prints one part of the way: of all pages of a mode that came to both points
        and to the end, those that the source took from its queue, or the others.
        """
        times = sorted(way[stop] - way[start]
                       for (migration, _), way in self.pages.items()
                       if self.modes.get(migration) == mode and {start, stop, 'end'} <= way.keys()
                       and 'begin' in way and ('taken' in way) == queued)
        if times:
            number = len(times)
            print(f'  {name:28} {number:6} {sum(times) / number:9.0f} '
                  f'{times[(number - 1) // 2]:9} {times[(number * 99 + 99) // 100 - 1]:9}')

    def table(self, mode):
        print(f"{mode + ', us':30} {'pages':>6} {'mean':>9} {'median':>9} {'p99':>9}")
        for name, start, stop in zip(PARTS, POINTS, POINTS[1:]):
            self.line(name, mode, start, stop, True)
        self.line('altogether', mode, 'begin', 'end', True)
        self.line('sent before it was asked for', mode, 'begin', 'end', False)


def faults(args):
    """
    Prints how long each part of a page's way takes in post-copy: pages, mean,
    median and 99th percentile, for both modes, plain and preempt.

    The logs are of all QEMUs of a migration. A fault begins when QEMU comes to
    know of it: in ours, when the vCPU has left KVM; in upstream's, when the fault
    thread has read it from userfaultfd. It ends when ours lets the vCPU go on, and
    when upstream's has placed the page. Pages that the source had sent before it
    was asked have a line of their own, as it does nothing for them; not with
    preempt, where it does not say so.
    """
    ways = Ways()
    lines = [line for log in args.logs for line in log]
    for line in sorted(lines, key=lambda line: line.partition('@')[2]):
        # The thread, seconds and microseconds, the event
        found = re.match(r'\d+@(\d+)\.(\d+):(\w+)', line)
        if not found:
            continue
        try:
            ways.event(int(found[1]) * 1000000 + int(found[2]), found[3], line.split()[1:])
        except (IndexError, ValueError):
            # The last line of a QEMU that was killed may be cut off.
            continue
    if not any('begin' in way for way in ways.pages.values()):
        sys.exit('no fault was traced')
    ways.table('plain')
    ways.table('preempt')


def main():
    # End quietly if the reader of a pipe, head for example, has ended.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for evaluate in profile, locks, threads, faults:
        command = commands.add_parser(evaluate.__name__, description=evaluate.__doc__,
                                      formatter_class=argparse.RawDescriptionHelpFormatter)
        command.set_defaults(evaluate=evaluate)
        text = argparse.FileType(encoding='utf-8', errors='replace')
        if evaluate == faults:
            command.add_argument('logs', nargs='+', metavar='LOG', type=text)
        else:
            command.add_argument('nm', type=text, help='what "nm -n" says of the program')
            command.add_argument('system_map', type=text, help="System.map of L1's kernel")
            command.add_argument('trace', type=text)
    args = parser.parse_args()
    args.evaluate(args)


main()
