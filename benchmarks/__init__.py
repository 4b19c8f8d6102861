"""The benchmarking harness, a folder for each subject, and its commands.

`api` is the Python door; `run`, `compare`, `prepare`, `perf` and `pretrain` are commands, which nobody imports. A run goes
from `config` over `streams` (of `datasets` and `images`) and `backbones` to `experiment`, which calls `measurements` and
writes through `runs`; `comparison` reads what `runs` holds. It knows methods by name and by `strategies.base` alone.
"""

__version__ = "0.4.0"
