from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.resume.run_checkpoints import RunBeginning, is_broken_off, run_checkpoints
from pfmsmtrec_flwr.training.description import Description
from pfmsmtrec_flwr.training.records import Attention, Conflict, RoundRecord, TaskValidation, TrainingResult

CONFIG = RunConfig()


def beginning(config: RunConfig = CONFIG, run: int = 7, **changes: Any) -> RunBeginning:
    return RunBeginning.of(config, run=run, data="/data", start_from="").model_copy(update=changes)


def break_off(output: Path) -> None:
    with pytest.raises(KeyboardInterrupt), run_checkpoints(output, beginning(), resume=False):
        raise KeyboardInterrupt


def test_a_run_that_was_broken_off_keeps_its_first_number(tmp_path: Path) -> None:
    break_off(tmp_path)
    assert is_broken_off(tmp_path)
    with pytest.raises(UserError, match="holds a run that was broken off: resume it"):
        run_checkpoints(tmp_path, beginning(), resume=False).__enter__()
    with run_checkpoints(tmp_path, beginning(run=8, data="/elsewhere"), resume=True) as checkpoints:
        assert checkpoints.run == 7
    assert list(tmp_path.iterdir()) == []  # nothing is left of a run that has finished


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (
            beginning(CONFIG.with_settings({"train.lr": 0.5}, "test")),
            rf"train.lr is 0.5 now and was {CONFIG.train.lr} when the run began",
        ),
        (
            beginning(CONFIG.with_settings({"fedprox.mu": 0.5}, "test")),
            r"methods.fedprox is \{'mu': 0.5\} now and was None when",
        ),
        (
            beginning(versions=beginning().versions | {"pfmsmtrec-flwr": "9.0"}),
            r"version of pfmsmtrec-flwr is '9.0' now and was '",
        ),
        (beginning(start_from="/yesterday"), r"start-from is '/yesterday' now and was '' when the run began"),
    ],
)
def test_what_differs_is_refused_by_name(tmp_path: Path, now: RunBeginning, said: str) -> None:
    break_off(tmp_path)
    with (
        pytest.raises(UserError, match=rf"^cannot resume {tmp_path}: {said}"),
        run_checkpoints(tmp_path, now, resume=True),
    ):
        pass
    assert is_broken_off(tmp_path)


def test_what_cannot_be_resumed_says_so(tmp_path: Path) -> None:
    for output, said in ((tmp_path / "new", "no checkpoints in .*: there is nothing to resume"), (tmp_path, "damaged")):
        if said == "damaged":
            break_off(output)
            (output / "checkpoints" / "run.json").write_text("{")
        with pytest.raises(UserError, match=said), run_checkpoints(output, beginning(), resume=True):
            pass
    assert not (tmp_path / "new").exists()
    (tmp_path / "results.json").write_text("{}")
    with (
        pytest.raises(UserError, match="holds the results of a finished run"),
        run_checkpoints(tmp_path, beginning(), resume=True),
    ):
        pass


def test_two_processes_do_not_go_on_with_one_run(tmp_path: Path) -> None:
    with run_checkpoints(tmp_path, beginning(), resume=False), pytest.raises(UserError, match="another process"):
        run_checkpoints(tmp_path, beginning(), resume=True).__enter__()


def test_the_result_of_a_finished_method_survives(tmp_path: Path) -> None:
    record = RoundRecord(
        round=1,
        losses={"NL": 0.3},
        validation={"NL": {"ctr": TaskValidation(None, 0.2)}},
        shares={"NL": {"alpha": 0.5}},
        gates={"NL": {"ctr": [0.25, 0.75]}},
        conflict=Conflict(["NL"], [1.0], [[[1.0]]]),
        attention={"ctr": Attention(("NL",), [[1.0]])},
        elapsed=2.5,
    )
    described = Description(
        scenario="NL", dataset="shop", schema_hash="1f", tasks=["ctr"], numeric=2, fields=["item"], rows=[90],
        federated=[True], examples={"train": 50, "validation": 10, "test": 10}, train_positives=[5], used_rows=50,
        used_positives=[5],
    )  # fmt: skip
    result = TrainingResult(
        rounds=[record],
        selected={"NL": 1},
        test={"NL": {"auc.ctr": 0.1 + 0.2}},
        scenarios={"NL": described},
        draws={"NL": {"ctr": np.array([0.5, np.nan], np.float32)}},
        seconds=1.5,
    )
    with run_checkpoints(tmp_path, beginning(), resume=False) as checkpoints:
        assert checkpoints.finished("fedavg") is None
        checkpoints.finish("fedavg", result)
        found = checkpoints.finished("fedavg")
        assert found is not None
        np.testing.assert_array_equal(found.draws["NL"]["ctr"], result.draws["NL"]["ctr"])
        assert replace(found, draws=result.draws) == result
