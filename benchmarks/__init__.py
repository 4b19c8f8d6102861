"""The benchmarking harness, with one folder for each subject, and its commands.

`api` is the Python interface; `run`, `evaluate`, `sweep`, `compare`, `study`, `prepare`, `perf` and `pretrain` are
commands, which no other module imports. `studies` holds the questions that runs answer. A run takes its settings from
`config` (defaults from `recipes`) and its tasks from `streams` (built on `datasets` and `images`). `experiment` loads the
model, trains, tests and measures, and writes the run folder through `runs`; `comparison` reads run folders. The harness
knows methods only by their name and through `strategies.base`.
"""

import sys


__version__ = "0.4.0"

if sys.platform == "win32":  # locks, signals and memory are POSIX's here
    sys.stderr.write("error: nusa-bench runs on Linux and macOS; on Windows, run it in WSL\n")
    sys.exit(2)
