from __future__ import annotations

from pathlib import Path

import pytest
from federated import Tiny

from pfmsmtrec_flwr.comparison.grounds import OTHER_WORLD, own_ground, tuning_grounds
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.errors import UserError

MADE_UP = {"train_rows": {"A": 200}, "validation_rows": 60, "test_rows": 80, "ctr": 0.4, "seed": 3}
CONFIG = RunConfig().model_copy(
    update={"data": RunConfig().data.model_copy(update={"synthetic": MADE_UP, "train_fraction": 0.5})}
)


def test_trials_run_in_other_worlds_than_the_one_that_is_reported(tmp_path: Path) -> None:
    own = own_ground(CONFIG, tmp_path)
    assert own.settings(CONFIG.data) == CONFIG.data
    grounds = [*tuning_grounds(CONFIG, (), tmp_path), *tuning_grounds(CONFIG, ("101", "102"), tmp_path)]
    assert [ground.name for ground in grounds] == [
        f"made-up world {3 + OTHER_WORLD}",
        "made-up world 101",
        "made-up world 102",
    ]
    changed = [ground.settings(CONFIG.data) for ground in grounds]
    assert [data.synthetic for data in changed] == [{**MADE_UP, "seed": seed} for seed in (1003, 101, 102)]
    assert {data.train_fraction for data in changed} == {0.5}
    assert len({own.fingerprint, *(ground.fingerprint for ground in grounds)}) == 4


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("101", "3"), r"^--tune-on: got 3, the world that is reported: name other worlds$"),
        (("03",), r"^--tune-on: got 3, the world that is reported: name other worlds$"),
        (("1", "1"), r"^--tune-on: got 1,1, expected each name once$"),
        (("kuairand",), r"^--tune-on: got 'kuairand', expected the seed of a made-up world, a whole number$"),
    ],
)
def test_a_world_that_cannot_be_tuned_on_is_refused(tmp_path: Path, names: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        tuning_grounds(CONFIG, names, tmp_path)


def test_trials_run_on_the_data_set_of_the_runs_or_on_those_that_are_named(tiny: Tiny, tmp_path: Path) -> None:
    for dataset, seed in (("reported", 1), ("earlier", 2)):
        for scenario in ("FR", "US"):
            Tiny(tmp_path).write(dataset, scenario, rows=48, seed=seed)
    config = tiny.config("alone", data__name="reported")
    own = own_ground(config, tmp_path)
    (same,) = tuning_grounds(config, (), tmp_path)
    assert (same.name, same.fingerprint, same.settings(config.data)) == ("reported", own.fingerprint, config.data)
    (earlier,) = tuning_grounds(config, ("earlier",), tmp_path)
    assert earlier.settings(config.data).name == earlier.name == "earlier"
    assert earlier.fingerprint != own.fingerprint
    both = tuning_grounds(config, ("reported", "earlier"), tmp_path)
    assert [ground.fingerprint for ground in both] == [own.fingerprint, earlier.fingerprint]
    with pytest.raises(UserError, match=r"^no prepared data of 'none' in "):
        tuning_grounds(config, ("none",), tmp_path)
