"""Choose a method's settings by validation figures, within a number of trials that is the same for all methods.

Nothing is stored but the trials' own folders: a tuning that was broken off asks the sampler the same questions again,
and gives it the answers that are there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

from pfmsmtrec_flwr.comparison.jobs import Job
from pfmsmtrec_flwr.comparison.spaces import combinations, size
from pfmsmtrec_flwr.config import Settings
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.methods.base import Space
from pfmsmtrec_flwr.results.means import mean
from pfmsmtrec_flwr.results.rounds import read_metrics
from pfmsmtrec_flwr.seeds import derive_seed
from pfmsmtrec_flwr.validation import dump_yaml

TUNED_NAME = "tuned.yaml"
_SEEDS = 2**32
_REPEATS = 50
"""Questions that the sampler may answer with settings tried already, before the next untried ones are taken."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """A method's settings as chosen.

    Attributes
    ----------
    settings
        By dotted key.
    score
        Mean validation AUC over scenarios and tasks, at the best round; None if no trial has one.
    trials
        Settings that were tried.
    """

    settings: Settings
    score: float | None
    trials: int


Tuning = Generator[Sequence[Job], None, Tuned]
"""Yields trials, and goes on when they have been done."""


def check_sampler() -> None:
    """Refuse to tune without the package that proposes settings.

    Raises
    ------
    UserError
        It is not installed.
    """
    if find_spec("optuna") is None:
        raise UserError("tuning needs optuna: pip install 'pfmsmtrec-flwr[compare]'")


def tune(space: Space, trials: int, seed: int, job_of: Callable[[Settings], Job]) -> Tuning:
    """Try settings, the configuration's own first, and return the best.

    Parameters
    ----------
    space
        Choices by key, the configuration's own first. If it has no more combinations than trials, all are tried.
    trials
        Different settings to try.
    seed
        Of the sampler, a tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011).
    job_of
        Makes a trial of settings.
    """
    tried: list[tuple[Settings, float | None]] = []
    if size(space) <= trials:
        jobs = [(settings, job_of(settings)) for settings in combinations(space)]
        yield [job for _, job in jobs]
        tried = [(settings, validation_score(job)) for settings, job in jobs]
    else:
        yield from _sample(space, trials, seed, job_of, tried)
    best, score = max(tried, key=lambda trial: -1.0 if trial[1] is None else trial[1])
    return Tuned(best, score, len(tried))


def validation_score(job: Job) -> float | None:
    """Return a trial's mean validation AUC over scenarios and tasks, at its best round; None if it failed."""
    if not job.finished:
        return None
    means = [mean(list(entry.macro.values())) for entry in read_metrics(job.folder)]
    return max((score for score in means if score is not None), default=None)


def write_tuned(path: Path, settings: Mapping[str, Settings], tuned: Mapping[str, Tuned], source: str) -> None:
    """Write chosen settings as a configuration file has them.

    Parameters
    ----------
    path
        The file.
    settings
        All that a method has of its own, the chosen included, by method.
    tuned
        What was chosen.
    source
        What it was chosen on, for a comment.
    """
    lines = [f"# Chosen on validation rows of {source}.", "methods:" if tuned else "methods: {}"]
    for name, chosen in tuned.items():
        score = "no trial has a figure" if chosen.score is None else f"validation AUC {chosen.score:.4f}"
        lines.append(f"  {json.dumps(name)}:  # {score}, best of {chosen.trials}")
        own = dump_yaml(settings[name]).splitlines() if settings[name] else ["{}"]
        lines += [f"    {line}" for line in own]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _sample(
    space: Space,
    trials: int,
    seed: int,
    job_of: Callable[[Settings], Job],
    tried: list[tuple[Settings, float | None]],
) -> Generator[Sequence[Job], None, None]:
    """Try what the sampler proposes, one after the other; what it proposes again is answered and not counted."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    choices = {key: optuna.distributions.CategoricalDistribution(values) for key, values in space.items()}
    sampler = optuna.samplers.TPESampler(seed=derive_seed(seed, "tune") % _SEEDS)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.enqueue_trial(next(combinations(space)))
    known: dict[str, float | None] = {}
    repeats = 0
    while len(tried) < trials:
        if repeats == _REPEATS:
            untried = (settings for settings in combinations(space) if _key(settings) not in known)
            study.enqueue_trial(next(islice(untried, 1)))
        trial = study.ask(dict(choices))
        settings: Settings = dict(trial.params)
        repeats += 1
        if _key(settings) not in known:
            repeats = 0
            job = job_of(settings)
            yield (job,)
            known[_key(settings)] = validation_score(job)
            tried.append((settings, known[_key(settings)]))
        score = known[_key(settings)]
        if score is None:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, score)


def _key(settings: Settings) -> str:
    return json.dumps(settings, sort_keys=True)
