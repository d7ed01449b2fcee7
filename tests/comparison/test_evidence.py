"""Intervals of a comparison whose methods are trained on tiny rows."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from compared import Direct
from federated import Tiny
from sklearn.metrics import roc_auc_score

from pfmsmtrec_flwr.comparison.evidence import Source, evidence_of
from pfmsmtrec_flwr.comparison.harness import compare, prepare_plan
from pfmsmtrec_flwr.comparison.request import Options
from pfmsmtrec_flwr.data.store.manifest import NO_USER
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.results.predictions import write_predictions
from pfmsmtrec_flwr.results.summary import Summary, read_summary


@pytest.fixture(scope="module")
def folder(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a comparison that has run."""
    output = tmp_path_factory.mktemp("evidence") / "out"
    run(tiny, output)
    return output


def run(tiny: Tiny, output: Path, draws: int = 100) -> Summary:
    options = Options(methods="base-rate,alone,fedavg", seeds=2, reference="fedavg", draws=draws)
    return compare(prepare_plan(tiny.config("fedavg"), options, tiny.root, output), Direct(), 1).summary


def source(tiny: Tiny, folder: Path, name: str = "") -> Source:
    summary = read_summary(folder)
    assert summary is not None
    return Source(name, folder, summary.runs, summary.scenarios, tiny.config().data, tiny.root)


def test_a_comparison_has_intervals_of_its_methods(tiny: Tiny, folder: Path) -> None:
    summary = read_summary(folder)
    assert summary is not None and summary.bootstrap is not None
    users = [ScenarioStore.open(tiny.root / "tiny" / name).splits["test"].users for name in summary.scenarios]
    assert summary.bootstrap.units == len(np.unique(np.concatenate(users)))  # type: ignore[arg-type]
    assert (summary.bootstrap.unit, summary.bootstrap.draws, summary.bootstrap.missing) == ("users", 100, [])
    for task in summary.tasks:
        for variant in ("base-rate", "alone"):
            found = summary.bootstrap.difference(variant, "fedavg", task)
            line = summary.line(variant)
            assert found is not None and line is not None
            against = line.tasks[task].against
            assert against is not None
            assert found.difference == pytest.approx(against.difference)
            assert found.low < found.high
    for form, sign in (("md", "| difference to fedavg |"), ("tex", "difference to fedavg"), ("csv", "p (Holm)")):
        assert sign in (folder / "tables" / f"means.{form}").read_text()
    assert (folder / "tables" / "differences.md").is_file()


def test_a_comparison_from_before_has_none_and_does_not_fail(tiny: Tiny, folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    shutil.copytree(folder, output)
    for path in output.glob("runs/alone/*/predictions"):
        shutil.rmtree(path)
    summary = run(tiny, output)
    assert summary.bootstrap is not None
    assert summary.bootstrap.missing == ["alone"]
    assert summary.bootstrap.difference("alone", "fedavg", "click") is None
    assert summary.bootstrap.difference("base-rate", "fedavg", "click") is not None
    for path in output.glob("runs/*/*/predictions"):
        shutil.rmtree(path)
    assert run(tiny, output).bootstrap is None
    assert "no interval" in (output / "tables" / "means.md").read_text()


def test_no_draws_no_intervals(tiny: Tiny, folder: Path) -> None:
    assert evidence_of([source(tiny, folder)], 0) is None


def test_two_comparisons_of_one_data_set_share_their_users(tiny: Tiny, folder: Path) -> None:
    one = evidence_of([source(tiny, folder)], 20)
    twice = evidence_of([source(tiny, folder, "first"), source(tiny, folder, "second")], 20)
    assert one is not None and twice is not None
    assert twice.replicates.units == one.replicates.units
    np.testing.assert_allclose(
        twice.replicates.mean("alone", "click", twice.replicates.counted("click"), {0, 1}),
        one.replicates.mean("alone", "click", one.replicates.counted("click"), {0, 1}),
    )
    assert twice.bootstrap("fedavg").smallest == pytest.approx(one.bootstrap("fedavg").smallest)


def test_made_up_users_are_numbered_in_each_scenario_under_any_name(
    tiny: Tiny, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made_up(_settings: object, data: Path, name: str) -> ScenarioStore:
        return replace(ScenarioStore.open(data / "tiny" / name), extra={"synthetic": {}})

    monkeypatch.setattr("pfmsmtrec_flwr.comparison.evidence.open_store", made_up)
    found = evidence_of([source(tiny, folder)], 20)
    users = [made_up(None, tiny.root, name).splits["test"].users for name in ("FR", "US")]
    assert found is not None
    assert found.replicates.units == sum(len(np.unique(own)) for own in users if own is not None)


def test_predictions_of_other_rows_are_refused(tiny: Tiny, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "out")
    (wrong,) = (tmp_path / "out" / "runs" / "alone").glob("seed0-*")
    write_predictions({"US": np.zeros((3, 2))}, wrong)
    with pytest.raises(
        UserError, match=r"^predictions of alone in US have the shape \(3, 2\), its test rows \(30, 2\): "
    ):
        evidence_of([source(tiny, tmp_path / "out")], 20)


def test_a_model_without_finite_predictions_has_no_figures(tiny: Tiny, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "out")
    (wrong,) = (tmp_path / "out" / "runs" / "alone").glob("seed0-*")
    write_predictions({"US": np.full((30, 2), np.nan)}, wrong)
    found = evidence_of([source(tiny, tmp_path / "out")], 20)
    assert found is not None
    assert found.missing == ("alone",)
    assert found.replicates.variants == ("base-rate", "fedavg")


def test_rows_without_users_are_drawn_one_by_one(tiny: Tiny, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(_settings: object, data: Path, name: str) -> ScenarioStore:
        store = ScenarioStore.open(data / "tiny" / name)
        return replace(store, splits={key: replace(own, users=None) for key, own in store.splits.items()})

    monkeypatch.setattr("pfmsmtrec_flwr.comparison.evidence.open_store", without)
    found = evidence_of([source(tiny, folder)], 20)
    assert found is not None
    sizes = [len(without(None, tiny.root, name).splits["test"]) for name in ("FR", "US")]
    assert (found.replicates.units, found.unit) == (sum(sizes), "rows")
    labels = without(None, tiny.root, "US").splits["test"].labels[:, 0]
    (run_folder,) = (folder / "runs" / "alone").glob("seed0-*")
    predicted = np.load(run_folder / "predictions" / "US.npy")[:, 0]
    assert found.replicates.mean("alone", "click", ["US"], {0})[0] == pytest.approx(roc_auc_score(labels, predicted))


def test_a_row_without_a_user_is_a_unit_by_itself(tiny: Tiny, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    users = {"FR": [NO_USER, 7, 8], "US": [7, NO_USER, NO_USER, 9, 8]}

    def some(_settings: object, data: Path, name: str) -> ScenarioStore:
        store = ScenarioStore.open(data / "tiny" / name)
        test = store.splits["test"]
        return replace(store, splits={"test": replace(test, users=np.resize(users[name], len(test)))})

    monkeypatch.setattr("pfmsmtrec_flwr.comparison.evidence.open_store", some)
    found = evidence_of([source(tiny, folder)], 20)
    assert found is not None
    found_users = [some(None, tiny.root, name).splits["test"].users for name in users]
    lacking = sum(np.asarray(own).tolist().count(NO_USER) for own in found_users)
    assert lacking > 10
    assert (found.replicates.units, found.unit) == (lacking + 3, "users, and rows without a user")
