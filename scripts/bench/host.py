# SPDX-License-Identifier: GPL-2.0-or-later
"""
What all benchmarks use of the build machine: shell functions of the build,
ninja, the testbed, gnuplot.
"""

import json
import os
import shutil
import subprocess
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), '../..'))
BUILD = os.path.join(ROOT, 'build')
LOGS = os.path.join(BUILD, 'logs')
TESTBED = os.path.join(BUILD, 'meson/testbed/testbed')

# L1's, and so its guests', by make's ARCH
ARCH = os.environ.get('POSTERN_ARCH') or 'x86_64'
IS_AARCH64 = ARCH == 'aarch64'
if IS_AARCH64:
    OURS, STOCK = (os.path.join(BUILD, tree, 'out') for tree in ('qemu-arm64', 'qemu-arm64-stock'))
    OUR_KERNEL = os.path.join(BUILD, 'linux-arm64/out/arch/arm64/boot/Image')
    GUEST = 'testbed/guest/guest-aarch64.cpio'
    # What all benchmarks need, for ninja
    KERNEL_TARGETS = ['linux-arm64.stamp', 'qemu-aarch64.stamp', 'testbed/testbed',
                      'testbed/initramfs-aarch64.gz']
    QEMU_TARGET, SELFTESTS_TARGET = 'qemu-arm64.stamp', 'selftests-arm64.stamp'
    STOCK_VARIANT = '--arm64-stock'
else:
    OURS, STOCK = (os.path.join(BUILD, tree, 'out') for tree in ('qemu', 'qemu-stock'))
    OUR_KERNEL = os.path.join(BUILD, 'linux/out/arch/x86/boot/bzImage')
    GUEST = 'testbed/guest/guest.cpio'
    KERNEL_TARGETS = ['linux.stamp', 'qemu.stamp', 'testbed/testbed', 'testbed/initramfs.gz']
    QEMU_TARGET, SELFTESTS_TARGET = 'qemu.stamp', 'selftests.stamp'
    STOCK_VARIANT = '--stock'
OUR_QEMU, STOCK_QEMU = (os.path.join(out, 'qemu-system-' + ARCH) for out in (OURS, STOCK))


def say(text=''):
    print(text, flush=True)


def warn(text):
    print('warning: ' + text, file=sys.stderr, flush=True)


def progress(text):
    print('    ' + text, file=sys.stderr, flush=True)


def die(text):
    sys.exit('bench.py: ' + text)


# To be followed by a function of the build's scripts and its arguments
FUNCTION = ['sh', '-euc', '''root=$1; shift
    . "$root/scripts/common.sh"; . "$root/scripts/setup/trees.sh"; "$@"''', 'bench.py', ROOT]


def shell(*words):
    """Runs a function of the build's scripts; returns its output, '' if it fails."""
    done = subprocess.run(FUNCTION + list(words), stdout=subprocess.PIPE, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ''


def succeeds(*words):
    """Does a function of the build's scripts succeed?"""
    return subprocess.run(FUNCTION + list(words), check=False).returncode == 0


def machine():
    """The machine in one line, also where not all processors are the same."""
    return shell('machine').replace('\n', '/')


def load():
    return shell('load')


def version(kind, tree):
    """The upstream version of a prepared tree."""
    number = shell('tree_version', kind, os.path.join(BUILD, tree, 'src'))
    return number or die(f'build/{tree}/src is no tree of {kind}')


def cpus():
    return int(subprocess.run(['nproc'], stdout=subprocess.PIPE, text=True, check=True).stdout)


def run(*command):
    """Runs a step of the build, which says itself what goes wrong."""
    if subprocess.run(command, check=False).returncode:
        sys.exit(1)


def ninja(*targets):
    if subprocess.run(['ninja', '-C', os.path.join(BUILD, 'meson'), '--quiet', *targets],
                      check=False).returncode:
        die('the build failed')


def testbed(log, options, command):
    """Runs a command in L1 with its output in the file log; returns the status."""
    with open(log, 'wb') as output:
        return subprocess.run([TESTBED, '--arch=' + ARCH, *options, '--', *command], stdout=output,
                              stderr=subprocess.STDOUT, check=False).returncode


def read_log(log):
    """The lines of a log, and the runs among them: whole lines of JSON."""
    runs = []
    with open(log, encoding='utf-8', errors='replace') as file:
        lines = [line.rstrip('\r\n') for line in file]
    for line in lines:
        if line.startswith('{') and line.endswith('}'):
            try:
                runs.append((line, json.loads(line)))
            except ValueError:
                # Two programs wrote at once, or the end is missing.
                pass
    return lines, runs


def write_json(path, head, lists):
    """An object: head's members, then lists with each of their items on a line."""
    members = [f'  "{name}": {json.dumps(value)}' for name, value in head.items()]
    for name, items in lists.items():
        lines = ',\n'.join('    ' + json.dumps(item) for item in items)
        members.append(f'  "{name}": [\n{lines}\n  ]')
    with open(path, 'w', encoding='utf-8') as file:
        file.write('{\n' + ',\n'.join(members) + '\n}\n')


def have_gnuplot():
    return shutil.which('gnuplot') is not None


PLOT = '''
set terminal svg size 900,600 background "white"
set output "{path}"
set title "{title}"
set xlabel "vCPUs"
set logscale x 2
set yrange [0:*]
set grid
set key outside right
{commands}
$data << END
{data}END
plot for [i=0:{last}] $data index i \\
    using 1:2:3:4 with yerrorlines title columnheader(1)
'''


def plot(name, title, curves, commands=''):
    """
    Plots medians, with least and most, to build/NAME.svg.

    curves has lists of (x, Range) by their names. commands of gnuplot may
    change the axes. Nothing else depends on a plot.
    """
    if not have_gnuplot() or not any(curves.values()):
        return
    path = os.path.join(BUILD, name + '.svg')
    data = ''
    for curve, points in curves.items():
        data += f'"{curve}"\n'
        for x, values in points:
            data += f'{x} {values.median:.10g} {values.least:.10g} {values.most:.10g}\n'
        data += '\n\n'
    script = PLOT.format(path=path, title=title, commands=commands, data=data,
                         last=len(curves) - 1)
    if subprocess.run(['gnuplot'], input=script, text=True, check=False).returncode:
        if os.path.exists(path):
            os.remove(path)
        warn(f'no plot {name}: gnuplot failed')
        return
    say('plot: ' + os.path.relpath(path, ROOT))
