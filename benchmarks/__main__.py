"""The command `nusa-bench COMMAND ...`, equal to `python -m benchmarks.COMMAND ...` but independent of the current
folder.
"""

import runpy
import sys

from benchmarks import __version__
from benchmarks.config.terminal import say
from plotting.found import commands


COMMANDS = {
    "run": ("benchmarks.run", "train CLIP on a stream of tasks with one strategy"),
    "compare": ("benchmarks.compare", "make tables that compare run folders"),
    "report": ("plotting.report", "write one page about run folders, with tables and figures"),
    "plot": ("plotting", "redraw the plots of run folders; `plot rank`, `plot curves`, ...: one figure of many runs"),
    "prepare": ("benchmarks.prepare", "check a stream's data, and download or cache what is missing"),
    "perf": ("benchmarks.perf", "measure speed and memory"),
    "pretrain": ("benchmarks.pretrain", "pretrain the micro CLIP from scratch"),
}
HELP = "\n".join(["usage: nusa-bench COMMAND ...  (COMMAND --help says more)", ""] + [
    f"  {name:<9} {meaning}" for name, (_, meaning) in COMMANDS.items()
])  # fmt: skip


def main() -> None:
    """Runs the command that the first argument names, with the other arguments."""
    name, *words = sys.argv[1:] or ["--help"]
    if name == "--version":
        print(f"nusa-bench {__version__}")
        return
    if name in ("--help", "-h"):
        print(HELP)
        return
    if name not in COMMANDS:
        say(f'error: no command "{name}"; there are {", ".join(COMMANDS)}')
        sys.exit(2)
    module, _ = COMMANDS[name]
    if name == "plot" and words and words[0] in commands():
        module, words = f"plotting.{words[0]}", words[1:]
    sys.argv = [f"nusa-bench {name}", *words]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
