"""The exception for errors that the user can correct: one line that says what is wrong, where, and what would be
right.
"""


class UserError(Exception):
    """Wrong input or a problem of the environment. Commands print the message on one line and exit with status 2."""


class UnreadableImage(UserError):
    """An image cannot be read; the message names its file. Other images may be unreadable too."""


class OwnError(UserError):
    """A user error that one process of a run meets alone, such as running out of memory.

    Any other user error is met by all processes of a run, and only the first one prints it; this one is printed by the
    process that meets it.
    """


def of_the_system(error: OSError) -> UserError:
    """Returns an error of the system, such as a name that is too long, as one line of ours.

    Args:
        error: the error, with the file's name or without.
    """
    if isinstance(error, FileNotFoundError) and error.filename is None:  # what asking for the working folder raises
        return UserError("the working folder is gone, so no relative path leads anywhere; go to another folder")
    name = "" if error.filename is None else f"{error.filename!s:.200}: "
    return UserError(f"{name}{' '.join(str(error.strerror or error).split())}")
