from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from compared import Fake, job_of

from pfmsmtrec_flwr.comparison.jobs import Job, JobStage, digest_of, perform
from pfmsmtrec_flwr.comparison.pruning import FIRST_TRIALS, Floor, run_score
from pfmsmtrec_flwr.comparison.spaces import combinations, own_settings_in, size
from pfmsmtrec_flwr.comparison.tuning import Tuned, planned_trials, tune
from pfmsmtrec_flwr.config import RunConfig, Settings
from pfmsmtrec_flwr.methods.base import Range, Space

SPACE: Space = {
    "train.lr": (0.003, 0.001, 0.002, 0.004),
    "train.batch_size": (1024, 256, 512),
    "model.dropout": (0.1, 0.3),
}
SMALL: Space = {"train.lr": (0.003, 0.004), "train.batch_size": (1024, 512)}
RANGES: Space = {"train.lr": Range(0.0005, 0.016, log=True), "train.batch_size": (1024, 512)}


class Trials:
    """Makes trials below a folder, and does their runs in the order in which a tuning asks for them."""

    def __init__(self, folder: Path, *, seeds: int = 1, **fake: Any) -> None:
        self.fake = Fake(folder / "journal", **fake)
        self.folder = folder
        self.seeds = seeds
        self.asked: list[Settings] = []
        self.floors: list[Floor] = []

    def runs_of(self, number: int, settings: Settings, floor: Floor) -> list[Job]:
        assert number == len(self.asked) + 1
        self.asked.append(settings)
        self.floors.append(floor)
        return [self._job(settings, seed, floor if seed == 0 else ()) for seed in range(self.seeds)]

    def tune(self, space: Space, trials: int, *, seed: int = 0, most: int = 1000) -> Tuned | None:
        """Tune to the end, or do `most` runs and stop there."""
        own = {key: values[0] for key, values in space.items() if isinstance(values, tuple)}
        own = {**own_settings_in(space, RunConfig()), **own}
        steps = tune(space, own, trials, seed, self.runs_of)
        while True:
            try:
                batch = next(steps)
            except StopIteration as end:
                result: Tuned = end.value
                return result
            for job in batch:
                if job.finished or job.stopped:
                    continue
                if not most:
                    return None
                most -= 1
                perform(job)

    def _job(self, settings: Settings, seed: int, floor: Floor) -> Job:
        config = RunConfig(method="alone", seed=seed).with_settings(settings, "test")
        folder = self.folder / digest_of(config, "")[:8]
        return job_of(folder, config, self.fake, stage=JobStage.TRIAL, floor=floor)


def key(settings: Settings) -> tuple[object, ...]:
    return tuple(sorted(settings.items()))


def score_in(folder: str) -> float:
    """Score of a run, below all others if it was stopped."""
    return (run_score(Path(folder)) or 0.0) if (Path(folder) / "results.json").exists() else 0.0


@pytest.fixture
def trials(tmp_path: Path) -> Callable[..., Trials]:
    def make(name: str, **options: Any) -> Trials:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        return Trials(folder, **options)

    return make


def test_a_small_space_is_tried_whole_and_the_best_is_chosen(trials: Callable[..., Trials]) -> None:
    made = trials("a")
    tuned = made.tune(SMALL, 9)
    assert tuned is not None
    assert made.asked[0] == next(combinations(SMALL))
    assert sorted(map(key, made.asked)) == sorted(map(key, combinations(SMALL)))
    assert tuned.settings == {"train.lr": 0.004, "train.batch_size": 512}
    assert tuned.score == tuned.auc == pytest.approx(0.63)
    assert tuned.trials == planned_trials(SMALL, 9) == 4


def test_nothing_to_tune_is_one_trial(trials: Callable[..., Trials]) -> None:
    approximately: Any = pytest.approx(0.6)
    assert trials("a").tune({}, 5) == Tuned({}, approximately, 1)


def test_a_large_space_is_sampled_from_the_configuration_on(trials: Callable[..., Trials]) -> None:
    made = trials("a")
    tuned = made.tune(SPACE, 12)
    assert tuned is not None
    assert made.asked[0] == {"train.lr": 0.003, "train.batch_size": 1024, "model.dropout": 0.1}
    assert len({key(settings) for settings in made.asked}) == len(made.asked) == tuned.trials == 12
    assert len(made.fake.calls) == 12
    assert tuned.score == max(score_in(folder) for _, _, folder in made.fake.calls)


def test_ranges_are_sampled_with_two_digits_and_the_configurations_own_value(trials: Callable[..., Trials]) -> None:
    made = trials("a")
    tuned = made.tune(RANGES, 12)
    assert tuned is not None
    assert made.asked[0] == {"train.lr": RunConfig().train.lr, "train.batch_size": 1024}
    rates = [settings["train.lr"] for settings in made.asked]
    assert len(set(rates)) > 6
    assert all(isinstance(rate, float) and 0.0005 <= rate <= 0.016 and float(f"{rate:.2g}") == rate for rate in rates)
    assert tuned.score is not None and tuned.score > 0.62


def test_almost_the_whole_space_can_be_asked_for(trials: Callable[..., Trials]) -> None:
    made = trials("a")
    count = planned_trials(SPACE, 1000) - 1
    assert count == size(SPACE) - 1
    tuned = made.tune(SPACE, count)
    assert tuned is not None
    assert len({key(settings) for settings in made.asked}) == tuned.trials == count


@pytest.mark.parametrize("most", [0, 1, 6, 13, 19])
def test_a_tuning_that_was_broken_off_goes_on_as_if_it_had_not_been(trials: Callable[..., Trials], most: int) -> None:
    whole = trials("whole", seeds=2, rounds=8)
    expected = whole.tune(RANGES, 14)
    broken = trials("broken", seeds=2, rounds=8)
    assert broken.tune(RANGES, 14, most=most) is None
    rest = trials("broken", seeds=2, rounds=8)
    assert rest.tune(RANGES, 14) == expected
    assert (rest.asked, rest.floors) == (whole.asked, whole.floors)
    assert [call[:2] for call in rest.fake.calls] == [call[:2] for call in whole.fake.calls]


@pytest.mark.parametrize("first", [1, 5, 8])
def test_more_trials_go_on_from_fewer(trials: Callable[..., Trials], first: int) -> None:
    whole = trials("whole", seeds=2, rounds=8)
    expected = whole.tune(RANGES, 15)
    trials("grown", seeds=2, rounds=8).tune(RANGES, first)
    grown = trials("grown", seeds=2, rounds=8)
    assert grown.tune(RANGES, 15) == expected
    assert (grown.asked, grown.floors) == (whole.asked, whole.floors)
    assert len(grown.fake.calls) == len({folder for _, _, folder in grown.fake.calls}) == len(whole.fake.calls)


def test_another_seed_tries_other_settings(trials: Callable[..., Trials]) -> None:
    one, other = trials("one"), trials("other")
    one.tune(SPACE, 6, seed=0)
    other.tune(SPACE, 6, seed=1)
    assert one.asked[0] == other.asked[0]
    assert one.asked != other.asked


def test_trials_that_fail_are_no_choice(trials: Callable[..., Trials]) -> None:
    tuned = trials("a", fails=("alone",)).tune(SPACE, 5)
    assert tuned == Tuned(next(combinations(SPACE)), None, 5)
    assert tuned.auc is None


def test_the_score_is_the_mean_over_seeds(trials: Callable[..., Trials]) -> None:
    tuned = trials("a", seeds=3).tune({}, 1)
    assert tuned is not None
    assert tuned.score == pytest.approx(0.601)  # 0.600, 0.601 and 0.602


def test_a_trial_that_fails_with_one_seed_has_no_score(trials: Callable[..., Trials], tmp_path: Path) -> None:
    made = trials("a", seeds=2)
    (tmp_path / "a" / "journal").touch()
    steps = tune({}, {}, 1, 0, made.runs_of)
    for job in next(steps):
        perform(job)
    next(steps)  # the run of the second seed, which is left undone
    with pytest.raises(StopIteration) as end:
        next(steps)
    assert end.value.value == Tuned({}, None, 1)


def test_settings_that_do_not_go_together_are_a_trial_without_a_score(trials: Callable[..., Trials]) -> None:
    class Picky(Trials):
        def runs_of(self, number: int, settings: Settings, floor: Floor) -> list[Job]:
            runs = super().runs_of(number, settings, floor)
            return [] if settings["train.batch_size"] == 512 else runs

    made = Picky(trials("a").folder)
    tuned = made.tune(SMALL, 9)
    assert tuned is not None
    assert (tuned.trials, len(made.fake.calls)) == (4, 2)
    assert tuned.settings == {"train.lr": 0.004, "train.batch_size": 1024}


def test_only_trials_whose_first_seed_is_promising_are_repeated(trials: Callable[..., Trials]) -> None:
    made = trials("a", seeds=2)
    tuned = made.tune(RANGES, 14)
    assert tuned is not None
    seeds = [seed for _, seed, _ in made.fake.calls]
    assert seeds.count(0) == 14
    assert seeds.count(1) == 14 - tuned.stopped
    assert 0 < tuned.stopped <= 14 - FIRST_TRIALS
    assert seeds[: 2 * FIRST_TRIALS] == [0, 0, 1, 1] * 2


def test_hopeless_runs_are_stopped_and_count_as_trials(trials: Callable[..., Trials]) -> None:
    made = trials("a", rounds=8)
    tuned = made.tune(RANGES, 20)
    assert tuned is not None
    unfinished = [folder for _, _, folder in made.fake.calls if not (Path(folder) / "results.json").exists()]
    assert tuned.trials == len(made.fake.calls) == 20
    assert 0 < len(unfinished) == tuned.stopped
    assert made.floors[:FIRST_TRIALS] == [()] * FIRST_TRIALS and made.floors[-1]
    assert tuned.score == max(score_in(folder) for _, _, folder in made.fake.calls)


def test_a_run_that_went_on_to_its_end_is_judged_as_if_it_had_been_stopped(trials: Callable[..., Trials]) -> None:
    class Patient(Fake):
        def __call__(self, config: RunConfig, *, data: Path, output: Path, floor: Floor = ()) -> None:  # noqa: ARG002
            super().__call__(config, data=data, output=output)

    stopped, patient = trials("stopped", rounds=8), trials("patient")
    patient.fake = Patient(patient.fake.journal, rounds=8)
    assert patient.tune(RANGES, 20) == stopped.tune(RANGES, 20)
    assert (patient.asked, patient.floors) == (stopped.asked, stopped.floors)
