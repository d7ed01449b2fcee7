"""The `pfmsmtrec` command, a file per group of subcommands."""

from pfmsmtrec_flwr.cli.entry import app, main

__all__ = ["app", "main"]
