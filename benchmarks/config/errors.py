"""The exception for errors that the user can correct: one line that says what is wrong, where, and what would be
right.
"""

from typing import Any


class UserError(Exception):
    """Wrong input or a problem of the environment. Commands print the message on one line and exit with status 2."""


class UnreadableImage(UserError):
    """An image cannot be read; the message names its file. Other images may be unreadable too."""


class OwnError(UserError):
    """A user error that one process of a run meets alone, such as running out of memory.

    Any other user error is met by all processes of a run, and only the first one prints it; this one is printed by the
    process that meets it.
    """


class OutOfMemory(OwnError):
    """Memory ran out; the message says what would take less."""


class Diverged(UserError):
    """The loss, a weight or a score is not finite; with the same settings it would be so again, anywhere."""


class Busy(UserError):
    """Another process writes into the run folder, or has just finished the run there."""


def shown(value: Any) -> str:
    """Returns a wrong value for an error message: its `repr`, at most 100 characters of it.

    Where it has none, as an integer of thousands of digits, `a value of type` and the name of that.
    """
    try:
        return f"{value!r:.100}"
    except Exception:  # whatever an object of the user's raises here
        return f"a value of type {type(value).__name__}"


def of_the_system(error: OSError) -> UserError:
    """Returns an error of the system, such as a name that is too long, as one line of ours.

    Args:
        error: the error, with the file's name or without.
    """
    if isinstance(error, FileNotFoundError) and error.filename is None:  # what asking for the working folder raises
        return UserError("the working folder is gone, so no relative path leads anywhere; go to another folder")
    name = "" if error.filename is None else f"{error.filename!s:.200}: "
    return UserError(f"{name}{' '.join(str(error.strerror or error).split())}")
