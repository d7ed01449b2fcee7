"""The commands that explain the settings, and print those of a configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pfmsmtrec_flwr.cli.options import MethodOption, SeedOption, SettingsOption, method_name

if TYPE_CHECKING:  # the command itself imports what computes: `--help` answers at once
    from pfmsmtrec_flwr.methods.reference import SettingGroup


def settings_command(
    method: Annotated[
        str, typer.Argument(metavar="METHOD", help="Method whose own settings are listed.", show_default="all settings")
    ] = "",
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the page of all settings as Markdown.")] = False,
) -> None:
    """List the settings with type, default, range and meaning."""
    from pfmsmtrec_flwr.methods import KNOWN_METHODS
    from pfmsmtrec_flwr.methods.reference import common_groups, method_group, settings_markdown

    if markdown:
        print(settings_markdown(), end="")
        return
    groups = [method_group(method)] if method else [*common_groups(), *(method_group(name) for name in KNOWN_METHODS)]
    console = Console()
    for group in groups:
        if group.entries or method:
            _print_group(group, console)


def config_command(
    conf: Annotated[str, typer.Argument(metavar="CONF", help="Name of a file conf/NAME.yaml, or path of a YAML file.")],
    method: MethodOption = "",
    seed: SeedOption = None,
    settings: SettingsOption = None,
) -> None:
    """Print all settings with which a method runs, as YAML."""
    from pfmsmtrec_flwr.methods import find_method
    from pfmsmtrec_flwr.methods.configuration import complete, load_config

    config = load_config(conf, method=method_name(method), seed=-1 if seed is None else seed, overrides=settings or ())
    resolved = complete(find_method(config.method).configure(config))
    print(resolved.to_yaml(), end="")


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
