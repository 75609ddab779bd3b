# SPDX-License-Identifier: GPL-2.0-or-later
"""What changes of memslots and of QEMU's memory regions cost, next to many others."""

import os

import figures
import host
from benchmark import Benchmark, numbers_from

# With some more regions than that upstream's QEMU ends itself.
UPSTREAM_MAX = 1900
BASE = 'raw, one by one'

WHAT = {
    'seed': "The seed's table, us for an iteration",
    'idle': 'No vCPU runs',
    'run': 'A vCPU runs',
}
TABLES = ['setup', 'move all', 'delete all', 'replace half', 'delete and add one', 'move one']

# Text, table, row and memslots, what it is compared with, the ratio to be reached
GOALS = [
    ('move one through QEMU: 32000 regions / 10',
     ('move one', 'postern', 32000), ('move one', 'postern', 10), 3),
    ('  without lists',
     ('move one', 'postern, no lists', 32000), ('move one', 'postern, no lists', 10), 3),
    ('set up 32000 through QEMU, no lists / raw one by one',
     ('setup', 'postern, no lists, batched', 32000), ('setup', BASE, 32000), 1.5),
    ('set up 32000 through QEMU / raw one by one',
     ('setup', 'postern, batched', 32000), ('setup', BASE, 32000), 0.5),
    ('set up 32000, raw: one list / one by one',
     ('setup', 'raw, one list', 32000), ('setup', BASE, 32000), 0.2),
]


def tables_of(part):
    return ['seed'] if part == 'seed' else TABLES


def table_row_ns(run):
    """
    The table and row of a run, and its nanoseconds: for each memslot where all
    of them change, else for the operation.
    """
    op = run['op']
    if 'median_ns' in run:
        # Of memslot_batch_perf_test
        row = 'raw, one list' if run['batch'] else BASE
        if op == 'one':
            return 'move one', row, run['median_ns']
        return op if op == 'setup' else op + ' all', row, run['median_ns'] / run['slots']
    if run['part'] == 'seed':
        return 'seed', op, run['ns']
    # Of postern-bench-memslots: "move all, batched", or "move one"
    table, comma, how = op.partition(', ')
    return table, run['level'] + comma + how, run['ns'] / (run['slots'] if comma else 1)


def table_figures(table, runs):
    """The Figures of one table, in microseconds."""
    for run in runs:
        if 'failed' not in run:
            of, row, ns = table_row_ns(run)
            if of == table:
                yield figures.Figure(run['round'], run['slots'], row, ns / 1000)


class Memslots(Benchmark):
    NAME = 'memslots'
    SUMMARY = "changes of memslots and of QEMU's memory regions, next to 10 to 32,000 of them"
    PARTS = {
        'seed': 'the table of the scalable memslots posting: map, unmap, unmap 2M, move '
                "active, move inactive, slot setup, by upstream's memslot_perf_test",
        'idle': "ioctls one by one and in one list, and through QEMU's memory API one by "
                'one and in one transaction: pristine upstream QEMU (with our '
                'memory-testdev in it, which makes the changes), ours, and ours without '
                'lists; no vCPU runs',
        'run': 'the same while a vCPU runs',
    }
    EPILOG = f'''L1's clock counts instructions.

The environment may narrow it: SLOTS (10,30,50,100,509,1900,32000). Upstream
goes to {UPSTREAM_MAX}: with some more regions than that it ends itself.'''

    def __init__(self, parts, rounds):
        super().__init__(parts, rounds)
        self.slots = numbers_from('SLOTS', '10,30,50,100,509,1900,32000')
        if not self.slots:
            host.die('SLOTS is a list of numbers, with commas between')

    def build(self):
        host.ninja('qemu.stamp', 'linux.stamp', 'selftests.stamp', 'testbed/testbed',
                   'testbed/initramfs.gz')
        if self.parts == ['seed']:
            return
        host.run(os.path.join(host.ROOT, 'scripts/setup/testdev-tree.sh'))
        host.run(os.path.join(host.ROOT, 'scripts/build/qemu.sh'), '--testdev', 'build', 'x86_64')
        if host.version('qemu', 'qemu-testdev') != host.version('qemu', 'qemu'):
            host.die('build/qemu-testdev/src is another QEMU than ours: '
                     'remove build/qemu-testdev')

    def turns(self):
        return [(part, number) for number in self.numbers() for part in self.parts]

    def measure_round(self, part, number):
        host.progress(f'{part}, round {number} of {self.rounds}')
        what = f'{part}, round {number}'
        log = self.log(part, number)
        status = host.testbed(
            log, ['--icount', '--memory=4096', '--timeout=7200'],
            [os.path.join(host.ROOT, 'scripts/bench/memslots-l1.sh'), str(number), part,
             self.slots, str(UPSTREAM_MAX)])
        if status:
            self.note(f'{what}: the testbed ended with status {status} ({log})')
        self.take_runs(log, what, part, {'part': part, 'round': number})

    def stats_of(self, part, table):
        return figures.summarize(table_figures(table, self.runs[part]), BASE, self.rounds)

    def head(self):
        return {'qemu': host.version('qemu', 'qemu')}

    def stats(self):
        return [{'part': part, 'table': table, 'slots': stat.group, 'row': stat.row,
                 'runs': stat.runs, 'failed': stat.failed,
                 **figures.json_range(('median_us', 'least', 'most'), stat.values),
                 **figures.json_range(('ratio',), stat.ratios)}
                for part in self.parts for table in tables_of(part)
                for stat in self.stats_of(part, table)]

    def about(self):
        return (f"L1: Linux {host.version('linux', 'linux')}, one emulated CPU whose clock counts\n"
                f'instructions, 1 ns each; {self.rounds} rounds: median (least..most)')

    def show(self, part):
        for table in tables_of(part):
            stats = self.stats_of(part, table)
            if part == 'seed':
                host.say(f'\n{WHAT[part]}\n')
            else:
                each = '' if table.endswith('one') else ' for each'
                host.say(f'\n{WHAT[part]}: {table}, us{each}\n')
            for line in figures.table(stats, 'memslots', 'us', BASE, width=30):
                host.say(line)
            host.plot(f"bench-memslots-{part}-{table.replace(' ', '-')}",
                      f'{WHAT[part]}: {table}',
                      {row: [(stat.group, stat.values) for stat in stats
                             if stat.row == row and stat.values]
                       for row in figures.order(stats, 'row')},
                      'set xlabel "memory regions"\nset ylabel "us"\n'
                      'set logscale xy 10\nset yrange [*:*]')
        if part != 'seed':
            host.say(f'\n{WHAT[part]}: what is to be small\n')
            self.show_goals(part)

    def show_goals(self, part):
        """The ratios that are to be kept small, as far as they were measured."""
        medians = {(table, stat.row, stat.group): stat.values.median
                   for table in TABLES for stat in self.stats_of(part, table) if stat.values}
        for text, of, to, goal in GOALS:
            if medians.get(of) and medians.get(to):
                host.say(f'  {text:66} {medians[of] / medians[to]:7.3f}  (goal: {goal})')
