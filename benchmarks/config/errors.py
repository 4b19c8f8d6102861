"""The exception for errors that the user can correct: one line that says what is wrong, where, and what would be
right.
"""


class UserError(Exception):
    """Wrong input or a problem of the environment. Commands print the message on one line and exit with status 2."""


class UnreadableImage(UserError):
    """An image cannot be read; the message names its file. Other images may be unreadable too."""


class OwnError(UserError):
    """An error of one process of a run, which it must report itself because the others do not know of it."""
