# SPDX-License-Identifier: GPL-2.0-or-later
"""How pages are brought on demand, with userfaultfd and with KVM userfault."""

import os

import figures
import host
from benchmark import Benchmark

WALL_CPUS = 4
SEED = 'scripts/bench/userfault-seed.list'


def seed_ratios():
    """The posted rates as ratios to userfaultfd with one reader, by group and row."""
    rates = {}
    with open(os.path.join(host.ROOT, SEED), encoding='utf-8') as lines:
        for line in lines:
            words = line.split()
            if words[:2] == ['#', 'row']:
                groups = words[2:]
            elif words and words[0] != '#':
                rates[words[0]] = list(map(int, words[1:]))
    return {(group, row): f'{rate / base:.2f}' for row in rates
            for group, rate, base in zip(groups, rates[row], rates['missing'])}


def figure(part, run):
    """The Figure of a run; None if it is unknown of what."""
    group, row = run.get('vcpus'), run.get('mode')
    if part == 'off':
        if row:
            group = f'page, {group} vCPUs'
        elif 'op' in run:
            group = f"{run['op']}, {run['slots']} slots"
        else:
            # A failed run has no operations; a run of each is missing then.
            return None
        row = run['kernel']
    if 'failed' in run:
        value = None
    elif part == 'wall':
        value = run['pages_per_s']
    elif 'op' in run:
        value = run['median_ns']
    else:
        value = run['ns'] / run['pages']
    return figures.Figure(run['round'], group, row, value)


class Userfault(Benchmark):
    NAME = 'userfault'
    SUMMARY = 'pages brought on demand, with userfaultfd and with KVM userfault'
    PARTS = {
        'icount': 'instructions a page, with 1 to 64 vCPUs on one CPU of L1',
        'wall': 'pages/s by the clock, with 1 to 8 vCPUs on four CPUs of L1; wants '
                'as many of its machine (a warning says where it has less)',
        'off': 'what the feature costs where it is off: our kernel and the stock one '
               'in turn, instructions a page and an operation on a memslot',
    }

    def __init__(self, parts, rounds):
        # There is no stock kernel of aarch64.
        if host.IS_AARCH64 and parts == list(self.PARTS):
            parts = [part for part in parts if part != 'off']
            host.say('aarch64: no part off, as no stock kernel is built')
        super().__init__(parts, rounds)
        if host.IS_AARCH64 and 'off' in parts:
            host.die('off is for x86_64: no stock kernel of aarch64 is built')

    def build(self):
        targets = [*host.KERNEL_TARGETS, host.SELFTESTS_TARGET]
        if 'off' in self.parts:
            targets.append('linux-stock.stamp')
        host.ninja(*targets)

    def measure_round(self, part, number):
        if part == 'wall':
            if number == 1 and host.cpus() < WALL_CPUS:
                host.warn(f"L1's {WALL_CPUS} CPUs share {host.cpus()} here: what threads wait "
                          'for one another, more than what they do at once, is what "wall" '
                          'measures')
            self.in_l1(part, number, 'linux', f'--smp={WALL_CPUS}')
        elif part == 'icount':
            self.in_l1(part, number, 'linux', '--icount')
        else:
            kernels = ['linux-stock', 'linux']
            for kernel in kernels if number % 2 else reversed(kernels):
                self.in_l1(part, number, kernel, '--icount')

    def in_l1(self, part, number, kernel, *options):
        host.progress(f'{part}, round {number} of {self.rounds}, {kernel}')
        what = f'{part}, round {number}, {kernel}'
        log = self.log(part, number, kernel)
        image = host.OUR_KERNEL
        if kernel == 'linux-stock':
            image = os.path.join(host.BUILD, kernel, 'out/arch/x86/boot/bzImage')
        status = host.testbed(
            log, ['--kernel=' + image, '--timeout=1800', *options],
            [os.path.join(host.ROOT, 'scripts/bench/userfault-l1.sh'), str(number), part])
        if status:
            self.note(f'{what}: the testbed ended with status {status} ({log})')
        self.take_runs(log, what, part, {'part': part, 'round': number, 'kernel': kernel})

    def base(self, part):
        return 'linux-stock' if part == 'off' else 'missing'

    def stats_of(self, part):
        found = filter(None, (figure(part, run) for run in self.runs[part]))
        return figures.summarize(found, self.base(part), self.rounds)

    def stats(self):
        return [{'part': part, 'group': str(stat.group), 'row': stat.row,
                 'runs': stat.runs, 'failed': stat.failed,
                 **figures.json_range(('median', 'least', 'most'), stat.values),
                 **figures.json_range(('ratio', 'least_ratio', 'most_ratio'), stat.ratios)}
                for part in self.parts for stat in self.stats_of(part)]

    def about(self):
        return (f"L1: {host.ARCH}, Linux {host.version('linux', 'linux')}, emulated; "
                f'{self.rounds} rounds: median (least..most)')

    def show(self, part):
        title, group, value, plot_title, seed = {
            'icount': ('Instructions a page, one CPU, 16 MiB altogether', 'vCPUs',
                       'instructions', 'Instructions a page (one emulated CPU)', None),
            'wall': (f'Pages/s by the clock, four CPUs of L1 on {host.cpus()}, 4 MiB a vCPU'
                     + ('' if host.IS_AARCH64 else f'; seed: see {SEED}'), 'vCPUs', 'pages/s',
                     f'Pages/s (four emulated CPUs on {host.cpus()})',
                     # Those of x86
                     None if host.IS_AARCH64 else seed_ratios()),
            'off': ('With the feature off: instructions a page or operation, one CPU', '',
                    'instructions', None, None),
        }[part]
        stats = self.stats_of(part)
        host.say(f'\n{title}\n')
        for line in figures.table(stats, group, value, self.base(part), seed=seed):
            host.say(line)
        if plot_title:
            host.plot('bench-userfault-' + part, plot_title,
                      {row: [(stat.group, stat.values) for stat in stats
                             if stat.row == row and stat.values]
                       for row in figures.order(stats, 'row')})
