"""Answers a question by many runs: `python -m benchmarks.study NAME`. Its runs, then its figure and its page."""

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from benchmarks.comparison.collection import Runs, load
from benchmarks.config.command_line import place_options
from benchmarks.config.errors import UserError
from benchmarks.config.registry import ROOT
from benchmarks.config.settings import default_data_root
from benchmarks.config.terminal import Command, Place, plain, say
from benchmarks.experiment.besides import besides
from benchmarks.studies import base, page
from benchmarks.studies.base import Named
from benchmarks.sweep import console, door
from benchmarks.sweep.options import Options
from plotting import style


RESULTS, FINDINGS = Path("results", "studies"), Path("docs", "findings")
HELP = """Do the runs of a study, draw its figure, and renew its page.

NAME is that of a file in benchmarks/studies; --list names all with their questions. Finished runs are not done again, and
interrupted ones go on after their last finished task, when the same command is given again.

In a checkout of this repository the figure is docs/findings/NAME.png and the page docs/findings/NAME.md; with --quick,
--stream, --model or --results, or elsewhere, they lie beside the run folders.
"""


@dataclass(frozen=True)
class Asked:
    """A study as it was asked for.

    Attributes:
        named: the study.
        stream, model: as named on the command line; None for the study's own.
        quick: whether it is the small grid.
        results: the folder of the run folders.
        findings: the folder of figure and page.
        options: `--data-root` and `--cache`.
    """

    named: Named
    stream: str | None
    model: str | None
    quick: bool
    results: Path
    findings: Path
    options: dict[str, Any]

    def plan(self, *, opened: bool, other: bool = False) -> door.Plan:
        """Returns the runs as a sweep, and where they stand.

        Args:
            opened: whether the streams are opened, to see whether their data are there.
            other: whether it is the other grid: the large one with `--quick`, and the small one without.
        """
        root = self.options["data_root"]
        shared = door.shared_by_all(
            self.results,
            besides(self.named.study.measure, probe=self.named.study.probe),
            data_root=None if root == default_data_root() else root,
            cache=self.options["cache"],
        )
        return door.plan(
            self.named.blocks(self.stream, self.model, quick=self.quick is not other), shared, opened=opened
        )

    def check_unmixed(self) -> None:
        """Raises UserError if the results folder has runs of the other grid."""
        if {each.state for each in self.plan(opened=False, other=True).standings} != {"to do"}:
            there = f"runs of {self.named.name} {'without ' if self.quick else 'with '}--quick"
            raise UserError(f"--results {self.results}: has {there}; name another folder")


def _show_list(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        for name, question in base.questions().items():
            click.echo(f"{name:<20} {question}")
        context.exit()


@click.command("python -m benchmarks.study", cls=Command, help=HELP, params=[*place_options()])
@click.argument("name")
@click.option(
    "--list",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_show_list,
    help="list the studies, and do nothing",
)
@click.option("--quick", is_flag=True, help="a few short runs, a minute in all, to see whether everything works")
@click.option("--stream", metavar="NAME", help="one of the streams that the study is made for  [its first]")
@click.option("--model", metavar="NAME", help="of every run, as in benchmarks.run  [the stream's]")
@click.option(
    "--results",
    type=Place(),
    metavar="DIR",
    help="folder in which run folders are made  [results/studies/NAME; with --quick a temporary one]",
)
@click.option("--status", is_flag=True, help="count the runs by where they stand, list those that failed, do nothing")
@click.option(
    "--page", "only_page", is_flag=True, help="print the page's tables from the runs there are, and do no run"
)
@click.option("--retry-failed", is_flag=True, help="try those again that failed")
def main(name: str, status: bool, only_page: bool, retry_failed: bool, **options: Any) -> None:
    """Parses the command, and does what it says."""
    if status and only_page:
        raise UserError("--status, --page: one of them at a time")
    asked = _asked(base.find(name), options, is_new=not (status or only_page))
    if only_page:
        print(page.tables(asked.named, _finished(asked)), end="")
    elif status:
        console.show_status(asked.plan(opened=False))
    else:
        asked.check_unmixed()
        plan = asked.plan(opened=True)
        console.say_remarks(plan)
        if console.do(plan, Options(), retry_failed=retry_failed):
            sys.exit(1)
        _write(asked)


def _asked(named: Named, options: dict[str, Any], *, is_new: bool) -> Asked:
    stream, model, quick, results = (options.pop(each) for each in ("stream", "model", "quick", "results"))
    checkout = (ROOT / FINDINGS).is_dir()
    findings = None
    if results is None and quick:
        if not is_new:
            raise UserError("--quick: name the folder of its runs with --results")
        results = Path(tempfile.mkdtemp(prefix=f"nusa-bench-{named.name}-"))
    elif results is None:
        results = (ROOT if checkout else Path()) / RESULTS / named.name
        if checkout and stream in (None, named.stream) and model is None:
            findings = ROOT / FINDINGS
    return Asked(named, stream, model, quick, results, findings or results, options)


def _finished(asked: Asked) -> Runs:
    """The runs of the study; raises UserError if some are not finished."""
    plan = asked.plan(opened=False)
    pairs = zip(plan.cells, plan.standings, strict=True)
    if missing := [cell.name for cell, each in pairs if each.state != "finished"]:
        raise UserError(
            f"{asked.results}: {len(missing)} of {len(plan.cells)} runs are not there or not finished, first {missing[0]}; "
            f"python -m benchmarks.study {asked.named.name} does them"
        )
    runs = load([cell.folder for cell in plan.cells])
    if runs.left_out:
        raise UserError(runs.left_out[0])
    return runs


def _write(asked: Asked) -> None:
    """Writes figure and page, and prints their paths."""
    runs = _finished(asked)
    figure, text = (asked.findings / f"{asked.named.name}.{suffix}" for suffix in ("png", "md"))
    style.save(asked.named.study.figure(runs), figure)
    page.renew(asked.named, text, page.tables(asked.named, runs))
    for path in (figure, text):
        print(plain(str(path)))
    if asked.findings == ROOT / FINDINGS:
        say(
            f"note: python -m benchmarks.runs.pack --together {asked.results} packs the runs, to commit them with the page"
        )


if __name__ == "__main__":
    main()
