"""The command that lists the methods."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text


def methods_command() -> None:
    """List the methods that can be run."""
    from pfmsmtrec_flwr.methods import KNOWN_METHODS, METHODS

    table = Table(box=None, pad_edge=False)
    for heading in ("method", "family", "what it does", "source"):
        table.add_column(heading)
    for name, method in KNOWN_METHODS.items():
        table.add_row(*(Text(part) for part in (name, method.family, method.summary, method.source)))
    console = Console()
    console.print(table)
    for name in sorted(KNOWN_METHODS.keys() - METHODS.keys()):
        console.print(Text(f"{name} is a method of the package {KNOWN_METHODS.package(name)}"))
