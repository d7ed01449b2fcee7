"""The command that prints what leaves a scenario."""

from __future__ import annotations


def privacy_command() -> None:
    """List what leaves a scenario, its use and what it can reveal, as Markdown."""
    from pfmsmtrec_flwr.methods.privacy_page import privacy_markdown

    print(privacy_markdown(), end="")
