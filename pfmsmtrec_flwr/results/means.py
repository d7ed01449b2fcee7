"""Means over scenarios and seeds, and the one rule for figures that are missing.

A figure is missing where it is not defined, such as an AUC over one class, or where a run does not have it. Then:

- A mean over scenarios is over the scenarios in which any of the lines that are shown together has the figure, with any
  seed. A log loss is undefined only where a model has diverged, so for it every scenario that has the task counts.
- A line that lacks the figure in a scenario that counts has no mean over scenarios: a mean over fewer would look better
  or worse than it is. Likewise a line that lacks the figure with one of its seeds has no mean over seeds.
- What has no mean is null in files and n/a in tables.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable

from pfmsmtrec_flwr.validation import Section


class Spread(Section):
    """Mean over seeds, sample standard deviation (None with one seed), and number of seeds."""

    mean: float
    sd: float | None = None
    count: int


def mean(figures: Iterable[float | None]) -> float | None:
    """Return the mean of the figures that are defined; None if there are none."""
    defined = [figure for figure in figures if figure is not None]
    return math.fsum(defined) / len(defined) if defined else None


def complete_mean(figures: Iterable[float]) -> float:
    """Return the mean of the figures; NaN if there are none, or if one of them is NaN."""
    known = list(figures)
    return math.fsum(known) / len(known) if known else math.nan


def spread(figures: Iterable[float | None]) -> Spread | None:
    """Return mean and standard deviation over seeds; None if a seed lacks the figure (None or NaN).

    >>> spread([1.0, 3.0])
    Spread(mean=2.0, sd=1.4142135623730951, count=2)
    """
    known = list(figures)
    defined = [float(figure) for figure in known if figure is not None and not math.isnan(figure)]
    if not defined or len(defined) < len(known):
        return None
    deviation = statistics.stdev(defined) if len(defined) > 1 else None
    return Spread(mean=complete_mean(defined), sd=deviation, count=len(defined))
