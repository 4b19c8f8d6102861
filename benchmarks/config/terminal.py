"""What the commands print: errors in one line with exit status 2, and only characters that a terminal can show."""

import atexit
import os
import re
import sys
from pathlib import Path
from typing import Any

import click

from benchmarks.config.errors import UserError, of_the_system


# Characters that control a terminal or turn the direction of writing, and those that no encoding has; not tab and newline.
UNSHOWN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


_called: list[str] = []  # how the user called the command, where its module does not say it
_errors: list[BaseException] = []  # those that were printed


def call_it(name: str) -> None:
    """Sets how the usage line of the command that runs next names it, such as `nusa-bench run`."""
    _called[:] = [name]


def program(module: str) -> str:
    """Returns how the user called a command, for its usage line: as `call_it` was told, else `python -m MODULE`.

    Args:
        module: the command's module.
    """
    return _called[0] if _called else f"python -m {module}"


def plain(text: str) -> str:
    r"""Returns a text in which characters that a terminal would execute are written out, such as `\x1b` for escape.

    Tabs and newlines are kept.

    Args:
        text: any text, for instance a folder's name or a value from somebody else's file.
    """
    return UNSHOWN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def say(line: str) -> None:
    """Prints a line on stderr. Nothing happens where stderr is closed or full, since a message must not end a run.

    Args:
        line: the line, shown as `plain` returns it; a newline within it is written out too.
    """
    if sys.stderr is None:  # closed when the process began
        return
    try:
        start = line[: len(line) - len(line.lstrip("\n"))]
        print(start + plain(line.lstrip("\n")).replace("\n", "\\n"), file=sys.stderr, flush=True)
    except (OSError, ValueError):
        return


def say_error(error: BaseException) -> None:
    """Prints `error: ` and an error's message on stderr, in one line; nothing of a pipe that nobody reads any more.

    Args:
        error: the error; one of the system is said in words.
    """
    if isinstance(error, BrokenPipeError):
        return
    _errors.append(error)
    error = of_the_system(error) if isinstance(error, OSError) else error
    say(f"error: {' '.join(str(error).split())}")


def guard_output() -> None:
    """Makes stdout replace characters that its encoding lacks, instead of raising an error.

    Output that cannot be written as the process ends, on a full disk, then ends it in one line and with status 2.
    """
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    atexit.unregister(_flush)
    atexit.register(_flush)


def _flush() -> None:
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        if not _errors:  # it was met before
            say_error(error)
        os._exit(2)  # Python would try to write it again, and print the error


class Place(click.Path):
    """A path on a command line, as a `Path`; an empty one, as of a variable that is not set, is refused."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Returns the path; fails if it is empty."""
        if value == "":
            self.fail("empty; name a file or folder", param, ctx)
        return super().convert(value, param, ctx)


class Command(click.Command):
    """A click command that prints each error in one line on stderr and then exits with status 2.

    That holds for wrong options, for `UserError` and for `OSError`. Interrupted at work, it exits with status 130. Pass it as
    `click.command(cls=Command)`.
    """

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the command, as `click.Command.main` does."""
        guard_output()
        if _called:
            kwargs["prog_name"] = _called[0]
        return super().main(*args, **kwargs)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Parses the words of the command line, as `click.Command.make_context` does."""
        try:
            return super().make_context(*args, **kwargs)
        except click.UsageError as error:
            raise _OneLine(error.format_message()) from error

    def invoke(self, ctx: click.Context) -> Any:
        """Calls the command's function, as `click.Command.invoke` does."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # whoever read the output has left; click ends quietly then
            raise
        except UserError as error:
            raise _OneLine(str(error)) from error
        except OSError as error:
            raise _OneLine(str(of_the_system(error))) from error
        except KeyboardInterrupt:
            say("\ninterrupted")
            ctx.exit(130)


class _OneLine(click.ClickException):
    exit_code = 2

    def show(self, file: Any = None) -> None:
        say_error(self)
