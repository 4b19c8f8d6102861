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
from benchmarks.runtime.environment import ready_for_avalanche
from benchmarks.studies import base, data, page
from benchmarks.studies.base import Named, Row
from benchmarks.sweep import console, door
from benchmarks.sweep.options import Options
from plotting import style


RESULTS, FINDINGS = Path("results", "studies"), Path("docs", "findings")
HELP = """Do the runs of a study, draw its figure, and renew its page.

NAME is that of a file in benchmarks/studies; --list names all with their questions. Finished runs are not done again, and
interrupted ones go on after their last finished task, when the same command is given again.

In a checkout of this repository the figure is docs/findings/NAME.png and the page docs/findings/NAME.md; with --quick,
--stream, --model, --pretrained or --results, or elsewhere, they lie beside the run folders.
"""


@dataclass(frozen=True)
class Asked:
    """A study as it was asked for.

    Attributes:
        named: the study.
        stream: as named on the command line; None for the study's own.
        also: `model` and `pretrained`, as far as they are named.
        quick: whether it is the small grid.
        results: the folder of the run folders.
        findings: the folder of figure and page.
        options: `--data-root` and `--cache`.
    """

    named: Named
    stream: str | None
    also: dict[str, str]
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
            self.named.blocks(self.stream, self.also, quick=self.quick is not other), shared, opened=opened
        )

    @property
    def trains(self) -> bool:
        """Whether there are runs; a study may only measure."""
        return bool(self.named.blocks(self.stream, quick=self.quick))

    @property
    def cells(self) -> list[Row]:
        """What is measured besides the runs."""
        return self.named.cells(self.also, quick=self.quick)

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
@click.option("--pretrained", metavar="TAG|FILE", help="weights of the model, as in benchmarks.run")
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
        print(page.tables(asked.named, *_finished(asked)), end="")
    elif status:
        _show_status(asked)
    else:
        if asked.trains:
            _do_runs(asked, retry_failed=retry_failed)
        if asked.named.study.data:
            with ready_for_avalanche():
                data.measure(asked.named.study.data, asked.cells, asked.results, asked.options)
        _write(asked)


def _show_status(asked: Asked) -> None:
    if asked.trains:
        console.show_status(asked.plan(opened=False))
    if cells := asked.cells:
        print(f"{len(cells)} cells: {len(cells) - len(data.left(cells, asked.results))} measured")


def _do_runs(asked: Asked, *, retry_failed: bool) -> None:
    """Does the runs that are not finished; ends the process with status 1 if some failed."""
    asked.check_unmixed()
    plan = asked.plan(opened=True)
    console.say_remarks(plan)
    if console.do(plan, Options(), retry_failed=retry_failed):
        sys.exit(1)


def _asked(named: Named, options: dict[str, Any], *, is_new: bool) -> Asked:
    stream, quick, results = (options.pop(each) for each in ("stream", "quick", "results"))
    also = {name: value for name in ("model", "pretrained") if (value := options.pop(name)) is not None}
    checkout = (ROOT / FINDINGS).is_dir()
    findings = None
    if results is None and quick:
        if not is_new:
            raise UserError("--quick: name the folder of its runs with --results")
        results = Path(tempfile.mkdtemp(prefix=f"nusa-bench-{named.name}-"))
    elif results is None:
        results = (ROOT if checkout else Path()) / RESULTS / named.name
        if checkout and stream in (None, named.stream) and not also:
            findings = ROOT / FINDINGS
    return Asked(named, stream, also, quick, results, findings or results, options)


def _finished(asked: Asked) -> tuple[Runs, list[Row]]:
    """The runs of the study and what it measured besides; raises UserError if some is not finished."""
    return _runs(asked) if asked.trains else Runs([]), data.rows(asked.cells, asked.results)


def _runs(asked: Asked) -> Runs:
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
    named, finished = asked.named, _finished(asked)
    figure, text = (asked.findings / f"{asked.named.name}.{suffix}" for suffix in ("png", "md"))
    style.save(named.make(named.study.figure, *finished), figure)
    page.renew(named, text, page.tables(named, *finished))
    for path in (figure, text):
        print(plain(str(path)))
    if asked.findings == ROOT / FINDINGS and asked.trains:
        say(
            f"note: python -m benchmarks.runs.pack --together {asked.results} packs the runs, to commit them with the page"
        )


if __name__ == "__main__":
    main()
