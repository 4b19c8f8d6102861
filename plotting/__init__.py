"""Figures of run folders, one file for each figure; files are discovered, not listed.

This package draws with matplotlib the groups of runs of `benchmarks.comparison`. It imports no torch, Avalanche or
method.
"""

import sys

from benchmarks.config.errors import UserError
from benchmarks.config.terminal import say_error
from benchmarks.runtime.environment import import_matplotlib


try:
    import_matplotlib()  # before a figure does, which imports it as it is
except UserError as error:  # while this package is imported no command is there to catch it
    say_error(error)
    sys.exit(2)
