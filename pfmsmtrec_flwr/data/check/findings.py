"""Findings of a check, and the table that shows them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Finding:
    """A fact about prepared rows that a user should look at.

    Attributes
    ----------
    scenario
        Name of the scenario.
    what
        Field, numeric column, tasks or column that the finding is about.
    figure
        Fact in words, with its figure.
    rows
        Number of rows that the figure was computed on.
    remedy
        Advice.
    leak
        Whether test figures are worthless because of it; False: a remark.
    """

    scenario: str
    what: str
    figure: str
    rows: int
    remedy: str
    leak: bool


def summary_of(findings: Sequence[Finding]) -> str:
    """Return the numbers of leaks and remarks in words.

    >>> summary_of([])
    'no leak, no remark'
    """
    leaks = sum(finding.leak for finding in findings)
    return f"{_counted(leaks, 'leak')}, {_counted(len(findings) - leaks, 'remark')}"


def findings_table(findings: Sequence[Finding], title: str, most: int | None = None) -> Table:
    """Tabulate findings, leaks first; scenarios with the same figure share a line, and their rows are added up.

    Parameters
    ----------
    findings
        Findings of all scenarios.
    title
        Title of the table.
    most
        Largest number of lines; the caption says how many are left out.
    """
    table = Table(title=title, title_justify="left", caption_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("", "scenario", "field", "finding"):
        table.add_column(heading, overflow="fold")
    table.add_column("rows", justify="right", no_wrap=True)
    table.add_column("what to do")
    lines: dict[tuple[bool, str, str, str], list[Finding]] = defaultdict(list)
    for finding in sorted(findings, key=lambda each: not each.leak):
        lines[finding.leak, finding.what, finding.figure, finding.remedy].append(finding)
    for (leak, what, figure, remedy), alike in list(lines.items())[:most]:
        scenarios = ", ".join(finding.scenario for finding in alike)
        rows = sum(finding.rows for finding in alike)
        table.add_row("leak" if leak else "remark", scenarios, what, figure, f"{rows:,}", remedy)
    if most is not None and len(lines) > most:
        table.caption = f"{len(lines) - most} more lines: pfmsmtrec data check"
    return table


def _counted(count: int, noun: str) -> str:
    return f"{count or 'no'} {noun}" + ("s" if count > 1 else "")
