from __future__ import annotations

from pathlib import Path

import pytest
from faked_flower import small_results
from tracked import KeptTracker

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.results.rounds import MetricsLog
from pfmsmtrec_flwr.results.writer import write_results
from pfmsmtrec_flwr.tracking import open_tracker
from pfmsmtrec_flwr.tracking.following import RunFollower


def logged(folder: Path) -> MetricsLog:
    log = MetricsLog(folder, method="fedavg", rounds=2)
    log.append(1, {"NL": {"loss": 0.5, "validation": {"ctr": {"auc": 0.625, "logloss": 0.25}}}}, up_bytes=7)
    return log


def test_each_round_is_passed_once_and_the_test_figures_at_the_end(tmp_path: Path) -> None:
    kept = KeptTracker()
    follower = RunFollower(kept, RunConfig(), tmp_path, ["alone"])
    follower.update()
    assert kept.settings["train.lr"] == RunConfig().train.lr
    assert kept.settings["federation.reference"] == "[]"
    assert kept.figures == []
    log = logged(tmp_path)
    follower.update()
    follower.update()
    first = {
        "validation/auc/ctr": 0.625,
        "loss/NL": 0.5,
        "validation/auc/ctr/NL": 0.625,
        "validation/logloss/ctr/NL": 0.25,
        "traffic/up_bytes": 7,
        "traffic/down_bytes": 0,
    }
    assert kept.figures == [(1, first)]
    log.append(2, {"NL": {"loss": None, "validation": {"ctr": {"auc": None}}}})
    logged(tmp_path / "alone")
    write_results(small_results("fedavg", 0.75), tmp_path)
    follower.finish()
    assert kept.figures[1] == (2, {"traffic/up_bytes": 0, "traffic/down_bytes": 0})
    assert kept.figures[2] == (1, {f"alone/{name}": value for name, value in first.items()})
    assert kept.figures[3][1]["test/auc/ctr/NL"] == 0.75
    assert kept.files == ["metrics.jsonl", "results.json"]
    assert kept.failed is False


def test_a_run_without_results_has_failed(tmp_path: Path) -> None:
    kept = KeptTracker()
    follower = RunFollower(kept, RunConfig(), tmp_path)
    logged(tmp_path)
    follower.finish()
    assert [step for step, _ in kept.figures] == [1]
    assert kept.failed is True


def test_what_a_failed_run_left_in_the_folder_is_not_passed(tmp_path: Path) -> None:
    logged(tmp_path).append(2, {})
    write_results(small_results("alone", 0.625), tmp_path / "alone")
    kept = KeptTracker()
    follower = RunFollower(kept, RunConfig(), tmp_path, ["alone"])
    follower.update()
    assert kept.figures == []
    logged(tmp_path)
    follower.finish()
    assert [(step, figures["traffic/up_bytes"]) for step, figures in kept.figures] == [(1, 7)]


def test_a_tracker_that_no_longer_answers_does_not_end_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    follower = RunFollower(KeptTracker(fails=True), RunConfig(), tmp_path)
    logged(tmp_path)
    with caplog.at_level("WARNING", logger="pfmsmtrec"):
        follower.update()
        follower.update()
        follower.finish()
    assert [record.getMessage() for record in caplog.records] == [
        "the run is no longer tracked, and goes on: no answer"
    ]


def test_a_run_whose_settings_are_refused_has_failed(tmp_path: Path) -> None:
    kept = KeptTracker(refuses=True)
    with pytest.raises(UserError, match=r"^no settings$"):
        RunFollower(kept, RunConfig(), tmp_path)
    assert kept.failed is True


def test_mlflow_keeps_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracking = pytest.importorskip("mlflow.tracking")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    tracker = open_tracker("mlflow", "mine", "made", tmp_path)
    tracker.log_settings({f"own.{number}": number for number in range(150)})  # one request takes 100
    follower = RunFollower(tracker, RunConfig(), tmp_path)
    logged(tmp_path)
    write_results(small_results("fedavg", 0.75), tmp_path)
    follower.finish()
    client = tracking.MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("made").experiment_id])
    assert (run.info.run_name, run.info.status) == ("mine", "FINISHED")
    assert run.data.params["own.149"] == "149"
    assert run.data.params["train.lr"] == str(RunConfig().train.lr)
    assert run.data.metrics["validation/auc/ctr/NL"] == 0.625
    assert run.data.metrics["test/auc/ctr/NL"] == 0.75
    assert {each.path for each in client.list_artifacts(run.info.run_id)} == {"metrics.jsonl", "results.json"}


def test_mlflow_that_does_not_answer_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://here")
    with pytest.raises(UserError, match=r"^MLflow at nonsense://here does not answer \(.*\): see MLFLOW_TRACKING_URI$"):
        open_tracker("mlflow", "mine", "made", tmp_path)


def test_tensorboard_keeps_a_run(tmp_path: Path) -> None:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    follower = RunFollower(open_tracker("tensorboard", "mine", "made", tmp_path), RunConfig(), tmp_path)
    logged(tmp_path)
    write_results(small_results("fedavg", 0.75), tmp_path)
    follower.finish()
    events = accumulators.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(each.step, each.value) for each in events.Scalars("validation/auc/ctr")] == [(1, 0.625)]
    assert [each.value for each in events.Scalars("test/auc/ctr")] == [0.75]


def test_a_tracker_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pfmsmtrec_flwr.tracking.find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"^--track mlflow needs mlflow: pip install 'pfmsmtrec-flwr\[mlflow\]'$"):
        open_tracker("mlflow", "mine", "made", tmp_path)
