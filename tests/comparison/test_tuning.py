from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from compared import Fake, job_of

from pfmsmtrec_flwr.comparison import tuning
from pfmsmtrec_flwr.comparison.jobs import Job, JobStage, digest_of, perform
from pfmsmtrec_flwr.comparison.spaces import combinations, size
from pfmsmtrec_flwr.comparison.tuning import Tuned, check_sampler, tune, validation_score, write_tuned
from pfmsmtrec_flwr.config import RunConfig, Settings
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.methods.base import Space
from pfmsmtrec_flwr.methods.configuration import load_config
from pfmsmtrec_flwr.results.rounds import MetricsLog

SPACE: Space = {
    "train.lr": (0.003, 0.001, 0.002, 0.004),
    "train.batch_size": (1024, 256, 512),
    "model.dropout": (0.1, 0.3),
}
SMALL: Space = {"train.lr": (0.003, 0.004), "train.batch_size": (1024, 256)}


class Trials:
    """Makes trials below a folder, and does them in the order in which a tuning asks for them."""

    def __init__(self, folder: Path, method: str = "alone", **fails: tuple[str, ...]) -> None:
        self.fake = Fake(folder / "journal", **fails)
        self.method = method
        self.folder = folder
        self.asked: list[Settings] = []

    def job_of(self, settings: Settings) -> Job:
        self.asked.append(settings)
        config = RunConfig(method=self.method).with_settings(settings, "test")
        return job_of(self.folder / digest_of(config, "")[:8], config, self.fake, stage=JobStage.TRIAL)

    def tune(self, space: Space, trials: int, *, seed: int = 0, most: int = 1000) -> Tuned | None:
        """Tune to the end, or do no more than so many jobs."""
        steps = tune(space, trials, seed, self.job_of)
        while True:
            try:
                batch = next(steps)
            except StopIteration as end:
                result: Tuned = end.value
                return result
            for job in batch:
                if job.finished:
                    continue
                if not most:
                    return None
                most -= 1
                perform(job)


def key(settings: Settings) -> tuple[object, ...]:
    return tuple(sorted(settings.items()))


@pytest.fixture
def trials(tmp_path: Path) -> Callable[[str], Trials]:
    def make(name: str, **fails: Any) -> Trials:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        return Trials(folder, **fails)

    return make


def test_a_small_space_is_tried_whole_and_the_best_is_chosen(trials: Callable[..., Trials]) -> None:
    made = trials("a")
    tuned = made.tune(SMALL, 9)
    assert tuned is not None
    assert made.asked == list(combinations(SMALL))
    assert tuned.settings == {"train.lr": 0.004, "train.batch_size": 256}
    assert tuned.score == pytest.approx(0.63)
    assert tuned.trials == 4


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
    scores = [validation_score(job_of(Path(folder), RunConfig(), None)) or 0.0 for _, _, folder in made.fake.calls]
    assert tuned.score == max(scores)


def test_almost_the_whole_space_can_be_asked_for(trials: Callable[..., Trials]) -> None:
    made = trials("a")
    tuned = made.tune(SPACE, size(SPACE) - 1)
    assert tuned is not None
    assert len({key(settings) for settings in made.asked}) == tuned.trials == size(SPACE) - 1


def test_a_tuning_that_was_broken_off_goes_on_as_if_it_had_not_been(trials: Callable[..., Trials]) -> None:
    whole = trials("whole")
    expected = whole.tune(SPACE, 14)
    broken = trials("broken")
    assert broken.tune(SPACE, 14, most=6) is None
    rest = trials("broken")
    assert rest.tune(SPACE, 14) == expected
    assert rest.asked == whole.asked
    assert len(rest.fake.calls) == 14


def test_another_seed_tries_other_settings(trials: Callable[..., Trials]) -> None:
    one, other = trials("one"), trials("other")
    one.tune(SPACE, 6, seed=0)
    other.tune(SPACE, 6, seed=1)
    assert one.asked[0] == other.asked[0]
    assert one.asked != other.asked


def test_trials_that_fail_are_no_choice(trials: Callable[..., Trials]) -> None:
    tuned = trials("a", fails=("alone",)).tune(SPACE, 5)
    assert tuned == Tuned(next(combinations(SPACE)), None, 5)


def test_the_score_is_of_the_best_round_over_scenarios_and_tasks(tmp_path: Path) -> None:
    job = job_of(tmp_path, RunConfig(), None)
    log = MetricsLog(tmp_path, method="alone", rounds=3)
    for number, (first, second) in enumerate(((0.5, 0.6), (0.8, 0.7), (0.6, 0.6)), start=1):
        log.append(
            number,
            {
                "A": {"validation": {"ctr": {"auc": first}, "cvr": {"auc": 0.5}}},
                "B": {"validation": {"ctr": {"auc": second}, "cvr": {"auc": None}}},
            },
        )
    assert validation_score(job) is None  # not finished
    (tmp_path / "results.json").write_text("{}")
    assert validation_score(job) == pytest.approx((0.75 + 0.5) / 2)


def test_what_was_chosen_can_be_pasted_into_a_configuration(tmp_path: Path) -> None:
    path = tmp_path / "tuned.yaml"
    own: dict[str, Settings] = {
        "alone": {"train.lr": 0.002, "train.weight_decay": 1e-06},
        "fedavg": {"federation.tables": "plain", "train.reestimate_batch_norm": False},
        "base-rate": {},
    }
    tuned = {"alone": Tuned({}, 0.61234, 20), "fedavg": Tuned({}, None, 3), "base-rate": Tuned({}, 0.5, 1)}
    write_tuned(path, own, tuned, "kuairand, seed 0")
    assert load_config(str(path)).methods == own
    text = path.read_text()
    assert text.startswith("# Chosen on validation rows of kuairand, seed 0.\nmethods:\n")
    assert '  "alone":  # validation AUC 0.6123, best of 20\n' in text
    assert '  "fedavg":  # no trial has a figure, best of 3\n' in text
    write_tuned(path, {}, {}, "kuairand, seed 0")
    assert load_config(str(path)).methods == {}


def test_tuning_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    check_sampler()
    monkeypatch.setattr(tuning, "find_spec", lambda name: None if name == "optuna" else importlib.util.find_spec(name))
    with pytest.raises(UserError, match=r"^tuning needs optuna: pip install 'pfmsmtrec-flwr\[compare\]'$"):
        check_sampler()
