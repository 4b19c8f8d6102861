"""The command `nusa-bench COMMAND ...`, the same as `python -m benchmarks.COMMAND ...` from anywhere."""

import runpy
import sys

from plotting.found import commands


COMMANDS = {
    "run": ("benchmarks.run", "teach CLIP a stream of tasks with one strategy"),
    "compare": ("benchmarks.compare", "tables of run folders side by side"),
    "report": ("plotting.report", "one page of everything about some runs"),
    "plot": ("plotting", "the plots of run folders again; `plot rank`, `plot curves`, ...: one figure of many runs"),
    "prepare": ("benchmarks.prepare", "say what is there of a stream's data, and make the rest ready"),
    "perf": ("benchmarks.perf", "measure speed and memory"),
    "pretrain": ("benchmarks.pretrain", "pretrain the micro CLIP from nothing"),
}
HELP = "\n".join(["usage: nusa-bench COMMAND ...  (COMMAND --help says more)", ""] + [
    f"  {name:<9} {meaning}" for name, (_, meaning) in COMMANDS.items()
])  # fmt: skip


def main() -> None:
    """Runs the command named first, with the other words as its own."""
    name, *words = sys.argv[1:] or ["--help"]
    if name in ("--help", "-h"):
        print(HELP)
        return
    if name not in COMMANDS:
        print(f'error: no command "{name}"; there are {", ".join(COMMANDS)}', file=sys.stderr)
        sys.exit(2)
    module, _ = COMMANDS[name]
    if name == "plot" and words and words[0] in commands():
        module, words = f"plotting.{words[0]}", words[1:]
    sys.argv = [f"nusa-bench {name}", *words]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
