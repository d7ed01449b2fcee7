"""The calibration in a model's folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from pfmsmtrec_flwr.data.store.manifest import file_checksum
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.scoring.kept_calibration import keep_calibration, load_calibration
from pfmsmtrec_flwr.training.calibration import CalibratedTask, Calibration, IsotonicCurve, PlattCurve

CALIBRATION = Calibration(
    kind="platt",
    tasks={
        "a": CalibratedTask(curve=PlattCurve(slope=0.1, intercept=-1 / 3), rows=9, positives=2, before=1.5, after=1.0),
        "b": CalibratedTask(
            curve=IsotonicCurve(log_odds=(-1.0, 2.0), probabilities=(0.1, 0.9)),
            rows=9,
            positives=3,
            before=0.5,
            after=1.0,
        ),
    },
)


def test_what_is_kept_is_read_and_has_a_checksum(tmp_path: Path) -> None:
    assert keep_calibration(CALIBRATION, tmp_path) == {"calibration.json": file_checksum(tmp_path / "calibration.json")}
    assert load_calibration(tmp_path) == CALIBRATION


def test_the_calibration_of_an_earlier_run_goes(tmp_path: Path) -> None:
    keep_calibration(CALIBRATION, tmp_path)
    assert keep_calibration(None, tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_calibration_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    with pytest.raises(UserError, match=r"cannot read .*calibration\.json: No such file"):
        load_calibration(tmp_path)
    path.write_text("{")
    with pytest.raises(UserError, match=r"calibration\.json is damaged"):
        load_calibration(tmp_path)
    falling = {"slope": -1.0, "intercept": 0.0}
    for tasks in ('{"a": 3}', f'{{"a": {falling}}}'.replace("'", '"')):
        path.write_text(f'{{"kind": "platt", "tasks": {tasks}}}')
        with pytest.raises(UserError, match=r"calibration\.json: key 'tasks\.a"):
            load_calibration(tmp_path)
