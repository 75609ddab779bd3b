# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest gets done during post-copy, with and without asynchronous page faults."""

import os

import figures
import host
import postcopy
from postcopy import Postcopy, figure, length

# See postern-bench.c.
SIDES = 5

WORK = {
    'work_per_s': 'What other threads of the guest got done, counts a second',
    'ops_per_s': "Operations of the threads that wait, a second",
    'waiting': "Part of the vCPUs' time that accesses waited, %",
    'blocked': "Part of their time that vCPUs were blocked, % (our QEMU's figure)",
    'p50_us': 'Time that an access waited, p50, us',
    'p99_us': 'Time that an access waited, p99, us',
    'postcopy_us': 'Time from the switch to the last page, us',
}

METRICS = {
    'async': WORK,
    'counted': WORK,
    'icount': postcopy.METRICS['icount'],
    'redis': {
        'ops_per_s': 'Answers of the server a second, from just before the switch',
        'p50_us': 'Time to the answer, p50, us',
        'p99_us': 'Time to the answer, p99, us',
        'postcopy_us': 'Time from the switch to the last page, us',
    },
}

REDIS = os.path.join(host.BUILD, 'redis')

# What the patches of 2010 (v7) that brought asynchronous page faults reported: total
# work, with swapping instead of post-copy, and 4 vCPUs.
SEED = {'exits': '1.00', 'halt': '1.13', 'full': '1.91'}


class AsyncPf(Postcopy):
    NAME = 'async-pf'
    SUMMARY = 'asynchronous page faults during post-copy: what the guest gets done'
    PARTS = {
        'async': 'a thread on each vCPU uses memory at random, and another one counts: how '
                 'far it counted, and how long accesses waited; with upstream QEMU, the '
                 "guest's asynchronous page faults on and off, and with ours, vCPUs that "
                 'wait (exits), are halted by KVM (halt), and guests that are told (full)',
        'counted': "the same, but the host's clock counts instructions, and no other program of "
                   'the machine',
        'icount': 'instructions of the destination for each page that is used, of the same five',
        'redis': "the same five with Debian's kernel and Debian's Redis in the guest, with 2 "
                 'vCPUs, where 16 clients read from the server',
    }
    ROUNDS = 2
    EPILOG = '''The environment may narrow it: VCPUS (1,2,4), DELAYS of the network each way
(0,30,1000, in us), LIMITS for pages sent unasked (0,8, in MiB/s, 0 for none).
The part icount has neither delays nor limits. The part redis has 2 vCPUs, and
downloads some packages of Debian when it is run for the first time.'''
    VCPUS = '1,2,4'
    TIMEOUTS = {'async': 5100, 'counted': 14400, 'icount': 1800, 'redis': 5100}
    # Five guests at a time, and a sixth that one of them migrates to.
    MEMORY_MIB = 4096

    def build(self):
        super().build()
        if 'redis' in self.parts:
            host.run(os.path.join(host.ROOT, 'scripts/bench/redis-guest.sh'),
                     os.path.join(host.BUILD, 'meson', host.GUEST))

    def guest(self, part):
        if part != 'redis':
            return super().guest(part)
        return ['--kernel=' + os.path.join(REDIS, 'vmlinuz'),
                '--initrd=' + os.path.join(REDIS, 'initramfs')]

    def program(self, part):
        if part == 'icount':
            _, options = super().program(part)
            return length(self.vcpus) * SIDES, ['--async', *options]
        if part != 'redis':
            return self.groups() * SIDES, ['--async', *self.narrowed()]
        return (self.groups() // length(self.vcpus) * SIDES,
                [*self.narrowed('2'), '--redis=60000', '--memory=384', '--percent=1', '--wait=1'])

    def show(self, part):
        for metric, title in METRICS[part].items():
            stats = figures.summarize([figure(metric, run) for run in self.runs[part]
                                       if metric != 'blocked' or 'blocked_us' in run],
                                      'exits', self.rounds)
            host.say(f'\n{title}')
            seed = {(stat.group, stat.row): SEED[stat.row] for stat in stats
                    if metric == 'work_per_s' and stat.row in SEED}
            for line in figures.table(stats, '', metric, 'exits', seed=seed):
                host.say(line)
            host.plot(f'bench-async-pf-{part}-{metric}', f'{title} (no delay, no limit)',
                      {side: [(stat.group.split()[0], stat.values) for stat in stats
                              if stat.row == side and stat.values and
                              stat.group.endswith('plain, 0 us')]
                       for side in figures.order(stats, 'row')})
