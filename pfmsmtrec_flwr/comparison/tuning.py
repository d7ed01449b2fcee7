"""Choice of a method's settings by validation figures, with the same number of trials for every method.

Only the trials' own folders are stored: a tuning that was interrupted asks the sampler the same questions again and
answers them from these folders.
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
"""Number of proposals in a row that may have been tried already, before the next untried settings are taken."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """Chosen settings of a method.

    Attributes
    ----------
    settings
        Settings by dotted key.
    score
        Mean validation AUC over scenarios and tasks, at the best round; None if no trial has one.
    trials
        Number of settings that were tried.
    """

    settings: Settings
    score: float | None
    trials: int


Tuning = Generator[Sequence[Job], None, Tuned]
"""Generator that yields trials and goes on when they have been run."""


def check_sampler() -> None:
    """Check that the package that proposes settings is installed.

    Raises
    ------
    UserError
        The package is not installed.
    """
    if find_spec("optuna") is None:
        raise UserError("tuning needs optuna: pip install 'pfmsmtrec-flwr[compare]'")


def tune(space: Space, trials: int, seed: int, job_of: Callable[[Settings], Job]) -> Tuning:
    """Try settings, those of the configuration first, and return the best.

    Parameters
    ----------
    space
        Choices by key, that of the configuration first. If it has no more combinations than trials, all are tried.
    trials
        Number of different settings to try.
    seed
        Seed of the sampler, a tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011).
    job_of
        Function that makes a trial of settings.
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
    means = [mean(entry.macro.values()) for entry in read_metrics(job.folder)]
    return max((score for score in means if score is not None), default=None)


def write_tuned(path: Path, settings: Mapping[str, Settings], tuned: Mapping[str, Tuned], source: str) -> None:
    """Write chosen settings in the form of a configuration file.

    Parameters
    ----------
    path
        File to write.
    settings
        Settings of single methods, including the chosen ones, by method.
    tuned
        Chosen settings by method.
    source
        Rows on which they were chosen, for a comment.
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
    """Try the sampler's proposals one after the other; a repeated proposal is answered and not counted."""
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
