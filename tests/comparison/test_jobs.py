from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest
from compared import Fake, job_of
from federated import Tiny

import pfmsmtrec_flwr
from pfmsmtrec_flwr.comparison.jobs import adopt, data_fingerprint, digest_of, perform, tidy, train
from pfmsmtrec_flwr.comparison.pruning import Floor, score_curve
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.log import logger


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    return Fake(tmp_path / "journal", fails=("fedavg",), breaks=("fedbn",))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_digest_is_of_all_that_results_depend_on(monkeypatch: pytest.MonkeyPatch) -> None:
    config = RunConfig()
    known = {
        digest_of(config, "rows"),
        digest_of(config, "other rows"),
        digest_of(config, "rows", "a consensus"),
        digest_of(config.model_copy(update={"seed": 1}), "rows"),
        digest_of(config.model_copy(update={"method": "alone"}), "rows"),
        digest_of(config.with_settings({"train.lr": 0.5}, ""), "rows"),
    }
    assert len(known) == 6
    assert digest_of(RunConfig(), "rows") in known
    monkeypatch.setattr(pfmsmtrec_flwr, "__version__", "99")
    assert digest_of(RunConfig(), "rows") not in known


def test_a_job_leaves_results_and_no_models(tmp_path: Path, fake: Fake) -> None:
    job = job_of(tmp_path / "runs" / "it", RunConfig(), fake)
    assert not job.finished
    assert perform(job) == ""
    assert job.finished
    assert names(job.folder) == {"config.yaml", "metrics.jsonl", "results.json", "run.log", "sources.txt"}
    kept = job_of(tmp_path / "runs" / "kept", RunConfig(), fake, keep_models=True)
    assert perform(kept) == ""
    assert "clients" in names(kept.folder)
    tidy(kept)
    assert "clients" in names(kept.folder)
    tidy(job_of(kept.folder, RunConfig(), fake))
    assert "clients" not in names(kept.folder)


def test_results_of_other_code_count_unless_all_is_to_be_fresh(tmp_path: Path, fake: Fake) -> None:
    made = job_of(tmp_path / "it", RunConfig(), fake, sources="one")
    perform(made)
    assert (made.finished, made.by_other_code) == (True, False)
    now = job_of(tmp_path / "it", RunConfig(), fake, sources="other")
    assert (now.finished, now.by_other_code) == (True, True)
    fresh = job_of(tmp_path / "it", RunConfig(), fake, sources="other", fresh=True)
    assert not fresh.finished
    perform(fresh)
    assert (fresh.finished, fresh.by_other_code) == (True, False)


def test_a_run_below_its_floor_is_stopped_after_the_round(tiny: Tiny, tmp_path: Path) -> None:
    floor: Floor = (-math.inf, -math.inf, 2.0)
    for method in ("fedavg", "pooled-mmoe"):
        config = tiny.config(method, federation__rounds=5)
        whole = job_of(tmp_path / f"{method}-whole", config, train, data=tiny.root)
        job = job_of(tmp_path / method, config, train, floor=floor, data=tiny.root)
        assert not job.stopped
        assert (perform(whole), perform(job)) == ("", "")
        assert (whole.finished, whole.stopped) == (True, False)
        assert (job.finished, job.stopped) == (False, True)
        assert score_curve(job.folder) == pytest.approx(list(score_curve(whole.folder))[:3])
        assert f"{method}: fewer than half of the earlier trials were as low" in (job.folder / "run.log").read_text()
        assert not (job.folder / "clients").exists()


def test_a_run_above_its_floor_ends_as_any_other(tiny: Tiny, tmp_path: Path) -> None:
    job = job_of(tmp_path / "it", tiny.config("fedavg"), train, floor=(-math.inf, 0.01), data=tiny.root)
    assert perform(job) == ""
    assert (job.finished, job.stopped) == (True, False)


def test_what_was_stopped_under_another_floor_is_not_stopped_under_this(tmp_path: Path) -> None:
    fake = Fake(tmp_path / "journal", rounds=6)
    perform(job_of(tmp_path / "it", RunConfig(), fake, floor=(2.0,)))
    assert not job_of(tmp_path / "it", RunConfig(), fake).stopped
    assert not job_of(tmp_path / "it", RunConfig(), fake, floor=(0.1,)).stopped
    assert job_of(tmp_path / "it", RunConfig(), fake, floor=(1.5,)).stopped
    assert not job_of(tmp_path / "it", RunConfig(), fake, floor=(1.5,), fresh=True, sources="other").stopped


def test_an_unfinished_job_starts_afresh(tmp_path: Path, fake: Fake) -> None:
    job = job_of(tmp_path / "it", RunConfig(), fake)
    job.folder.mkdir()
    (job.folder / "error.txt").write_text("as it was")
    assert perform(job) == ""
    assert "error.txt" not in names(job.folder)


def test_a_mistake_is_kept_in_a_line(tmp_path: Path, fake: Fake) -> None:
    job = job_of(tmp_path / "it", RunConfig(method="fedavg"), fake)
    assert perform(job) == "fedavg does not train"
    assert (job.folder / "error.txt").read_text() == "fedavg does not train\n"
    assert not job.finished


def test_a_defect_is_told_in_a_line_and_logged_whole(tmp_path: Path, fake: Fake) -> None:
    job = job_of(tmp_path / "it", RunConfig(method="fedbn"), fake)
    before = (logger.level, logger.propagate, list(logger.handlers))
    assert perform(job) == f"ZeroDivisionError: a defect (see {job.folder / 'run.log'})"
    assert "Traceback" in (job.folder / "run.log").read_text()
    assert (logger.level, logger.propagate, list(logger.handlers)) == before


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, fake: Fake) -> None:
    (tmp_path / "file").write_text("")
    job = job_of(tmp_path / "file" / "it", RunConfig(), fake)
    assert perform(job) == f"cannot write to {job.folder}: Not a directory"


def test_results_are_adopted_whole(tmp_path: Path, fake: Fake) -> None:
    source = job_of(tmp_path / "one", RunConfig(), fake)
    perform(source)
    job = job_of(tmp_path / "other", RunConfig(), fake)
    job.folder.mkdir()
    (job.folder / "metrics.jsonl").write_text("broken off")
    adopt(job, source.folder)
    assert names(job.folder) == names(source.folder)
    assert (job.folder / "metrics.jsonl").read_text() == (source.folder / "metrics.jsonl").read_text()
    assert names(tmp_path) == {"journal", "one", "other"}


def test_the_data_are_known_by_their_rows(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny.config()  # FR and US
    known = data_fingerprint(config, tiny.root)
    assert data_fingerprint(tiny.config(federation__scenarios=["FR", "NL"]), tiny.root) != known
    moved = tmp_path / "moved"
    shutil.copytree(tiny.root / "tiny", moved / "tiny")
    assert data_fingerprint(config, moved) == known
    shutil.rmtree(moved / "tiny" / "US")
    Tiny(moved).write("tiny", "US", rows=48, seed=77)
    assert data_fingerprint(config, moved) != known
    with pytest.raises(UserError, match="no prepared data of 'none'"):
        data_fingerprint(tiny.config(data__name="none"), tiny.root)


def test_made_up_rows_are_made_and_known(tmp_path: Path) -> None:
    settings = {"train_rows": {"NL": 200}, "validation_rows": 60, "test_rows": 80, "ctr": 0.4}
    config = RunConfig.model_validate({"data": {"synthetic": settings}})
    known = data_fingerprint(config, tmp_path)
    assert list(tmp_path.glob("synthetic-*/NL/*/manifest.json"))
    assert data_fingerprint(config, tmp_path) == known
