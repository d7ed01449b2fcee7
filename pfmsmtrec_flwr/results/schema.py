"""The typed `results.json`: sizes, test figures and costs of a finished run."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

import pfmsmtrec_flwr
from pfmsmtrec_flwr.results.means import mean
from pfmsmtrec_flwr.results.missing import MissingResult, missing_notes
from pfmsmtrec_flwr.validation import Section

RESULTS_NAME = "results.json"


def finite(value: Any) -> float | None:
    """Return `value` as a float; None for None, NaN and infinity, which JSON does not know."""
    if value is None:
        return None
    if isinstance(value, bool | str) or not hasattr(value, "__float__"):  # numpy's numbers are welcome
        raise ValueError("input should be a number or null")
    number = float(value)
    return number if math.isfinite(number) else None


Figure = Annotated[float | None, BeforeValidator(finite)]
"""Measured number; None where it is not defined, such as an AUC over one class."""
Total = Annotated[int, Field(ge=0)]
Family = Literal["floor", "alone", "pooled", "federated"]
Parameters = Literal["personalised", "global"]


class Interval(Section):
    """95 % interval over draws of test users."""

    low: float
    high: float


class TaskResult(Section):
    """Test figures of one task in one scenario."""

    auc: Figure
    interval: Interval | None = None
    """Interval of `auc`; None where no users were drawn."""
    logloss: Figure
    gauc: Figure = None
    """AUC within each user, averaged over users with their impressions as weights."""
    gauc_coverage: Figure = None
    """Share of the impressions whose users have both classes and so count in `gauc`."""
    calibration: Figure = None
    """Predicted over observed positives; above 1 the model predicts too many."""
    logloss_calibrated: Figure = None
    """`logloss` after the recalibration on validation rows; None where the run does not calibrate."""
    calibration_calibrated: Figure = None
    """`calibration` after it."""
    positives: Total
    examples: Total
    """Number of impressions with a label of the task."""


class Examples(Section):
    """Number of impressions of one scenario in each split."""

    train: Total
    validation: Total
    test: Total


class ScenarioResult(Section):
    """Sizes and test figures of one scenario."""

    examples: Examples
    selected_round: Total
    """Round of the test figures, chosen on validation data."""
    tasks: dict[str, TaskResult]
    consensus: dict[str, TaskResult] = Field(default_factory=dict)
    """Test figures of the model that the scenarios have in common, with the scenario's own normalization; empty where
    it was not measured, or where it is the scenario's model anyway."""
    note: str = ""
    """Remark on the scenario's data that a reader of the figures needs, such as sampled negatives."""


class AttainableResult(Section):
    """Test figures of the true probabilities, known for made-up data only; no model does better except by chance."""

    auc: Figure
    logloss: Figure


class MacroResult(Section):
    """Means over the scenarios, by the rule of `pfmsmtrec_flwr.results.means`."""

    auc: Figure
    interval: Interval | None = None
    """Interval of `auc`; None where no users were drawn."""
    logloss: Figure
    gauc: Figure = None
    logloss_calibrated: Figure = None
    note: str = ""
    """Words that name the scenarios which are missing in the mean; left out where none is."""

    @model_serializer(mode="wrap")
    def _without_no_note(self, made: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_empty(made(self), "note")


class DrawnDifference(Section):
    """AUC of a reference method less that of the run's own method, with the same test users drawn for both."""

    reference: str
    task: str
    difference: float
    """Difference between the means over scenarios."""
    interval: Interval
    p: float
    """p that there is no difference, two-sided, by the normal distribution with the standard error over draws."""


class Traffic(Section):
    """Bytes sent by all clients (up) and to all clients (down)."""

    up_bytes: Total = 0
    down_bytes: Total = 0


class Seconds(Section):
    """Wall-clock time of the whole run, of waiting for local training and of the server's own work."""

    total: float = 0.0
    train: float = 0.0
    aggregate: float = 0.0


class PrivacyResult(Section):
    """Privacy loss of the noised updates of a scenario; sizes and figures, which are exact, are outside of it."""

    epsilon: Figure
    """ε for any two sets of training rows of the scenario."""
    delta: float
    """δ at which it holds."""
    noise: float
    """Standard deviation of the noise, in units of `clip_norm`."""
    clip_norm: float
    """Norm to which updates were clipped."""
    releases: Total
    """Number of updates that a scenario sent."""


class RunResults(Section):
    """Content of `results.json`."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    schema_version: Annotated[Literal[1], Field(alias="schema")] = 1
    method: str
    family: Family = "federated"
    parameters: Parameters
    """Whether each scenario ends with parameters of its own, or all end with the same."""
    dataset: str
    seed: int
    rounds: Total
    """Number of rounds run; early stopping may have ended the run before the configured number."""
    scenarios: dict[str, ScenarioResult]
    missing: dict[str, MissingResult] = Field(default_factory=dict)
    """Scenarios that missed rounds, or have no test figures; left out where none did."""
    macro: dict[str, MacroResult]
    best_attainable: dict[str, dict[str, AttainableResult | None]] | None = None
    reference: list[str] = Field(default_factory=list)
    """Methods run beside this one; the results of each lie in a folder of its name beside this file."""
    start_from: str = ""
    """Run from whose models the scenarios started; empty if they started anew."""
    privacy: PrivacyResult | None = None
    """Privacy loss of the updates; None where they have no noise."""
    draws: Total = 0
    """Number of draws of test users behind the intervals; the AUC in each draw lies in `draws.json`."""
    differences: list[DrawnDifference] = Field(default_factory=list)
    """Differences of the reference methods to this one."""
    traffic: Traffic = Traffic()
    seconds: Seconds = Seconds()
    versions: dict[str, str]

    @model_serializer(mode="wrap")
    def _without_the_unusual(self, made: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_empty(made(self), "start_from", "missing", "privacy")

    @property
    def untested(self) -> list[str]:
        """Scenarios that should have taken part and have no test figures."""
        return [name for name, own in self.missing.items() if not own.tested]


def without_empty(document: dict[str, Any], *keys: str) -> dict[str, Any]:
    """Return a document without those of the keys whose values are empty."""
    return {key: value for key, value in document.items() if key not in keys or value}


def results_from(
    *,
    method: str,
    dataset: str,
    seed: int,
    rounds: int,
    scenarios: Mapping[str, ScenarioResult],
    missing: Mapping[str, MissingResult] | None = None,
    family: Family = "federated",
    parameters: Parameters = "personalised",
    best_attainable: Mapping[str, Mapping[str, AttainableResult | None]] | None = None,
    reference: Sequence[str] = (),
    start_from: str = "",
    traffic: Traffic | None = None,
    seconds: Seconds | None = None,
) -> RunResults:
    """Return a run's results, with the means over scenarios and the versions of packages.

    Parameters
    ----------
    method, dataset, seed, rounds
        Names of method and data set, the seed, and the number of rounds run.
    scenarios
        Results by scenario; stored in the order of the names.
    missing
        Absences by scenario.
    family, parameters
        Kind of method, and whether each scenario ends with parameters of its own.
    best_attainable
        Figures of the true probabilities by scenario and task, where they are known.
    reference
        Methods whose results lie in folders beside these.
    start_from
        Run from whose models the scenarios started.
    traffic, seconds
        Costs of the run.
    """
    ordered = {name: scenarios[name] for name in sorted(scenarios)}
    untested = [name for name, own in (missing or {}).items() if not own.tested]
    note = f"over {', '.join(ordered) or 'no scenario'}, without {', '.join(untested)}" if untested else ""
    best = {name: dict(best_attainable[name]) for name in sorted(best_attainable)} if best_attainable else None
    return RunResults(
        method=method,
        family=family,
        parameters=parameters,
        dataset=dataset,
        seed=seed,
        rounds=rounds,
        scenarios=ordered,
        missing=dict(missing or {}),
        macro={task: own.model_copy(update={"note": note}) for task, own in macro_of(ordered).items()},
        best_attainable=best,
        reference=list(reference),
        start_from=start_from,
        traffic=traffic or Traffic(),
        seconds=seconds or Seconds(),
        versions=versions(),
    )


def macro_of(scenarios: Mapping[str, ScenarioResult]) -> dict[str, MacroResult]:
    """Return the means of each task over the scenarios that have it, weighted equally."""
    by_task: dict[str, list[TaskResult]] = {}
    for scenario in scenarios.values():
        for task, result in scenario.tasks.items():
            by_task.setdefault(task, []).append(result)
    return {
        task: MacroResult(
            auc=mean([result.auc for result in results]),
            logloss=_mean_of_all([result.logloss for result in results]),
            gauc=mean([result.gauc for result in results]),
            logloss_calibrated=_mean_of_all([result.logloss_calibrated for result in results]),
        )
        for task, results in by_task.items()
    }


def _mean_of_all(losses: Sequence[float | None]) -> float | None:
    """Return the mean log loss; None if one is missing, as a model that has diverged must not drop out unseen."""
    return None if any(loss is None for loss in losses) else mean(losses)


def notes_of(runs: Iterable[RunResults]) -> list[str]:
    """Return the remarks on the runs' start, on missing scenarios, on noise and on the scenarios' data, each once."""
    runs = list(runs)
    starts = [f"Scenarios start from their models of {run.start_from}" for run in runs if run.start_from]
    missing = [note for run in runs for note in missing_notes(run.method, run.rounds, run.missing)]
    means = [f"{run.method}: means {own.note}" for run in runs for own in run.macro.values() if own.note]
    return list(dict.fromkeys([*starts, *missing, *means, *_noise_notes(runs), *_data_notes(runs)]))


def _data_notes(runs: Sequence[RunResults]) -> list[str]:
    """Return each remark on a scenario's data, with the names of the scenarios that have it."""
    names: dict[str, dict[str, None]] = {}
    for run in runs:
        for name, own in run.scenarios.items():
            if own.note:
                names.setdefault(own.note, {})[name] = None
    return [f"{', '.join(own)}: {note}" for note, own in names.items()]


def _noise_notes(runs: Sequence[RunResults]) -> list[str]:
    """Return the privacy loss of each method whose updates have noise: the smallest and the largest of its runs."""
    losses: dict[tuple[str, float], list[float]] = {}
    for run in runs:
        if run.privacy is not None and run.privacy.epsilon is not None:
            losses.setdefault((run.method, run.privacy.delta), []).append(run.privacy.epsilon)
    return [
        f"{method}: noise on updates, ε = {' to '.join(dict.fromkeys(f'{each:.3g}' for each in (min(own), max(own))))} "
        f"at δ = {delta:g} for the training rows of a scenario; sizes and measured figures are exact and not covered"
        for (method, delta), own in losses.items()
    ]


def versions() -> dict[str, str]:
    """Return the versions of the packages that computed the results."""
    found = {"python": platform.python_version(), "pfmsmtrec-flwr": pfmsmtrec_flwr.__version__}
    for package in ("flwr", "torch", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
