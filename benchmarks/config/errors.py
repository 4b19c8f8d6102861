"""The one exception that a user may see: a line saying what is wrong, where, and what would be right."""


class UserError(Exception):
    """Wrong input or a broken surrounding. The command prints the message on one line and exits with status 2."""


class UnreadableImage(UserError):
    """An image that can't be used, named; where there is one there may be more."""


class OwnError(UserError):
    """What went wrong in one process of several alone, so that this one has to say it."""
