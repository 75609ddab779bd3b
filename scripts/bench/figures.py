# SPDX-License-Identifier: GPL-2.0-or-later
"""
Statistics of what was measured in several rounds, and tables of them.

A table has rows (what is compared: mechanisms, QEMUs) and groups (under which
condition: vCPUs, memslots). Rows and groups keep the order in which they were
first measured.
"""

import collections
import statistics

# One run. A value of None stands for a run that failed.
Figure = collections.namedtuple('Figure', 'round group row value')

# values and ratios are Ranges, or None without any.
Stat = collections.namedtuple('Stat', 'group row runs failed values ratios')

Range = collections.namedtuple('Range', 'median least most')


def spread(values):
    """The Range of a list; None if it is empty."""
    if not values:
        return None
    return Range(statistics.median(values), min(values), max(values))


def summarize(figures, base, expected=0):
    """
    A Stat for each row of each group.

    With fewer than expected runs of a row, the missing ones count as failed.
    A ratio compares a row with the row base of its group. It is the median of
    the ratios of the rounds: whatever slowed a round slowed both.
    """
    runs = {}
    for figure in figures:
        runs.setdefault((figure.group, figure.row), []).append(figure)
    good = {key: {run.round: run.value for run in of if run.value is not None}
            for key, of in runs.items()}

    stats = []
    for (group, row), of in runs.items():
        of_base = good.get((group, base), {})
        values = [run for run in of if run.value is not None]
        ratios = [run.value / of_base[run.round] for run in values
                  if of_base.get(run.round, 0) > 0]
        total = max(len(of), expected)
        stats.append(Stat(group, row, total, total - len(values),
                          spread([run.value for run in values]), spread(ratios)))
    return stats


def order(stats, member):
    """The values of one member of stats, each once."""
    return list(dict.fromkeys(getattr(stat, member) for stat in stats))


def json_number(x):
    """With ten digits, and no fraction where there is none."""
    x = float(f'{x:.10g}')
    return int(x) if x.is_integer() else x


def json_range(names, values):
    """The members of values for a JSON object, each with its name."""
    return {name: None if values is None else json_number(x) for name, x in
            zip(names, values or (None, None, None))}


def three_digits(x):
    if x >= 100:
        return f'{x:.0f}'
    return f'{x:.1f}' if x >= 10 else f'{x:.2f}'


def show(values):
    """'median (least..most)', or '-' without any"""
    if values is None:
        return '-'
    return (f'{three_digits(values.median)} '
            f'({three_digits(values.least)}..{three_digits(values.most)})')


def medians(stats, group_name, value_name, width):
    """The lines of a table of the medians: a column for each group."""
    cells = {(stat.group, stat.row): stat for stat in stats}
    groups = order(stats, 'group')

    def cell(group, row):
        stat = cells.get((group, row))
        if not stat:
            return ''
        return three_digits(stat.values.median) if stat.values else '-'

    heading = f"{'median ' + value_name:{width + 2}}"
    yield heading + ''.join(f' {group:>9}' for group in groups) + '  ' + group_name
    for row in order(stats, 'row'):
        line = f'  {row:{width}}' + ''.join(f' {cell(group, row):>9}' for group in groups)
        yield line.rstrip()


def details(stats, group, heading, value_name, base, width, seed):
    """The lines of one group: a row each, with spread and ratio."""
    yield ''
    yield (f"{heading:{width + 2}} {value_name:26} {'x ' + base:20} "
           f"{'seed' if seed else ''}").rstrip()
    for stat in stats:
        if stat.group != group:
            continue
        failures = f'  {stat.failed} of {stat.runs} runs failed' if stat.failed else ''
        other = seed.get((str(group), stat.row), '')
        yield (f'  {stat.row:{width}} {show(stat.values):26} {show(stat.ratios):20} '
               f'{other}{failures}').rstrip()


def table(stats, group_name, value_name, base, width=20, seed=None):
    """
    The lines of a table: first the medians, then each group by itself.

    Without a group_name the medians are left out. seed has the ratios of
    others, as text, by group and row. width is that of the rows' names.
    """
    if group_name:
        yield from medians(stats, group_name, value_name, width)
    for group in order(stats, 'group'):
        heading = f'{group_name}: {group}' if group_name else str(group)
        yield from details(stats, group, heading, value_name, base, width, seed or {})
