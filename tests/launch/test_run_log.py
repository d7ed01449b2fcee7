from __future__ import annotations

from pathlib import Path

import pytest

from pfmsmtrec_flwr.launch.flower import NOT_STARTED, RunStatus
from pfmsmtrec_flwr.launch.run_log import FlowerLog

FAILED = RunStatus("finished:failed", "exit code 1")


@pytest.fixture
def log(tmp_path: Path) -> FlowerLog:
    return FlowerLog(tmp_path / "flower.log")


def test_a_run_has_no_number_before_flower_has_taken_it(log: FlowerLog) -> None:
    assert log.run_id == ""
    log.path.write_text("Successfully started run 42\n")
    assert log.run_id == "42"


def test_colours_are_removed(log: FlowerLog) -> None:
    log.path.write_text("\x1b[92mINFO\x1b[0m : done\n")
    log.remove_colours()
    assert log.path.read_text() == "INFO : done\n"


@pytest.mark.parametrize(
    ("text", "end", "reason"),
    [
        ("Traceback", FAILED, "(finished:failed): exit code 1"),
        ("", RunStatus("finished:unknown"), "(finished:unknown): no reason known"),
        ("╭─ Error ─╮\n│ no such key │\n╰──╯\n", NOT_STARTED, "(not started): no such key"),
        ("0:01\n╭─ Error ─╮\n│ no start: │\n│ /a/log │\n╰──╯\n", NOT_STARTED, "(not started): no start: /a/log"),
        ("", NOT_STARTED, "(not started): `flwr run` said nothing"),
    ],
)
def test_a_failure_has_a_reason_in_one_line(log: FlowerLog, text: str, end: RunStatus, reason: str) -> None:
    log.path.write_text(text)
    assert log.reason(end) == f"the run failed on Flower {reason}; the log is {log.path}"


def test_the_apps_last_error_for_the_user_is_the_reason(log: FlowerLog) -> None:
    log.path.write_text("UserError: one\nx UserError: two\nTraceback")
    assert log.reason(FAILED) == "two"


def test_the_daemons_log_is_appended_where_there_is_one(log: FlowerLog, tmp_path: Path) -> None:
    log.path.write_text("of the run")
    log.append(tmp_path / "missing.log")
    assert log.path.read_text() == "of the run"
    (tmp_path / "superlink.log").write_text("of the daemon")
    log.append(tmp_path / "superlink.log")
    assert log.path.read_text() == "of the run\n--- superlink.log ---\nof the daemon"
