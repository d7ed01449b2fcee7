"""The command that explains the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:  # the command itself imports what computes: `--help` answers at once
    from pfmsmtrec_flwr.methods.reference import SettingGroup


def settings_command(
    method: Annotated[
        str, typer.Argument(metavar="METHOD", help="Method whose own settings are listed.", show_default="all settings")
    ] = "",
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the page of all settings as Markdown.")] = False,
) -> None:
    """List the settings with type, default, range and meaning."""
    from pfmsmtrec_flwr.methods import METHODS
    from pfmsmtrec_flwr.methods.reference import common_groups, method_group, settings_markdown

    if markdown:
        print(settings_markdown(), end="")
        return
    groups = [method_group(method)] if method else [*common_groups(), *(method_group(name) for name in METHODS)]
    console = Console()
    for group in groups:
        if group.entries or method:
            _print_group(group, console)


def _print_group(group: SettingGroup, console: Console) -> None:
    console.print(Text(group.name, style="bold"), Text(group.summary))
    table = Table(box=None, pad_edge=False)
    for heading in ("key", "type", "default", "range", "meaning"):
        table.add_column(heading, no_wrap=heading == "key", overflow="fold")
    for entry in group.entries:
        table.add_row(*(Text(part) for part in (entry.key, entry.kind, entry.default, entry.limits, entry.meaning)))
    console.print(table if group.entries else Text("The method has no settings of its own."))
    for note in group.notes():
        console.print(Text(note))
    console.print()
