"""The command that lists the methods."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text


def methods_command() -> None:
    """List the methods that can be run."""
    from pfmsmtrec_flwr.methods import METHODS

    table = Table(box=None, pad_edge=False)
    for heading in ("method", "family", "what it does", "source"):
        table.add_column(heading)
    for name, method in METHODS.items():
        table.add_row(*(Text(part) for part in (name, method.family, method.summary, method.source)))
    Console().print(table)
