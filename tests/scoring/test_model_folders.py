"""The models that a folder stands for."""

from __future__ import annotations

from pathlib import Path

import pytest
from compared import run_results

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.results.writer import write_results
from pfmsmtrec_flwr.scoring.model_folders import model_folders


def save(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "model.json").write_text("{}")
    return folder


def test_a_model_a_method_and_a_run(tmp_path: Path) -> None:
    expected = [save(tmp_path / "clients" / "fedavg" / name) for name in ("DE", "NL")]
    (tmp_path / "clients" / "fedavg" / "FR").mkdir()  # of a scenario that left no model
    for folder in (tmp_path, tmp_path / "clients" / "fedavg"):
        assert model_folders(folder) == expected
    assert model_folders(expected[1]) == [expected[1]]


def test_of_several_methods_the_runs_own_counts(tmp_path: Path) -> None:
    own = save(tmp_path / "clients" / "fedavg" / "NL")
    other = save(tmp_path / "clients" / "alone" / "NL")
    with pytest.raises(UserError, match=r"no results\.json in "):
        model_folders(tmp_path)
    write_results(run_results("fedavg", 0, {"NL": {"ctr": 0.7}}), tmp_path)
    assert model_folders(tmp_path) == [own]
    write_results(run_results("pooled-mmoe", 0, {"NL": {"ctr": 0.7}}), tmp_path)
    with pytest.raises(UserError) as caught:
        model_folders(tmp_path)
    assert str(caught.value) == (
        f"no model of method pooled-mmoe in {tmp_path}: give one of {other.parent}, {own.parent}"
    )


def test_folders_without_a_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is no folder: give the output folder of a run"):
        model_folders(tmp_path / "none")
    with pytest.raises(UserError, match=r"no saved model in .*A run that did not finish has none"):
        model_folders(tmp_path)
