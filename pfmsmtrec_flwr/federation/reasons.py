r"""Texts of errors on their way from a node to the server's log: short, printable, without the node's paths.

Examples
--------
>>> from pfmsmtrec_flwr.federation.reasons import readable_reason, without_paths
>>> without_paths("cannot read '/srv/ann/shop data/NL.csv': see /etc/hosts and C:\\logs, or ratio 1/2")
"cannot read '[path]': see [path] and [path], or ratio 1/2"
>>> readable_reason("disk\x1b[31m is\nfull\u202e")
'disk [31m is full'
>>> len(readable_reason("x" * 1000))
300
"""

from __future__ import annotations

import re

from flwr.app import Message

LONGEST_REASON = 300
"""Number of characters to which the text of an error is cut."""

_LONGEST_READ = 4 * LONGEST_REASON
_START = r"(?:/|~[\w.-]*/|[A-Za-z]:[\\/]|\\\\)"
_PATHS = re.compile(
    rf"(?P<quote>['\"`]){_START}[^'\"`\n]+(?P=quote)"  # a path in quotes may have spaces
    rf"|(?<![\w./\\]){_START}[^\s'\"`,;:)\]>]+"
)


def without_paths(text: str) -> str:
    """Return a text with ``[path]`` in place of each path of a file or folder."""
    return _PATHS.sub(lambda match: f"{match['quote'] or ''}[path]{match['quote'] or ''}", text)


def readable_reason(text: str) -> str:
    """Return a text as one line of printable characters, cut to `LONGEST_REASON`."""
    printable = "".join(character if character.isprintable() else " " for character in text[:_LONGEST_READ])
    line = " ".join(printable.split())
    return line if len(line) <= LONGEST_REASON else line[: LONGEST_REASON - 3] + "..."


def reason_for_server(text: str, *, keep_paths: bool) -> str:
    """Return the text of a node's error as it leaves the node.

    Parameters
    ----------
    text
        Text as the node logs it.
    keep_paths
        Whether paths stay, as in a simulation, where all nodes are on the server's machine.
    """
    return readable_reason(text if keep_paths else without_paths(text))


def failure_reason(message: Message) -> str:
    """Return the reason why a message has no content, which Flower took from an exception of the node's client."""
    if not message.has_error():
        return "an answer without content"
    return readable_reason(without_paths(message.error.reason or "")) or f"error {message.error.code}"
