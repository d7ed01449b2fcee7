"""Write and read `metrics.jsonl`, a line per round."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.results.schema import Figure, without_empty
from pfmsmtrec_flwr.validation import Section, parse

METRICS_NAME = "metrics.jsonl"


class Validation(Section):
    """Validation figures of one task in one scenario."""

    auc: Figure
    logloss: Figure = None


class ScenarioRound(Section):
    """Report of one scenario in a round."""

    loss: Figure = None
    """Mean training objective of the round's batches."""
    validation: dict[str, Validation] = Field(default_factory=dict)


class ConflictRound(Section):
    """Cosines between the scenarios' updates, per expert."""

    scenarios: list[str]
    """Order of the axes of `cosines`; empty where there are too many scenarios to log all pairs."""
    mean: list[float]
    """Mean over pairs of scenarios, for each expert."""
    cosines: list[list[list[float]]]
    """Cosine for each expert, scenario and scenario."""


class AttentionRound(Section):
    """Attention between the scenarios' tower updates of one task."""

    scenarios: list[str]
    """Order of the axes of `weights`."""
    weights: list[list[float]]
    """Weight of each scenario's update in each scenario's mixture, mean over layers; each row sums to one."""


class RoundMetrics(Section):
    """One line of `metrics.jsonl`: one round of one method."""

    method: str
    round: int
    rounds: int
    """Number of rounds configured; early stopping may end the run before."""
    seconds: float
    """Seconds since the method started."""
    scenarios: dict[str, ScenarioRound]
    macro: dict[str, Figure] = Field(default_factory=dict)
    """Validation AUC by task, mean over the scenarios that have measured the round."""
    missing: list[str] = Field(default_factory=list)
    """Scenarios without an update in the round."""
    unmeasured: list[str] = Field(default_factory=list)
    """Scenarios that have not measured the round, and so do not count in `macro`."""
    up_bytes: int = 0
    down_bytes: int = 0
    alpha: dict[str, dict[str, float]] | None = None
    """α, β and other learned shares, by scenario and name."""
    gates: dict[str, dict[str, list[float]]] | None = None
    """Mean share of each expert by scenario and task."""
    conflict: ConflictRound | None = None
    attention: dict[str, AttentionRound] | None = None
    """Attention of the towers, by task."""


class MetricsLog:
    """Log of a method's rounds; each line can be read by others at once.

    Parameters
    ----------
    folder
        Output folder of the method; made if it is missing. A log that is there is replaced.
    method, rounds
        Name of the method and number of rounds configured, written into every line.
    clock
        Function that returns seconds from any origin.

    Examples
    --------
    >>> log = MetricsLog(Path("runs/mine"), method="fedavg", rounds=20)
    >>> log.append(1, {"NL": {"loss": 0.31, "validation": {"ctr": {"auc": 0.61, "logloss": 0.3}}}}).macro
    {'ctr': 0.61}
    """

    def __init__(self, folder: Path, *, method: str, rounds: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = folder / METRICS_NAME
        self._method = method
        self._rounds = rounds
        self._clock = clock
        self._origin = clock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.path.write_text("", encoding="utf-8")
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror}") from None

    def append(
        self,
        round_number: int,
        scenarios: Mapping[str, Mapping[str, Any]],
        *,
        up_bytes: int = 0,
        down_bytes: int = 0,
        alpha: Mapping[str, Mapping[str, float]] | None = None,
        gates: Mapping[str, Mapping[str, Sequence[float]]] | None = None,
        conflict: Mapping[str, Any] | None = None,
        attention: Mapping[str, Mapping[str, Any]] | None = None,
        missing: Iterable[str] = (),
        unmeasured: Iterable[str] = (),
        seconds: float | None = None,
    ) -> RoundMetrics:
        """Write one round's line and return it.

        Parameters
        ----------
        round_number
            Number of the round, from 1 on.
        scenarios
            Reports by name: ``{"loss": x, "validation": {task: {"auc": x, "logloss": x}}}``; NaN becomes null.
        up_bytes, down_bytes
            Bytes sent in this round.
        alpha
            Learned shares, by scenario and name.
        gates
            Mean share of each expert, by scenario and task.
        conflict
            Fields of `ConflictRound`.
        attention
            Fields of `AttentionRound`, by task.
        missing, unmeasured
            Scenarios without an update in the round, and those that have not measured it.
        seconds
            Seconds since the method started; None: since this log was begun.

        Raises
        ------
        UserError
            The line cannot be written.
        """
        source = f"round {round_number}"
        reported = {name: parse(ScenarioRound, scenarios[name], source) for name in sorted(scenarios)}
        entry = RoundMetrics(
            method=self._method,
            round=round_number,
            rounds=self._rounds,
            seconds=round(self._clock() - self._origin if seconds is None else seconds, 3),
            scenarios=reported,
            macro=_macro(reported),
            missing=sorted(missing),
            unmeasured=sorted(unmeasured),
            up_bytes=up_bytes,
            down_bytes=down_bytes,
            alpha=None if alpha is None else {name: dict(own) for name, own in alpha.items()},
            gates=_rounded(gates),
            conflict=None if conflict is None else parse(ConflictRound, _rounded(conflict), source),
            attention=None
            if attention is None
            else {task: parse(AttentionRound, _rounded(own), source) for task, own in attention.items()},
        )
        try:
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(_line(entry))
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror}") from None
        return entry


class GrowingLog:
    """Log in a method's output folder while it grows; what an earlier run left there does not count."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read = self.stamp
        self._rounds: list[RoundMetrics] = []

    @property
    def stamp(self) -> tuple[int, int]:
        """Time at which the log last grew, and its size; zeros where there is none."""
        try:
            status = (self._folder / METRICS_NAME).stat()
        except OSError:
            return (0, 0)
        return (status.st_mtime_ns, status.st_size)

    def rounds(self) -> list[RoundMetrics]:
        """Return the rounds logged so far; the file is read only if it has changed. See `read_metrics`."""
        if (stamp := self.stamp) != self._read:
            self._read, self._rounds = stamp, read_metrics(self._folder)
        return self._rounds


def read_metrics(folder: Path) -> list[RoundMetrics]:
    """Return the rounds logged so far, without a line that is still being written; none if there is no file.

    Raises
    ------
    UserError
        A line is damaged.
    """
    path = folder / METRICS_NAME
    try:
        content = path.read_bytes()
    except OSError:
        return []
    *whole, _ = content.split(b"\n")
    return [_entry(line, f"{path}, line {number}") for number, line in enumerate(whole, start=1)]


def _macro(scenarios: Mapping[str, ScenarioRound]) -> dict[str, float | None]:
    by_task: dict[str, list[float]] = {}
    for scenario in scenarios.values():
        for task, figures in scenario.validation.items():
            defined = by_task.setdefault(task, [])
            if figures.auc is not None:
                defined.append(figures.auc)
    return {task: sum(defined) / len(defined) if defined else None for task, defined in by_task.items()}


def _rounded(value: Any) -> Any:
    """Return a nested structure with its numbers rounded: more would only make the file long."""
    if isinstance(value, Mapping):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(inner) for inner in value]
    return round(value, 5) if isinstance(value, float) else value


def _entry(line: bytes, source: str) -> RoundMetrics:
    try:
        document = json.loads(line)
    except ValueError as error:
        raise UserError(f"{source} is not valid JSON ({error}): remove the line, or run again") from None
    return parse(RoundMetrics, document, source)


def _line(entry: RoundMetrics) -> str:
    document = entry.model_dump(mode="json")
    for optional in ("alpha", "gates", "conflict", "attention"):
        if document[optional] is None:
            del document[optional]
    document = without_empty(document, "missing", "unmeasured")
    return json.dumps(document, ensure_ascii=False, allow_nan=False) + "\n"
