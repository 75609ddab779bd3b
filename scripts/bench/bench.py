#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
bench.py BENCHMARK [PART]... [ROUNDS]: runs one of the benchmarks in L1, all ways
that it compares in turn, ROUNDS times.

Prints tables; all figures go to build/bench-BENCHMARK.json, and plots next to it,
where there is gnuplot. Ends with 1 if a run failed or is missing.
"""

import argparse
import glob
import os
import re
import sys
import textwrap

sys.dont_write_bytecode = True
# pylint: disable=wrong-import-position
import host
from async_pf import AsyncPf
from memslots import Memslots
from postcopy import Postcopy
from userfault import Userfault


class Parser(argparse.ArgumentParser):
    def error(self, message):
        host.die(self.format_usage().rstrip())


def check_arch(kind):
    """Ends if a benchmark cannot run in L1 of the wanted architecture."""
    if host.ARCH not in ('x86_64', 'aarch64'):
        host.die(f'ARCH={host.ARCH}: known are x86_64 and aarch64')
    if not host.IS_AARCH64:
        return
    if kind not in (Userfault, Postcopy):
        host.die(f'{kind.NAME} is for x86_64')
    if not host.succeeds('has_target', host.ARCH):
        host.die('ARCH=aarch64: the target list of configure has no aarch64-softmmu')


def parse():
    """The benchmark that the command line asks for."""
    parser = Parser(usage='%(prog)s BENCHMARK [PART]... [ROUNDS]', description=__doc__,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(metavar='BENCHMARK', required=True)
    for kind in Userfault, Postcopy, Memslots, AsyncPf:
        parts = ''.join(textwrap.fill(f'{name:8}{what}', 78, initial_indent='  ',
                                      subsequent_indent=' ' * 10) + '\n'
                        for name, what in kind.PARTS.items())
        command = commands.add_parser(
            kind.NAME, help=kind.SUMMARY, description=kind.SUMMARY,
            usage=f"{parser.prog} {kind.NAME} [{'|'.join(kind.PARTS)}]... [ROUNDS]",
            epilog=f'parts (default: all of them):\n{parts}\n{kind.EPILOG}',
            formatter_class=argparse.RawDescriptionHelpFormatter)
        command.add_argument('words', nargs='*', metavar='PART|ROUNDS',
                             help=f'a part, or how many rounds (default: {kind.ROUNDS})')
        command.set_defaults(kind=kind, command=command)

    args = parser.parse_args()
    kind, parts, rounds = args.kind, [], args.kind.ROUNDS
    for word in args.words:
        if word in kind.PARTS and word not in parts:
            parts.append(word)
        elif re.fullmatch('[1-9][0-9]*', word):
            rounds = int(word)
        else:
            args.command.error(word)
    check_arch(kind)
    return kind(parts or list(kind.PARTS), rounds)


def main():
    # As in scripts/common.sh
    os.environ['LC_ALL'] = 'C.UTF-8'
    for name in 'MAKEFLAGS', 'MFLAGS', 'MAKELEVEL', 'QUILT_PATCHES':
        os.environ.pop(name, None)
    bench = parse()

    # What an earlier call left would pass for this one's, should this one fail.
    result = os.path.join(host.BUILD, f'bench-{bench.NAME}.json')
    for old in [result, *glob.glob(os.path.join(host.BUILD, f'bench-{bench.NAME}-*.svg'))]:
        if os.path.exists(old):
            os.remove(old)
    os.makedirs(host.LOGS, exist_ok=True)
    os.chdir(host.ROOT)

    bench.build()
    machine, before = host.machine(), host.load()
    for part, number in bench.turns():
        bench.measure_round(part, number)
    bench.check()
    after = host.load()

    stats = bench.stats()
    host.write_json(
        result,
        {'machine': machine, 'kernel': host.version('linux', 'linux'), **bench.head(),
         'rounds': bench.rounds, 'load_before': before, 'load_after': after},
        {'notes': bench.notes, **({} if stats is None else {'stats': stats}),
         'runs': [run for part in bench.parts for run in bench.runs[part]]})

    host.say(f'machine: {machine}; load before: {before}, after: {after}')
    host.say(bench.about())
    for part in bench.parts:
        bench.show(part)
    host.say()
    if not host.have_gnuplot():
        host.say('no gnuplot: plots skipped (package gnuplot-nox)')
    host.say('The same figures as JSON: ' + os.path.relpath(result, host.ROOT))
    if bench.notes:
        host.say('\nWhat failed:')
        for note in bench.notes:
            host.say('  ' + note)
        return 1
    return 0


try:
    sys.exit(main())
except KeyboardInterrupt:
    sys.exit(130)
