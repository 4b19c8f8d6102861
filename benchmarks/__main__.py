"""The command `nusa-bench COMMAND ...`, equal to `python -m benchmarks.COMMAND ...` but independent of the current
folder.
"""

import runpy
import sys
from pathlib import Path

import click

from benchmarks import __version__
from benchmarks.config.terminal import call_it, guard_output, say, say_error


COMMANDS = {
    "run": ("benchmarks.run", "train CLIP on a stream of tasks with one strategy"),
    "sweep": ("benchmarks.sweep", "do every run of a grid, on this machine or a Ray cluster"),
    "evaluate": ("benchmarks.evaluate", "test a model on every task of a stream, without training it"),
    "compare": ("benchmarks.compare", "make tables that compare run folders"),
    "study": ("benchmarks.study", "answer a question by many runs, with a table and a figure"),
    "report": ("plotting.report", "write one page about run folders, with tables and figures"),
    "plot": ("plotting", "redraw the plots of run folders; `plot rank`, `plot curves`, ...: one figure of many runs"),
    "prepare": ("benchmarks.prepare", "check a stream's data, and download or cache what is missing"),
    "perf": ("benchmarks.perf", "measure speed and memory"),
    "sensitivity": ("benchmarks.sensitivity", "test a model with parts of its weights' spectra taken out or changed"),
    "pretrain": ("benchmarks.pretrain", "pretrain the micro CLIP from scratch"),
}
HELP = "usage: {} COMMAND ...  (COMMAND --help says more)\n\n" + "\n".join(
    f"  {name:<11} {meaning}" for name, (_, meaning) in COMMANDS.items()
)


def main() -> None:
    """Runs the command that the first argument names, with the other arguments."""
    guard_output()
    called = "nusa-bench" if Path(sys.argv[0]).stem == "nusa-bench" else "python -m benchmarks"
    name, *words = sys.argv[1:] or ["--help"]
    if name in COMMANDS:
        call_it(f"{called} {name}")
        sys.argv = [called, *words]
        runpy.run_module(COMMANDS[name][0], run_name="__main__", alter_sys=True)
    elif name in ("--version", "--help", "-h"):
        try:
            click.echo(f"nusa-bench {__version__}" if name == "--version" else HELP.format(called))
        except OSError as error:  # a full disk, or nobody who reads
            say_error(error)
            sys.exit(2)
    else:
        say(f'error: no command "{name}"; there are {", ".join(COMMANDS)}')
        sys.exit(2)


if __name__ == "__main__":
    main()
