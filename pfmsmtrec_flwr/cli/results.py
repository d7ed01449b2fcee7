"""The command that prints a finished run again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pfmsmtrec_flwr.cli.options import absolute


def show_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Output folder of a run that has finished.")],
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.")] = False,
) -> None:
    """Print the table of a finished run again."""
    if markdown:
        from pfmsmtrec_flwr.results.overviews import run_table
        from pfmsmtrec_flwr.results.rendering import as_markdown
        from pfmsmtrec_flwr.results.writer import read_run

        print(as_markdown(run_table(read_run(absolute(folder)))), end="")
    else:
        print_run_table(absolute(folder), Console())


def print_run_table(folder: Path, console: Console) -> None:
    """Print the table of the test figures in a run's output folder."""
    from pfmsmtrec_flwr.results.overviews import run_table
    from pfmsmtrec_flwr.results.rendering import show_table
    from pfmsmtrec_flwr.results.writer import read_run

    show_table(run_table(read_run(folder)), console)
