"""Ranges of the figures that a reply must have, may have, and must not have.

Examples
--------
An AUC of test rows must be there where rows of both classes are, and only there.

>>> from pfmsmtrec_flwr.federation.server.figure_ranges import check_figures, final_ranges
>>> ranges = final_ranges(["ctr"], rows=10, calibrated=False, consensus=False)
>>> figures = {"test.positives.ctr": 4.0, "test.examples.ctr": 10.0, "test.logloss.ctr": 0.2,
...            "test.calibration.ctr": 1.1}
>>> check_figures(figures, ranges)
Traceback (most recent call last):
pfmsmtrec_flwr.errors.UserError: the figure test.auc.ctr is missing
>>> check_figures(figures | {"test.auc.ctr": 0.7}, ranges)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.client.starting import STARTS
from pfmsmtrec_flwr.training.metrics import CLIP

Figures = Mapping[str, float]
Presence = Callable[[Figures], bool | None]
"""Function that says of all figures whether one of them must be among them; None: it may be."""

_ROUNDING = 1e-6
_ONE = 1 + _ROUNDING
_SHARES_SUM = 1e-3
_LARGEST_LOGLOSS = -math.log(CLIP) + _ROUNDING


def required(figures: Figures) -> bool:  # noqa: ARG001 - the same for all figures
    """Say that a figure must be there."""
    return True


def optional(figures: Figures) -> None:
    """Say that a figure may be there."""


@dataclass(frozen=True, slots=True)
class FigureRange:
    """Range of one figure.

    Attributes
    ----------
    low, high
        Smallest and largest value.
    whole
        Whether the value is a whole number.
    presence
        Whether the figure must be there.
    """

    low: float = 0.0
    high: float = math.inf
    whole: bool = False
    presence: Presence = required

    def has(self, value: float) -> bool:
        """Return whether a value is finite and lies in the range."""
        return math.isfinite(value) and self.low <= value <= self.high and not (self.whole and value % 1)

    def __str__(self) -> str:
        """Return the range in words."""
        kind = "a whole number" if self.whole else "a finite number"
        return f"{kind} from {self.low:g}" + (f" to {self.high:g}" if math.isfinite(self.high) else "")


@dataclass(frozen=True, slots=True)
class FigureRanges:
    """Ranges of all figures of a reply.

    Attributes
    ----------
    ranges
        Ranges by name.
    shares
        Names of figures that sum to one, group by group.
    """

    ranges: Mapping[str, FigureRange]
    shares: tuple[tuple[str, ...], ...] = ()

    def __or__(self, other: FigureRanges) -> FigureRanges:
        """Return the ranges of both."""
        return FigureRanges({**self.ranges, **other.ranges}, self.shares + other.shares)


def check_figures(figures: Figures, expected: FigureRanges) -> None:
    """Compare the figures of a reply with their ranges.

    Raises
    ------
    UserError
        A figure is missing, unknown or outside its range, or shares do not sum to one.
    """
    if unknown := sorted(figures.keys() - expected.ranges.keys()):
        raise UserError(f"the figure {unknown[0]} is unknown or was not asked for")
    for name, own in expected.ranges.items():
        must = own.presence(figures)
        if name not in figures:
            if must:
                raise UserError(f"the figure {name} is missing")
        elif must is False:
            raise UserError(f"the figure {name} is there, although it is not defined")
        elif not own.has(figures[name]):
            raise UserError(f"the figure {name} is {figures[name]:g}, expected {own}")
    for names in expected.shares:
        if abs(math.fsum(figures[name] for name in names) - 1.0) > _SHARES_SUM:
            raise UserError(f"the figures {names[0]} to {names[-1]} sum to {sum(figures[name] for name in names):g}")


def start_ranges() -> FigureRanges:
    """Return the ranges of a reply to the order to start."""
    return FigureRanges({STARTS: FigureRange(high=1, whole=True)})


def training_ranges(tasks: Iterable[str], most_rows: int) -> FigureRanges:
    """Return the ranges of the figures of a training.

    Parameters
    ----------
    tasks
        Tasks whose training losses are sent.
    most_rows
        Largest number of training rows that the scenario may see in the exchange.
    """
    losses = {f"loss.{task}": FigureRange() for task in tasks}
    return FigureRanges({"examples": FigureRange(1, most_rows, whole=True), **losses})


def validation_ranges(tasks: Iterable[str], experts: int) -> FigureRanges:
    """Return the ranges of the figures on validation rows.

    Parameters
    ----------
    tasks
        Tasks of the scenario; the AUC of a task is not defined where validation rows have one class.
    experts
        Number of experts of which the gates report shares; 0: the model has no gates, or shares stay.
    """
    names = list(tasks)
    measured = {f"validation.auc.{task}": FigureRange(high=_ONE, presence=optional) for task in names}
    measured |= {f"validation.logloss.{task}": FigureRange(high=_LARGEST_LOGLOSS) for task in names}
    shares = tuple(tuple(f"gate.{task}.{expert}" for expert in range(experts)) for task in names) if experts else ()
    gates = {name: FigureRange(high=_ONE) for group in shares for name in group}
    return FigureRanges(measured | gates, shares)


def final_ranges(tasks: Iterable[str], rows: int, *, calibrated: bool, consensus: bool) -> FigureRanges:
    """Return the ranges of the figures on test rows; those of the true probabilities are all there or none.

    Parameters
    ----------
    tasks
        Tasks of the scenario.
    rows
        Test rows of the scenario, of which some may have no label of a task.
    calibrated
        Whether the run calibrates predictions.
    consensus
        Whether the scenario was asked to measure the consensus too.
    """

    def best_is_known(figures: Figures) -> bool:
        return any(name.startswith("best.") for name in figures)

    ranges: dict[str, FigureRange] = {}
    for task in tasks:
        counts = _Counts(f"test.positives.{task}", f"test.examples.{task}")
        ratio = FigureRange(high=rows + _ROUNDING, presence=counts.some_positive)
        ranges[counts.examples] = FigureRange(high=rows, whole=True)
        ranges[counts.positives] = FigureRange(high=rows, whole=True, presence=counts.fit)
        ranges |= _ranking("test.", task, counts) | _by_user("test.", task, ratio)
        ranges |= _ranking("best.", task, counts, best_is_known)
        if calibrated:
            ranges[f"test.logloss_calibrated.{task}"] = FigureRange(high=_LARGEST_LOGLOSS)
            ranges[f"test.calibration_calibrated.{task}"] = ratio
        if consensus:
            ranges |= _ranking("consensus.", task, counts) | _by_user("consensus.", task, ratio)
    return FigureRanges(ranges)


@dataclass(frozen=True, slots=True)
class _Counts:
    """Names of the figures that count positive rows and all rows of a task, on which others depend."""

    positives: str
    examples: str

    def fit(self, figures: Figures) -> bool:
        """Return whether no more rows are positive than there are, so that their number may be there."""
        return figures.get(self.positives, 0) <= figures.get(self.examples, 0)

    def both_classes(self, figures: Figures) -> bool:
        """Return whether some rows are positive, and some are not."""
        return 0 < figures.get(self.positives, 0) < figures.get(self.examples, 0)

    def some_positive(self, figures: Figures) -> bool:
        """Return whether a row is positive."""
        return figures.get(self.positives, 0) > 0


def _ranking(prefix: str, task: str, counts: _Counts, presence: Presence = required) -> dict[str, FigureRange]:
    """Return the ranges of AUC and log loss."""

    def both_classes(figures: Figures) -> bool:
        return bool(presence(figures)) and counts.both_classes(figures)

    return {
        f"{prefix}auc.{task}": FigureRange(high=_ONE, presence=both_classes),
        f"{prefix}logloss.{task}": FigureRange(high=_LARGEST_LOGLOSS, presence=presence),
    }


def _by_user(prefix: str, task: str, ratio: FigureRange) -> dict[str, FigureRange]:
    """Return the ranges of the metrics within users, and of predicted over observed positives."""
    share = FigureRange(high=_ONE, presence=optional)
    return {
        f"{prefix}gauc.{task}": share,
        f"{prefix}gauc_coverage.{task}": share,
        f"{prefix}calibration.{task}": ratio,
    }
