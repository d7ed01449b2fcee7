from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from modes import open_to_others

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.results.predictions import read_predictions, write_predictions


def test_predictions_are_kept_by_scenario(tmp_path: Path) -> None:
    predictions = np.array([[0.25, 0.5], [0.125, 1.0]])
    write_predictions({"US": predictions}, tmp_path)
    kept = read_predictions(tmp_path, "US")
    assert kept is not None
    assert kept.dtype == np.float32
    np.testing.assert_array_equal(kept, predictions)
    assert read_predictions(tmp_path, "NL") is None
    assert [path.name for path in (tmp_path / "predictions").iterdir()] == ["US.npy"]
    assert open_to_others(tmp_path / "predictions") == []


def test_a_damaged_file_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "predictions").mkdir()
    path = tmp_path / "predictions" / "US.npy"
    path.write_bytes(b"no array")
    with pytest.raises(UserError, match=r"US\.npy is damaged \(.*\): remove its folder, and run again$"):
        read_predictions(tmp_path, "US")
    np.save(path, np.zeros(3))
    with pytest.raises(UserError, match=r"US\.npy holds float64 \(3,\), expected float32 \(rows, tasks\): run again$"):
        read_predictions(tmp_path, "US")


def test_a_folder_that_cannot_be_written_to_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "predictions").write_text("")
    with pytest.raises(UserError, match=r"^cannot write .*US\.npy: "):
        write_predictions({"US": np.zeros((1, 1))}, tmp_path)
