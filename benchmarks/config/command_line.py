"""The command line of `benchmarks.run`: the options of every run, and the chosen strategy's own settings."""

import sys
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from benchmarks import __version__
from benchmarks.config import registry
from benchmarks.config.errors import UserError
from benchmarks.config.recipes import recipe
from benchmarks.config.registry import strategy_of
from benchmarks.config.resolve import read_file, settings_of, unknown_setting
from benchmarks.config.settings import COMMON_NAMES, DATA_ROOT, Common, default_data_root
from benchmarks.config.terminal import Place, program


def _type_name(annotation: Any) -> str:
    """How a setting's type reads in `--help`: `INT`, `tail|top|random`, `LIST`."""
    if typing.get_origin(annotation) is typing.Literal:
        return "|".join(map(str, typing.get_args(annotation)))
    if typing.get_origin(annotation) is tuple:
        return "LIST"
    kinds = [kind for kind in typing.get_args(annotation) or (annotation,) if kind is not type(None)]
    return "|".join(_kind_name(kind) for kind in kinds if typing.get_origin(kind) is not dict)


def _kind_name(kind: Any) -> str:
    if typing.get_origin(kind) is typing.Annotated:
        kind = typing.get_args(kind)[0]
    return "TEXT" if kind is str else getattr(kind, "__name__", str(kind)).upper()


def _option(name: str, field: Any, default: Any) -> click.Option:
    # No click type and no click default: `resolve` checks values of the command line and of files alike.
    shown = ",".join(default) if isinstance(default, (list, tuple)) else default
    if isinstance(default, dict):
        shown = ",".join(f"{task}={number}" for task, number in default.items()).removeprefix("default=")
    if field.annotation is bool:
        words = f"--{name.replace('_', '-')}"
        return click.Option([f"{words}/--no-{name.replace('_', '-')}"], default=None, help=field.description)
    text = field.description + (f"  [{shown}]" if shown is not None else "")
    return click.Option([f"--{name.replace('_', '-')}"], metavar=_type_name(field.annotation), help=text)


def _print_list(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        for kind in ("strategy", "stream"):
            click.echo({"strategy": "Strategies (--strategy)", "stream": "Streams (--stream)"}[kind])
            for name, source in sorted(registry.sources(kind).items()):
                click.echo(f"  {name:<16} {source.summary}")
        context.exit()


def place_options() -> list[click.Option]:
    """Returns the options that `benchmarks.run` and `benchmarks.prepare` share, as click options.

    They are `--data-root`, the folder of the published data sets, and `--cache`, the folder for decoded images.
    """
    return [
        click.Option(
            ["--data-root"],
            type=Place(),
            default=default_data_root,
            help=f"folder of the published data sets  [{DATA_ROOT}, or $NUSA_BENCH_DATA]",
        ),
        click.Option(
            ["--cache"],
            type=Place(),
            help="folder for decoded images, shared by all runs  [the user's cache folder, or $NUSA_BENCH_CACHE]",
        ),
    ]


def _harness_options() -> list[click.Parameter]:
    """Returns the options that say how to run; none of them changes a metric."""
    return [
        click.Option(["--config"], type=Place(), metavar="FILE", help="YAML file with any of these settings"),
        *place_options(),
        click.Option(
            ["--reference-images"],
            type=Place(),
            metavar="DIR",
            help="auxiliary images, for methods that need some; the micro CLIP has its own",
        ),
        click.Option(
            ["--reference-texts"],
            type=Place(),
            metavar="FILE",
            help="auxiliary captions, for methods that need some; one in each line",
        ),
        click.Option(["--no-cache"], is_flag=True, help="decode images at every reading: the same results, but slower"),
        click.Option(
            ["--results"],
            type=Place(),
            default=Path("results"),
            help="folder in which run folders are made  [results]",
        ),
        click.Option(
            ["--measure"],
            metavar="NAME,...",
            help="additional measurements: from installed packages, or not taken by default",
        ),
        click.Option(
            ["--log"],
            metavar="NAME,...",
            help="where losses, accuracies, ranks and plots go besides the run folder: tensorboard, wandb",
        ),
        click.Option(
            ["--no-plots"], is_flag=True, help="draw no plots at the end; python -m plotting can draw them later"
        ),
        click.Option(
            ["--trust-model-code"],
            is_flag=True,
            help="let the config of a local-dir: model name a Hugging Face tokenizer, which may run code",
        ),
        click.Option(
            ["--extend"],
            type=Place(),
            metavar="RUN",
            help="go on with a finished run, whose settings hold, with more tasks: --order names them",
        ),
        click.Option(
            ["--keep-states"], is_flag=True, help="keep the weights that each task changed, in the run folder's states/"
        ),
        click.Option(
            ["--predictions"],
            is_flag=True,
            help="write the best classes of each test image into the run folder's predictions/",
        ),
        click.Option(
            ["--probe"],
            multiple=True,
            metavar="NAME[:DIR]",
            help="test what CLIP knew outside the stream, in every state: imagenet:DIR, retrieval:DIR, folder:PATH or micro "
            "(may be given several times)",
        ),
        click.Option(["--again"], is_flag=True, help="repeat a finished run, into a new folder"),
        click.Option(["--debug"], is_flag=True, help="show the traceback of an error"),
        click.Option(
            ["--list"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_print_list,
            help="list all strategies and streams",
        ),
    ]


class RunCommand(click.Command):
    """A click command whose help shows the settings of the chosen strategy under a separate heading.

    Attributes:
        own: names, with underscores, of the strategy's own settings, which not every strategy has.
        title: the heading above them, such as `Settings of nusa`.
    """

    own: tuple[str, ...] = ()
    title = ""

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the options into the help text under three headings; click calls it for `--help`.

        The headings are `Run` for the settings that every strategy has, `title` for the strategy's own, and `Options`
        for all others, such as `--results`.
        """
        groups: dict[str, list[tuple[str, str]]] = {"Run": [], self.title: [], "Options": []}
        for parameter in self.get_params(context):
            record = parameter.get_help_record(context)
            if record is not None:
                name = parameter.name or ""
                heading = self.title if name in self.own else "Run" if name in COMMON_NAMES else "Options"
                groups[heading].append(record)
        for heading, records in groups.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)


def _first_look(argv: list[str]) -> tuple[str, str, str]:
    """Returns the strategy, stream and splits from the command line or its --config file.

    They decide which options exist, and their defaults.
    """
    words = click.Command(
        "first",
        params=[
            click.Option(["--strategy"]),
            click.Option(["--stream"]),
            click.Option(["--splits"]),
            click.Option(["--config"], type=Place()),
            click.Option(["--help", "--list", "--version"], is_flag=True, is_eager=True),
        ],
        add_help_option=False,
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )
    given = words.make_context("first", list(argv), resilient_parsing=True).params
    file = read_file(given["config"]) if given["config"] else {}
    strategy = given["strategy"] or file.get("strategy") or "nusa"
    stream = given["stream"] or file.get("stream") or "micro"
    splits = given["splits"] or file.get("splits") or "zscl"
    return str(strategy), str(stream), str(splits)


def build_command(argv: list[str]) -> RunCommand:
    """Returns the click command of `benchmarks.run` with the options of the strategy and stream that `argv` names.

    The command only parses arguments; it does not run anything.

    Args:
        argv: the words of the command line, without the program's name.

    Raises:
        UserError: the strategy or stream is unknown.
    """
    strategy, stream, splits = _first_look(argv)
    method = strategy_of(strategy)
    own = settings_of(method)
    defaults = recipe(stream, method.name, splits)
    fields: Mapping[str, Any] = {**Common.__pydantic_fields__, **own}  # type: ignore[attr-defined]
    options: list[click.Parameter] = [
        _option(name, field, defaults.get(name, None if field.is_required() else field.default))
        for name, field in fields.items()
    ]
    command = RunCommand(
        program("benchmarks.run"),
        params=options + _harness_options(),
        help=f"Train CLIP on a stream of tasks, one after the other, and measure what it learns and forgets.\n\n"
        f"Defaults in brackets: {method.name} on {stream}. Options take precedence over --config, and it over defaults.",
        context_settings={"max_content_width": 110},
    )
    command.own, command.title = tuple(own), f"Settings of {method.name}"
    return click.version_option(__version__, prog_name="nusa-bench")(command)


def parse(argv: list[str]) -> dict[str, Any]:
    """Returns the options of a command line by name; settings that are not given are absent.

    The keys have underscores, and values are text as typed, not yet checked: `--batch-size 16` gives `"batch_size":
    "16"`. Switches are booleans, and `config`, `data_root`, `cache`, `results`, `reference_images` and
    `reference_texts` are paths. Always present are `data_root`, `results`, `no_cache`, `no_plots`, `again` and `debug`,
    which have defaults. For --help, --list and --version it prints and exits.

    Args:
        argv: the words of the command line, without the program's name.

    Raises:
        UserError: the strategy, the stream or an option is unknown (the message says if the option belongs to another
            strategy), or a value is missing.
    """
    command = build_command(argv)
    try:
        context = command.make_context(command.name, list(argv))
    except click.NoSuchOption as error:
        strategy, *_ = _first_look(argv)
        name = error.option_name.lstrip("-").replace("-", "_")
        raise UserError(f"{error.option_name}: {unknown_setting(name, strategy_of(strategy))}") from error
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        raise UserError(error.format_message()) from error
    return {name: value for name, value in context.params.items() if value is not None}
