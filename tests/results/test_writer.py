from __future__ import annotations

import math
from pathlib import Path

import pytest

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.results.schema import Examples, RunResults, ScenarioResult, TaskResult, results_from
from pfmsmtrec_flwr.results.writer import read_results, read_run, write_results


def some_results() -> RunResults:
    task = TaskResult(auc=0.61803398875, logloss=math.nan, positives=1, examples=4)
    scenario = ScenarioResult(
        examples=Examples(train=8, validation=4, test=4), selected_round=1, tasks={"ctr": task, "ctcvr": task}
    )
    return results_from(method="alone", dataset="böden", seed=0, rounds=1, scenarios={"NL": scenario})


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = write_results(some_results(), tmp_path / "out")
    assert path == tmp_path / "out" / "results.json"
    assert read_results(tmp_path / "out") == some_results()
    assert [file.name for file in path.parent.iterdir()] == ["results.json"]
    assert "NaN" not in path.read_text()


def test_a_run_is_read_with_its_references(tmp_path: Path) -> None:
    main = some_results().model_copy(update={"reference": ["fedavg"]})
    write_results(main, tmp_path)
    with pytest.raises(UserError, match=r"no results\.json in .*fedavg"):
        read_run(tmp_path)
    write_results(some_results(), tmp_path / "fedavg")
    assert read_run(tmp_path) == [main, some_results()]


def test_writing_that_fails_leaves_the_old_results_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_results(some_results(), tmp_path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UserError, match=r"^cannot write .*results\.json: No space left on device$"):
        write_results(some_results().model_copy(update={"seed": 9}), tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["results.json"]
    assert read_results(tmp_path).seed == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"^no results\.json in .*: give the output folder of a run that has finished$"),
        ("{", r"results\.json is not valid JSON"),
        ("[]", r"results\.json: got a list, expected the results of a run$"),
        ('{"schema": 2}', r"results\.json: got results of schema 2, this version reads 1: run again$"),
        ('{"schema": 1}', r"results\.json: key 'method' is missing"),
    ],
)
def test_what_is_not_a_result_is_refused_in_a_line(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "results.json").write_text(content)
    with pytest.raises(UserError, match=message):
        read_results(tmp_path)
