#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
test-summary.py TESTLOG.json LOGDIR STATUS

Sums up a run of "meson test" from Meson's log: the slowest tests, what was skipped
and why, what failed, with the end of its output and the log that has it all, and in
the last line the count. A TAP program counts by its cases, any other as one.

Fails if a test failed, if nothing ran, or if "meson test" failed (STATUS is not 0)
although no test did: then it has not run all of them.
"""

import collections
import json
import os
import re
import sys

TAP_LINE = re.compile(r'^(not )?ok\b\s*\d*\s*(?:- )?(.*?)(?:\s*#\s*(SKIP|TODO)\b\s*(.*))?$',
                      re.IGNORECASE)
# GLib prints this for each case that takes more than half a second, and
# testbed/run-tests.sh for each program.
TIME_LINE = re.compile(r'^# slow test (\S+) executed in ([0-9.]+) secs')
# GLib prints this for -p with a path that no case has. Meson considers it a skip.
EMPTY_PLAN = re.compile(r'^1\.\.0\s*$', re.MULTILINE)
# Exit statuses of testbed/no-reports.sh, and of the testbed (see testbed --help)
TESTBED_STATUS = {123: "L1's kernel reported a mistake",
                  124: 'timed out in L1', 125: 'the testbed itself failed'}

END_LINES = 12
SLOWEST = 10


class Summary:
    def __init__(self):
        self.passed = 0
        self.failed = []
        self.skipped = []
        self.times = []

    def add_times(self, test):
        """Notes how long each case took, or the program if its cases do not say."""
        name = test['name']
        found = filter(None, map(TIME_LINE.match, test.get('stdout', '').splitlines()))
        cases = [(float(line[2]), f'{name}: {line[1]}') for line in found]
        self.times += cases or [(test['duration'], name)]

    def add_tap(self, name, output):
        """Counts the cases of one TAP program; returns whether any failed."""
        any_failed = False
        for line in output.splitlines():
            found = TAP_LINE.match(line)
            if not found:
                continue
            bad, case, directive, reason = found.groups()
            title = f'{name}: {case}' if case else name
            if directive and directive.upper() == 'SKIP':
                self.skipped.append((title, reason or 'no reason given'))
            elif bad and not directive:
                self.failed.append((title, 'not ok'))
                any_failed = True
            else:
                self.passed += 1
        return any_failed

    def add(self, test):
        name, result = test['name'], test['result']
        output = test.get('stdout', '')
        cases = any(TAP_LINE.match(line) for line in output.splitlines())
        if not cases and EMPTY_PLAN.search(output):
            self.failed.append((name, 'no such test case'))
            return
        if cases and self.add_tap(name, output):
            return
        if result == 'SKIP':
            if not cases:
                self.skipped.append((name, skip_reason(output)))
        elif result == 'OK':
            if not cases:
                self.passed += 1
        else:
            status = TESTBED_STATUS.get(test.get('returncode'))
            self.failed.append((name, status or why(result, test)))


def why(result, test):
    if result == 'TIMEOUT':
        return f"no end after {test['duration']:.0f} s"
    for line in test.get('stdout', '').splitlines():
        if line.startswith('Bail out!'):
            return line
    return f"{result.lower()}, exit status {test.get('returncode')}"


def skip_reason(output):
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for line in lines:
        if re.search(r'skip', line, re.IGNORECASE):
            return line
    return lines[-1] if lines else 'no reason given'


def write_log(logdir, test):
    """Writes a test's output to a file; returns its path."""
    path = os.path.join(logdir, re.sub(r'[^A-Za-z0-9.-]+', '_', test['name']) + '.log')
    with open(path, 'w', encoding='utf-8') as log:
        log.write('$ ' + ' '.join(test['command']) + '\n')
        log.write(test.get('stdout', ''))
        log.write(test.get('stderr', ''))
    return path


def show_end(log):
    """Prints the end of a failed test's log: not every reader has the log."""
    with open(log, encoding='utf-8') as lines:
        for line in collections.deque(lines, END_LINES):
            print('        | ' + line.rstrip())


def main():
    testlog, logdir, status = sys.argv[1:]
    os.makedirs(logdir, exist_ok=True)
    summary = Summary()
    logs = {}
    with open(testlog, encoding='utf-8') as lines:
        for line in lines:
            test = json.loads(line)
            logs[test['name']] = write_log(logdir, test)
            summary.add(test)
            summary.add_times(test)

    if status != '0' and not summary.failed:
        summary.failed.append(('meson test',
                               f'ended with status {status}: not all tests were run'))

    print('slowest:')
    for seconds, title in sorted(summary.times, reverse=True)[:SLOWEST]:
        print(f'    {seconds:6.1f} s  {title}')
    if summary.skipped:
        print('skipped:')
        for title, reason in summary.skipped:
            print(f'    {title}: {reason}')
    if summary.failed:
        print('failed:')
        shown = set()
        for title, reason in summary.failed:
            print(f'    {title}: {reason}')
            log = logs.get(title) or logs.get(title.split(': ')[0])
            if log and log not in shown:
                print(f'        {os.path.relpath(log)}')
                show_end(log)
                shown.add(log)
    print(f'{summary.passed} passed, {len(summary.failed)} failed')
    return 1 if summary.failed or not summary.passed else 0


sys.exit(main())
