"""Errors that a user can act on."""

from __future__ import annotations


class UserError(Exception):
    """A mistake of the user, described in one line: what was got, what was expected, what to do.

    The command line prints the message without a traceback and exits with status 1.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))
