"""Curves over rounds: the mean over seeds, with a band of one standard deviation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from pfmsmtrec_flwr.results.means import spread


@dataclass(frozen=True, slots=True)
class Curve:
    """A figure by round; `sd` is zero with one seed."""

    rounds: tuple[int, ...]
    mean: tuple[float, ...]
    sd: tuple[float, ...]


def curve_of(series: Sequence[Mapping[int, float]]) -> Curve | None:
    """Return the curve of all seeds over the rounds that each of them has; None if there are none.

    A round that only some seeds reached is left out: the mean would jump where a seed ends.

    Parameters
    ----------
    series
        For each seed, a figure by round.
    """
    common = sorted(set.intersection(*(set(own) for own in series))) if series else []
    points = [point for number in common if (point := spread(own[number] for own in series)) is not None]
    if not points:
        return None
    return Curve(tuple(common), tuple(point.mean for point in points), tuple(point.sd or 0.0 for point in points))


def draw_curve(axes: Axes, curve: Curve, *, colour: str, dash: str, label: str, width: float | None = None) -> None:
    """Draw a mean and its band; a single round is a point."""
    alone = "o" if len(curve.rounds) == 1 else None
    axes.plot(curve.rounds, curve.mean, dash, color=colour, label=label, marker=alone, linewidth=width)
    if any(curve.sd):
        low = [mean - sd for mean, sd in zip(curve.mean, curve.sd, strict=True)]
        high = [mean + sd for mean, sd in zip(curve.mean, curve.sd, strict=True)]
        axes.fill_between(curve.rounds, low, high, color=colour, alpha=0.15, linewidth=0)
