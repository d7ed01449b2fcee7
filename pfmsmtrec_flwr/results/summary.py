"""The typed `summary.json`: what the runs of a comparison come to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pfmsmtrec_flwr.config import Settings
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.results.bootstrap import Bootstrap
from pfmsmtrec_flwr.results.means import Spread
from pfmsmtrec_flwr.results.schema import Family, Figure, Parameters
from pfmsmtrec_flwr.validation import Section, parse

SUMMARY_NAME = "summary.json"

Which = Literal["model", "consensus"]
"""Whether a figure is of the model that a scenario predicts with, or of what the scenarios have in common."""


class Described(Section):
    """A variant: a method under settings of its own."""

    name: str
    method: str
    family: Family
    parameters: Parameters
    what: str = ""
    """Difference from the method as it is, in words."""
    settings: Settings
    """Settings of its own, including the tuned ones."""
    trials: int
    """Number of settings tried on validation rows; 0: not tuned."""
    validation: Figure
    """Mean validation AUC of the best trial."""


class Measured(Section):
    """Test figures of one run in one scenario and task."""

    variant: str
    which: Which
    scenario: str
    task: str
    seed: int
    auc: Figure
    logloss: Figure
    gauc: Figure
    gauc_coverage: Figure
    calibration: Figure
    logloss_calibrated: Figure = None
    calibration_calibrated: Figure = None


class Cost(Section):
    """Rounds, traffic and time of one run."""

    variant: str
    seed: int
    rounds: int
    up_bytes: int
    down_bytes: int
    seconds: float


class Counted(Section):
    """A run whose figures are in the summary."""

    variant: str
    seed: int
    folder: str
    """Folder of the run, relative to that of `summary.json`, with slashes."""


class Worst(Section):
    """Scenario with the lowest mean AUC over seeds."""

    scenario: str
    auc: float


class Against(Section):
    """Comparison of a variant with the reference in one task, by AUC."""

    win: int
    tie: int
    loss: int
    """Number of scenarios in which the variant is better, level or worse; paired over seeds."""
    seeds: int
    """Number of seeds that both have."""
    difference: Figure
    """Mean over seeds of the difference between the means over scenarios."""
    t_test: Figure
    """p of the paired t-test over seeds, of means over scenarios."""
    t_test_holm: Figure
    """The same, corrected for the number of variants and tasks. It speaks of the noise of training alone."""
    wilcoxon: Figure
    """p of the signed-rank test over pairs of scenario and seed."""
    wilcoxon_holm: Figure


class TaskSummary(Section):
    """Means of one task over scenarios."""

    auc: Spread | None
    logloss: Spread | None
    gauc: Spread | None
    gauc_coverage: Spread | None
    calibration: Spread | None
    logloss_calibrated: Spread | None = None
    calibration_calibrated: Spread | None = None
    worst: Worst | None
    improvement: Figure
    """Relative improvement over training alone, (AUC - 0.5) / (AUC alone - 0.5) - 1."""
    against: Against | None = None


class LineSummary(Section):
    """Means of a variant's model, or of its consensus."""

    variant: str
    which: Which
    tasks: dict[str, TaskSummary]
    scenarios: dict[str, dict[str, Spread | None]]
    """AUC by scenario and task."""
    megabytes: Spread
    """Millions of bytes sent by and to all clients."""
    seconds: Spread


class Joined(Section):
    """Test figures of a scenario that trained alone on a share of its rows, from scratch or from a consensus."""

    method: str
    """Method whose consensus of the other scenarios is the start."""
    scenario: str
    share: float
    """Share of the scenario's training rows."""
    start: Literal["consensus", "scratch"]
    task: str
    seed: int
    auc: Figure
    logloss: Figure


class Summary(Section):
    """Content of `summary.json`."""

    dataset: str
    reference: str
    seeds: list[int]
    scenarios: list[str]
    tasks: list[str]
    variants: list[Described]
    lines: list[LineSummary]
    runs: list[Counted]
    figures: list[Measured]
    costs: list[Cost]
    joined: list[Joined]
    notes: list[str]
    """Remarks that a reader of the means needs."""
    bootstrap: Bootstrap | None = None
    """Intervals of the differences between variants; None where the runs left no predictions."""

    def line(self, variant: str, which: Which = "model") -> LineSummary | None:
        """Return the line of a variant; None if it has none."""
        return next((line for line in self.lines if (line.variant, line.which) == (variant, which)), None)


def read_summary(folder: Path) -> Summary | None:
    """Read the `summary.json` of a comparison; None where there is none.

    Raises
    ------
    UserError
        The file is damaged, or not one of this version.
    """
    path = folder / SUMMARY_NAME
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error}): run the comparison again") from None
    return parse(Summary, document, str(path))


def write_summary(summary: Summary, folder: Path) -> Path:
    """Write `summary.json`, and return its path."""
    path = folder / SUMMARY_NAME
    text = json.dumps(summary.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
    return path
