# SPDX-License-Identifier: GPL-2.0-or-later
"""Post-copy with pristine upstream QEMU against ours."""

import os
import re
import shutil

import figures
import host
from benchmark import Benchmark, numbers_from

# See postern-bench.c.
SIDES = ('upstream', 'postern-off', 'postern')

# Parts where the host's clock counts instructions
COUNTED = ('bulk', 'counted', 'icount')

# What is told of the runs of each part, and how it is called.
WAITS = {
    'p50_us': 'Time that an access waited, p50, us',
    'p99_us': 'Time that an access waited, p99, us',
    'wait_us': 'Time that accesses waited altogether, us',
    'waiting': "Part of the vCPUs' time that accesses waited, %",
    'waits': 'Accesses that took 500 us or more',
    'ops_per_s': "The guest's operations a second, from just before the switch",
    'postcopy_us': 'Time from the switch to the last page, us',
}

METRICS = {
    'wall': WAITS,
    'counted': WAITS,
    'walk': {
        'dst_ns': 'Processor time of the destination for a page that is used, ns',
        'requested': 'Pages asked for',
    },
    'bulk': {
        'page_us': 'Time to send and place a page that nobody waits for, us',
    },
    'icount': {
        'dst_ns': 'Instructions of the destination for a page that is used',
        'requested': 'Pages asked for',
    },
}


def figure(metric, run):
    """The Figure of one metric of a run."""
    group = '{vcpus} vCPUs, {mode}, {delay_us} us'.format(**run)
    if run['limit_mib_s'] > 0:
        group += ', {limit_mib_s} MiB/s'.format(**run)
    if metric == 'dst_ns':
        value = run['dst_ns'] / run['pages']
    elif metric == 'page_us':
        value = run['postcopy_us'] / run['pages']
    elif metric in ('ops_per_s', 'work_per_s'):
        value = run[metric.split('_')[0]] * 1000000 / run['guest_us']
    elif metric == 'blocked':
        value = run['blocked_us'] * 100 / run['postcopy_us'] / run['vcpus']
    elif metric == 'waiting':
        value = run['wait_us'] * 100 / run['guest_us'] / run['vcpus']
    else:
        value = run[metric]
    return figures.Figure(run['round'], group, run['side'], value)


def length(numbers):
    return len(numbers.split(','))


class Postcopy(Benchmark):
    NAME = 'postcopy'
    SUMMARY = ('post-copy with pristine upstream QEMU against ours, on our kernel: without KVM '
               'userfault (postern-off), and with it (postern)')
    PARTS = {
        'wall': 'a guest that uses its memory at random, 1 to 8 vCPUs, with and without '
                'postcopy-preempt, a delay of the network and a limit for pages sent '
                'unasked: how long its accesses waited, what it got done, the time to '
                'the last page',
        'walk': 'a guest that uses each page once, most of them missing: the processor '
                'time of the destination, its guest included, for each of them; the '
                'source is always ours',
        'counted': "the same as wall, but the host's clock counts instructions, and no other "
                   'program of the machine',
        'bulk': 'a guest that does nothing: how long its pages take, by that clock',
        'icount': 'the same as walk with instructions counted, for processor time',
    }
    ROUNDS = 2
    EPILOG = '''An access is taken for one that waited for a page if it took 500 us or
more. On the one processor, with several vCPUs, some only waited for their turn.

The environment may narrow it: VCPUS (1,2,4,8), DELAYS of the network each way
(0,30,1000, in us; wall and counted; on aarch64 only 0), LIMITS for pages sent unasked (0,8, in
MiB/s, 0 for none; likewise).'''

    VCPUS = '1,2,4,8'
    # Of a part, in seconds of the machine: "counted" has 144 runs
    TIMEOUTS = {'wall': 5100, 'walk': 5100, 'counted': 14400, 'bulk': 1800,
                'icount': 1800}
    # Of L1
    MEMORY_MIB = 2048
    CPUS = 1

    def __init__(self, parts, rounds):
        super().__init__(parts, rounds)
        self.vcpus = numbers_from('VCPUS', self.VCPUS)
        self.delays = numbers_from('DELAYS', '0' if host.IS_AARCH64 else '0,30,1000')
        self.limits = numbers_from('LIMITS', '0,8')
        if None in (self.vcpus, self.delays, self.limits):
            host.die('VCPUS, DELAYS and LIMITS are lists of numbers, with commas between')
        if any(number.startswith('0') for number in self.vcpus.split(',')):
            host.die('VCPUS is a list of numbers above 0')
        if host.IS_AARCH64:
            if self.delays != '0':
                host.die('DELAYS: 0 only, as an emulated host of aarch64 has no tc')
            return
        # Where Debian has tc, and not everybody looks.
        os.environ['PATH'] += ':/usr/sbin:/sbin'
        if not shutil.which('tc'):
            host.die('tc is missing, for the delays (Debian: iproute2)')

    def build(self):
        host.ninja(*host.KERNEL_TARGETS, host.QEMU_TARGET, host.GUEST)
        host.run(*host.FUNCTION, 'unpack_again', 'qemu', 'qemu-stock')
        host.run(os.path.join(host.ROOT, 'scripts/build/qemu.sh'), host.STOCK_VARIANT, 'build',
                 host.ARCH)
        stock, ours = host.version('qemu', 'qemu-stock'), host.version('qemu', 'qemu')
        if stock != ours:
            host.die(f'build/qemu-stock/src is QEMU {stock}, ours is of {ours}: '
                     'remove build/qemu-stock')

    def program(self, part):
        """How many runs a round of a part has, and postern-bench's options for them."""
        if part in ('wall', 'counted'):
            # two modes
            return self.groups() * 2 * len(SIDES), self.narrowed()
        if part == 'bulk':
            return 2 * len(SIDES), ['--vcpus=1', '--bulk', '--delays=0', '--limits=0']
        return (length(self.vcpus) * 2 * len(SIDES),
                ['--vcpus=' + self.vcpus, '--walk', '--delays=0', '--limits=0', '--memory=96',
                 '--percent=30'])

    def guest(self, part):
        """The kernel and the initramfs of the guests, as options."""
        return ['--kernel=' + host.OUR_KERNEL,
                '--initrd=' + os.path.join(host.BUILD, 'meson', host.GUEST)]

    def groups(self):
        return length(self.vcpus) * length(self.delays) * length(self.limits)

    def narrowed(self, vcpus=None):
        return ['--vcpus=' + (vcpus or self.vcpus), '--delays=' + self.delays, '--limits=' + self.limits]

    def measure_round(self, part, number):
        expected, options = self.program(part)
        host.progress(f'{part}, round {number} of {self.rounds}')
        log = self.log(part, number)
        status = self.in_l1(part, log, ['--round=' + str(number), *options])
        if status:
            self.note(f'{part}, round {number}: ended with status {status} ({log})')
        _, runs = host.read_log(log)
        if len(runs) != expected:
            self.note(f'{part}, round {number}: {len(runs)} of {expected} runs ({log})')
        self.runs[part] += [{'part': part, **run} for _, run in runs]

    def in_l1(self, part, log, options):
        """One round, in a boot of its own; returns the testbed's status."""
        clock = ['--icount'] if part in COUNTED else []
        return host.testbed(
            log, [f'--smp={self.CPUS}', f'--memory={self.MEMORY_MIB}',
                  f'--timeout={self.TIMEOUTS[part]}', *clock],
            [os.path.join(host.OURS, 'tests/qtest/postern-bench'),
             *self.guest(part),
             '--upstream=' + host.STOCK_QEMU, '--postern=' + host.OUR_QEMU, *options])

    def head(self):
        return {'upstream': host.version('qemu', 'qemu-stock')}

    def about(self):
        return (f"L1: {host.ARCH}, Linux {host.version('linux', 'linux')}, emulated, one CPU; upstream: QEMU "
                f"{host.version('qemu', 'qemu-stock')}; {self.rounds} rounds: "
                'median (least..most)')

    def show(self, part):
        for metric, title in METRICS[part].items():
            stats = figures.summarize([figure(metric, run) for run in self.runs[part]],
                                      'upstream', self.rounds)
            host.say(f'\n{title}')
            for line in figures.table(stats, '', metric, 'upstream'):
                host.say(line)
            plain = [(re.fullmatch(r'(\d+) vCPUs, plain, 0 us', stat.group), stat)
                     for stat in stats if stat.values]
            host.plot(f'bench-postcopy-{part}-{metric}', f'{title} (plain, no delay)',
                      {side: [(found[1], stat.values) for found, stat in plain
                              if found and stat.row == side]
                       for side in SIDES})
