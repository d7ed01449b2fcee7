from __future__ import annotations

import json
from pathlib import Path

import pytest

from pfmsmtrec_flwr.launch.flower import FlowerCommand, RunStatus


def listing(**run: str) -> str:
    return "a line before\n" + json.dumps({"success": True, "runs": [run]})


@pytest.mark.parametrize(
    ("status", "finished", "completed"),
    [("running", False, False), ("finished:completed", True, True), ("finished:failed", True, False)],
)
def test_a_status_is_read_from_flowers_listing(status: str, finished: bool, completed: bool) -> None:
    read = RunStatus.parse(listing(**{"status": status, "status-details": "why"}))
    assert read == RunStatus(status, "why")
    assert (read.finished, read.completed) == (finished, completed)


@pytest.mark.parametrize(
    ("output", "details"),
    [
        ("Connection refused", "Flower did not say how the run ended"),
        (json.dumps({"success": False, "error-message": "no such run"}), "no such run"),
    ],
)
def test_without_an_answer_a_run_has_not_completed(output: str, details: str) -> None:
    assert RunStatus.parse(output) == RunStatus("finished:unknown", details)


def test_a_daemon_sees_its_private_home_and_nobody_elses_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    short, long = Path("/tmp/pfmsmtrec-x"), tmp_path / ("x" * 40)
    environment = FlowerCommand.at(short).environment
    assert environment["FLWR_HOME"] == environment["RAY_TMPDIR"] == str(short)
    assert "RAY_ADDRESS" not in environment
    assert "RAY_TMPDIR" not in FlowerCommand.at(long).environment  # the path of a socket below it would be too long
