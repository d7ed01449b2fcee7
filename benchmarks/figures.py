"""Figures of a benchmark: printed as one table, compared with the figures that are kept, or kept in their place.

A script hands a function that measures to `show`, which adds two options to its command line:

    python benchmarks/aggregation.py           # measures, and compares with benchmarks/kept/aggregation.json
    python benchmarks/aggregation.py --keep    # measures, and keeps

Machines differ, so only ratios within one run are compared. A ratio that has become worse than 0.8 of the kept one is
named, and the script ends with status 1.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch

KEPT = Path(__file__).with_name("kept")
SLOWER = 0.8
"""Smallest share of a kept figure that is not called slower."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure.

    Attributes
    ----------
    what
        What was measured; unique in its table.
    value
        Figure.
    unit
        Unit; "x" for a ratio within this run.
    better
        Which direction is better; empty for a figure that is only told.
    goal
        Bound that the figure should keep, if it has one.
    """

    what: str
    value: float
    unit: str = "x"
    better: Literal["more", "less", ""] = ""
    goal: float | None = None

    def is_worse_than(self, kept: float) -> bool:
        """Return whether a ratio has become worse than 0.8 of the kept one; figures in other units are not compared."""
        if self.unit != "x":
            return False
        if self.better == "more":
            return self.value < SLOWER * kept
        return self.better == "less" and self.value * SLOWER > kept

    def misses_goal(self) -> bool:
        """Return whether the figure is on the wrong side of its goal."""
        if self.goal is None:
            return False
        return self.value < self.goal if self.better == "more" else self.value > self.goal


def show(
    name: str,
    measure: Callable[[argparse.Namespace], Sequence[Figure]],
    description: str | None,
    arguments: Callable[[argparse.ArgumentParser], object] | None = None,
) -> None:
    """Measure, print the table, and compare with what is kept or keep it; ends the process with status 1 if slower.

    Parameters
    ----------
    name
        Name of the table and of its file under ``benchmarks/kept``.
    measure
        Function that measures; it takes the options of the command line.
    description
        Description of the script for ``--help``.
    arguments
        Function that adds the script's own options.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true", help="keep these figures in place of the kept ones")
    if arguments is not None:
        arguments(parser)
    options = parser.parse_args()
    figures = measure(options)
    kept = {} if options.keep else kept_figures(name)
    print(table(figures, kept))
    print(f"\n{machine()}")
    if options.keep:
        keep(name, figures)
        return
    slower = [figure for figure in figures if figure.what in kept and figure.is_worse_than(kept[figure.what])]
    for figure in slower:
        print(f"slower than 0.8 of what is kept: {figure.what}: {figure.value:.3g}, kept {kept[figure.what]:.3g}")
    if slower:
        sys.exit(1)


def table(figures: Sequence[Figure], kept: Mapping[str, float]) -> str:
    """Return the figures as a Markdown table, beside the kept ones and the goals."""
    lines = ["| what | measured | kept | goal |", "|---|---|---|---|"]
    for figure in figures:
        before = _shown(kept[figure.what], figure.unit) if figure.what in kept else ""
        bound = "" if figure.goal is None else _bound(figure)
        lines.append(f"| {figure.what} | {_shown(figure.value, figure.unit)} | {before} | {bound} |")
    return "\n".join(lines)


def kept_figures(name: str) -> dict[str, float]:
    """Return the kept figures of a table by what was measured; empty if none are kept."""
    path = KEPT / f"{name}.json"
    if not path.exists():
        return {}
    return {entry["what"]: entry["value"] for entry in json.loads(path.read_text(encoding="utf-8"))["figures"]}


def keep(name: str, figures: Sequence[Figure]) -> None:
    """Keep the figures of a table, with the machine that they were measured on."""
    KEPT.mkdir(exist_ok=True)
    document = {"machine": machine(), "figures": [asdict(figure) for figure in figures]}
    (KEPT / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def machine() -> str:
    """Return what the figures were measured on: processor, GPU if there is one, threads and versions."""
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    threads = torch.get_num_threads()
    return (
        f"{_processor()}{gpu}, {threads} thread{'s' if threads > 1 else ''}, "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _shown(value: float, unit: str) -> str:
    return f"{value:.3g} {unit}".replace(" x", " ×")


def _bound(figure: Figure) -> str:
    sign = "≥" if figure.better == "more" else "≤"
    return f"{sign} {figure.goal:g}{' (missed)' if figure.misses_goal() else ''}"
