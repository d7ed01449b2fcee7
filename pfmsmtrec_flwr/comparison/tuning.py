"""Choice of a method's settings by validation figures, with the same number of trials for every method.

Only the runs' own folders are stored: a tuning that was interrupted asks the sampler the same questions again and
answers them from these folders. The trials of a tuning with fewer trials are the first ones of a tuning with more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from statistics import fmean

from pfmsmtrec_flwr.comparison.jobs import Job
from pfmsmtrec_flwr.comparison.pruning import Floor, floor_of, is_hopeless, is_repeated, run_score, score_curve
from pfmsmtrec_flwr.comparison.sampling import Outcome, Proposals
from pfmsmtrec_flwr.comparison.spaces import size
from pfmsmtrec_flwr.config import Settings
from pfmsmtrec_flwr.methods.base import Space

_AT_ONCE = 2
"""Number of trials of a method that are proposed together, whatever the number of processes."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """Chosen settings of a method.

    Attributes
    ----------
    settings
        Settings by dotted key.
    score
        Mean score over the runs of the best trial; None if no trial has one.
    trials
        Number of settings that were tried.
    stopped
        Number of trials among them that were cut short.
    """

    settings: Settings
    score: float | None
    trials: int
    stopped: int = 0

    @property
    def auc(self) -> float | None:
        """Mean validation AUC over scenarios, tasks and runs of the best trial; None if no AUC is defined."""
        return self.score if self.score is not None and self.score >= 0 else None


Tuning = Generator[Sequence[Job], None, Tuned]
"""Generator that yields runs of trials and goes on when they have ended."""
RunsOf = Callable[[int, Settings, Floor], Sequence[Job]]
"""Function that makes the runs of a trial of its number, its settings, and the floor of its first run; it makes none
where the settings do not go together, and the trial has no score."""


def tune(space: Space, own: Settings, trials: int, seed: int, runs_of: RunsOf) -> Tuning:
    """Try settings, those of the configuration first, and return the best.

    The first run of a trial decides whether the others follow, see `pruning`.

    Parameters
    ----------
    space
        Choices by key. If it has no more combinations than trials, all are tried.
    own
        The configuration's own settings in this space.
    trials
        Number of different settings to try.
    seed
        Seed of the sampler.
    runs_of
        Function that makes the runs of a trial.
    """
    proposals = Proposals(space, own, seed)
    count = planned_trials(space, trials)
    tried: list[_Trial] = []
    while len(tried) < count:
        floor = floor_of([trial.curve for trial in tried])
        earlier = [trial.first for trial in tried if trial.first is not None]
        batch = []
        for number in range(len(tried) + 1, min(len(tried) + _AT_ONCE, count) + 1):
            settings = proposals.ask()
            batch.append(_Trial(settings, runs_of(number, settings, floor), floor))
        yield [run for trial in batch for run in trial.runs[:1]]
        for trial in batch:
            trial.judge(earlier)
        yield [run for trial in batch if trial.stage is None for run in trial.runs[1:]]
        for trial in batch:
            proposals.tell(trial.settings, trial.outcome())
        tried += batch
    complete = [(trial, score) for trial in tried if (score := trial.score()) is not None]
    best, score = max(complete, key=lambda each: each[1], default=(tried[0], None))
    return Tuned(best.settings, score, len(tried), sum(trial.stage is not None for trial in tried))


def planned_trials(space: Space, trials: int) -> int:
    """Return the number of trials of a space, which may have fewer combinations than are asked for."""
    return int(min(trials, size(space)))


class _Trial:
    """Settings that are tried.

    Parameters
    ----------
    settings
        Settings by key.
    runs
        Runs with these settings, in the order of seeds and data.
    floor
        Floor of the first run.

    Attributes
    ----------
    first
        Score of the first run; None before it has ended, and if it failed.
    stage
        Stage in which the trial was cut short: 0 in its first run, 1 after it; None: it was not.
    """

    def __init__(self, settings: Settings, runs: Sequence[Job], floor: Floor) -> None:
        self.settings = settings
        self.runs = runs
        self.first: float | None = None
        self.stage: int | None = None
        self._floor = floor

    @property
    def curve(self) -> Sequence[float]:
        """Best score of the first run by round."""
        return score_curve(self.runs[0].folder) if self.runs else ()

    def judge(self, earlier: Sequence[float]) -> None:
        """Decide by the first run whether the others follow."""
        curve = self.curve
        if is_hopeless(curve, self._floor):
            self.stage = 0
            self.first = curve[-1] if math.isfinite(curve[-1]) else None
        elif self.runs and self.runs[0].finished:
            self.first = run_score(self.runs[0].folder)
            if len(self.runs) > 1 and self.first is not None and not is_repeated(self.first, earlier):
                self.stage = 1

    def score(self) -> float | None:
        """Return the mean score over all runs; None if there are not all of them."""
        if self.stage is not None or not self.runs or not all(run.finished for run in self.runs):
            return None
        scores = [score for run in self.runs if (score := run_score(run.folder)) is not None]
        return fmean(scores) if len(scores) == len(self.runs) else None

    def outcome(self) -> Outcome:
        """Return what the sampler learns."""
        return Outcome(self.score() if self.stage is None else self.first, self.stage)
