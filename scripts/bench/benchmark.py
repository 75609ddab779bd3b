# SPDX-License-Identifier: GPL-2.0-or-later
"""What each benchmark is made of; see bench.py for what is done with it."""

import os
import re

import host


class Benchmark:
    """
    A benchmark has parts, of which each is measured in several rounds.

    A subclass says what it is (NAME, PARTS, ROUNDS), builds what it needs,
    measures one round of a part, and shows what came out.
    """

    NAME = ''
    SUMMARY = ''
    PARTS = {}              # name: what it measures
    ROUNDS = 3
    EPILOG = ''

    def __init__(self, parts, rounds):
        self.parts = parts
        self.rounds = rounds
        self.notes = []                             # what failed
        self.runs = {part: [] for part in parts}    # JSON objects

    def build(self):
        raise NotImplementedError

    def turns(self):
        """The order of the rounds: pairs of a part and a number from 1."""
        return [(part, number) for part in self.parts for number in self.numbers()]

    def measure_round(self, part, number):
        raise NotImplementedError

    def check(self):
        """Notes which figures are missing after all rounds."""
        stats = self.stats() or []
        for part in self.parts:
            lost = sum(stat['failed'] for stat in stats if stat['part'] == part)
            if lost:
                self.note(f'{part}: {lost} figures are missing, see the table')

    def head(self):
        """Members of the results that only this benchmark has."""
        return {}

    def stats(self):
        """JSON objects of statistics; None: the results have none."""
        return None

    def about(self):
        """A line or two on what the tables are of."""
        raise NotImplementedError

    def show(self, part):
        """Prints the tables of a part, and plots them."""
        raise NotImplementedError

    def numbers(self):
        return range(1, self.rounds + 1)

    def note(self, text):
        """What failed: shown at once, and again at the end."""
        host.progress(text)
        self.notes.append(text)

    def log(self, *words):
        """Where the output of something in L1 goes."""
        return os.path.join(host.LOGS, '-'.join(['bench', self.NAME, *map(str, words)]) + '.log')

    def take_runs(self, log, what, part, members):
        """
        Takes the runs out of the log of a script that ends with "all runs made".

        Each gets members before its own.
        """
        lines, runs = host.read_log(log)
        if not any(line.startswith('all runs made') for line in lines):
            self.note(f'{what}: runs are missing ({log})')
        for line, run in runs:
            if 'failed' in run:
                self.note(f'{what}: failed: {line}')
        self.runs[part] += [{**members, **run} for _, run in runs]


def numbers_from(variable, default):
    """A list of numbers, with commas between, from the environment; None if it is none."""
    text = os.environ.get(variable) or default
    return text if re.fullmatch(r'[0-9]+(,[0-9]+)*', text) else None
