"""Runs that start from the models of an earlier run, on rows that are prepared anew."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from federated import same
from safetensors.torch import load_file
from scoring_shop import TEST_DAY, config, impressions, shop_schema, trained_shop

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.data.prepare.pipeline import prepare
from pfmsmtrec_flwr.data.prepare.scenario_encoder import ScenarioEncoder
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.experiment import run_inline
from pfmsmtrec_flwr.federation.client.state import LocalState
from pfmsmtrec_flwr.federation.sharing import names_of
from pfmsmtrec_flwr.methods import METHODS, FederatedMethod
from pfmsmtrec_flwr.methods.pf_msmtrec import PFMSMTRec
from pfmsmtrec_flwr.methods.starting import check_start
from pfmsmtrec_flwr.model import Part, ScenarioModel, build_model, partition
from pfmsmtrec_flwr.results.rounds import read_metrics
from pfmsmtrec_flwr.results.writer import read_results
from pfmsmtrec_flwr.scoring.earlier_model import EarlierModel
from pfmsmtrec_flwr.scoring.saved_model import load_model, predict_prepared
from pfmsmtrec_flwr.scoring.scorer import Scorer

STARTING = sorted(
    name
    for name, method in METHODS.items()
    if isinstance(method, FederatedMethod) and not method.no_start and not name.startswith("alone-")
)
THREE = {"column": "country", "values": {"NL": "NL", "DE": "DE", "US": "US"}, "others": "drop"}


class Day:
    """A prepared day and the run on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"

    def run(self, method: str) -> Path:
        known = self.folder / f"first-{method}"
        if not known.exists():
            trained_shop(self.folder, method).rename(known)
        return known

    def models(self, method: str) -> Path:
        return self.run(method) / "clients" / method


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Day:
    return Day(tmp_path_factory.mktemp("day"))


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, torch.Tensor]]:
    """State of each scenario's model as measured in round 0."""
    found: dict[str, dict[str, torch.Tensor]] = {}
    save = LocalState.save_evaluated

    def watch(state: LocalState, number: int, tensors: dict[str, torch.Tensor], *more: Any) -> None:
        if number == 0:
            found[state.folder.name] = {name: value.clone() for name, value in tensors.items()}
        save(state, number, tensors, *more)

    monkeypatch.setattr(LocalState, "save_evaluated", watch)
    return found


def prepared(folder: Path, rows: pd.DataFrame, **changes: Any) -> Path:
    (folder / "source").mkdir(parents=True)
    rows.to_csv(folder / "source" / "log.csv", index=False)
    prepare(shop_schema(**changes), folder / "source", folder / "data", progress=False)
    return folder / "data"


def started(data: Path, run: Path, output: Path, method: str = "pf-msmtrec", **settings: Any) -> RunConfig:
    """Start a run; ``train__lr`` stands for `train.lr`."""
    changes = {name.replace("__", "."): value for name, value in settings.items()}
    own = config(method).with_settings({"federation.draws": 0, **changes}, "test")
    run_inline(own, data=data, output=output, start_from=str(run))
    return own


def scores(folder: Path, state: dict[str, torch.Tensor], store: ScenarioStore) -> np.ndarray:
    model, description = load_model(folder)
    model.load_state_dict(state)
    return predict_prepared(model, description, store)


@pytest.mark.parametrize("method", STARTING)
def test_on_the_same_rows_round_0_is_the_saved_model(
    day: Day, starts: dict[str, dict[str, torch.Tensor]], tmp_path: Path, method: str
) -> None:
    started(day.data, day.run(method), tmp_path / "next", method)
    assert sorted(starts) == ["DE", "NL"]
    for name, state in starts.items():
        folder = day.models(method) / name
        store = ScenarioStore.open(day.data / "shop" / name)
        np.testing.assert_allclose(scores(folder, state, store), np.load(folder / "predictions.npy"), atol=1e-6)


def test_the_start_is_measured_as_round_0_and_may_be_selected(day: Day, tmp_path: Path) -> None:
    started(day.data, day.run("pf-msmtrec"), tmp_path / "next", train__lr=1e-9, federation__rounds=2)
    log = read_metrics(tmp_path / "next")
    assert [entry.round for entry in log] == [0, 1, 2]
    assert log[0].up_bytes > 0 and log[0].scenarios["NL"].loss is None
    results = read_results(tmp_path / "next")
    assert results.rounds == 2
    assert results.start_from == str(day.run("pf-msmtrec"))
    assert {found.selected_round for found in results.scenarios.values()} <= {0, 1, 2}


def raw(rows: pd.DataFrame, scenario: str) -> pd.DataFrame:
    return rows[rows.country == scenario].reset_index(drop=True)


def frequent_users(rows: pd.DataFrame, scenario: str) -> set[int]:
    """Users in the vocabulary."""
    counts = raw(rows[~rows.day.isin(["2024-03-03", TEST_DAY])], scenario).user.value_counts()
    return set(counts[counts > 1].index)


def test_known_values_keep_their_embeddings_wherever_they_lie_and_new_ones_are_drawn(
    starts: dict[str, dict[str, torch.Tensor]], tmp_path: Path
) -> None:
    plain: dict[str, Any] = {"numeric": {}}  # numbers would be standardised by the moments of the new rows
    first = Day(tmp_path / "first")
    yesterday = impressions()
    prepared(first.folder, yesterday, **plain)
    run = first.run("pf-msmtrec")
    # The next day the frequent users are others, 40 users are new, and the shop has one kind more, listed first.
    today = impressions(900, seed=1).assign(user=lambda rows: (rows.user.astype(int) * 7) % 160)
    fields = shop_schema().model_dump(exclude_unset=True)["fields"]
    fields["kind"]["values"] = ["game", "toy", "book"]
    fields["hour"]["identity"]["size"] = 30
    data = prepared(tmp_path / "second", today, fields=fields, **plain)
    own = started(data, run, tmp_path / "next")
    for name in ("NL", "DE"):
        store = ScenarioStore.open(data / "shop" / name)
        folder = first.models("pf-msmtrec") / name
        was, now = ScenarioEncoder.load(folder), ScenarioEncoder.load(store.folder)
        known, present = was.encoders["user"], now.encoders["user"]
        hashes = present.hashes  # type: ignore[attr-defined]
        rows = known.rows(hashes)
        assert (rows == 0).sum() > 10 and (rows != np.arange(1, len(hashes) + 1)).mean() > 0.9 > (rows == 0).mean()
        table = starts[name]["local_embeddings.weight"]
        saved = load_file(folder / "model.safetensors")["local_embeddings.weight"]
        fresh = build_model(load_model(tmp_path / "next" / "clients" / "pf-msmtrec" / name)[1].spec, own.model, 0)
        drawn = fresh.state_dict()["local_embeddings.weight"]
        for row, before in enumerate(rows, start=1):
            assert torch.equal(table[row], saved[before] if before else drawn[row])
        # A raw row whose values were all known has yesterday's score.
        scorer = Scorer.load(tmp_path / "next" / "clients" / "pf-msmtrec" / name)
        model = scorer._models[name].model
        assert isinstance(model, ScenarioModel)
        model.load_state_dict(starts[name])
        sample = raw(yesterday, name)
        sample = sample[sample.user.isin(frequent_users(yesterday, name) & frequent_users(today, name))]
        assert len(sample) > 30
        before = Scorer.load(folder).predict(sample, raw=True)
        np.testing.assert_allclose(scorer.predict(sample, raw=True), before, atol=1e-6)


def test_a_new_scenario_starts_from_the_consensus_and_one_that_is_gone_is_said(
    day: Day, starts: dict[str, dict[str, torch.Tensor]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = day.run("pf-msmtrec")
    data = prepared(tmp_path / "second", impressions(1500), scenario=THREE)
    own = config("pf-msmtrec")
    federation = own.federation.model_copy(update={"scenarios": ("NL", "US"), "draws": 0})
    own = own.model_copy(update={"federation": federation})
    with caplog.at_level("INFO"):
        run_inline(own, data=data, output=tmp_path / "next", start_from=str(run))
    assert "scenario US is new: it starts from the consensus of NL" in caplog.text
    assert f"scenario DE has a model in {run}, and takes no part" in caplog.text
    assert check_start(own, data, run) == [
        f"NL: start from their models in {run}",
        "US: new, shared parts start from the consensus of NL",
        f"DE: in {run}, takes no part now",
    ]
    fresh = build_model(load_model(tmp_path / "next" / "clients" / "pf-msmtrec" / "US")[1].spec, own.model, 0)
    slots, drawn = partition(fresh), fresh.state_dict()
    shared = names_of(slots, PFMSMTRec.sharing_of(own).parts)
    local = [name for name, slot in slots.items() if name not in shared and not slot.statistic]
    assert {slots[name].part for name in local} > {Part.GATE, Part.LOCAL_EMBEDDING, Part.EXPERT_TASK}
    assert all(torch.equal(starts["US"][name], starts["NL"][name]) for name in shared)
    assert all(torch.equal(starts["US"][name], drawn[name]) for name in local if slots[name].part != Part.OUTPUT_BIAS)
    assert not torch.equal(starts["NL"]["gates.of_task.ctr.weight"], drawn["gates.of_task.ctr.weight"])


@pytest.mark.parametrize(
    ("changes", "settings", "message"),
    [
        ({}, {"model.experts": 3}, r"^model\.experts is 3, and 2 in the saved model of DE: start with the settings"),
        ({}, {"model.architecture": "ple"}, r"^model\.architecture is ple, and mmoe in the saved model of DE"),
        ({"tasks": {"ctr": "click"}}, {}, r"^task 'ctcvr' is not in the store .*, the model of DE has it$"),
        ({"numeric": {"price": {}}}, {}, r"^numeric column 'weight' is not in the store .*, the model of DE has it$"),
        ({"fields": {"user": None}}, {}, r"^field 'user' is not in the store .*, the model of DE has it$"),
        (
            {"fields": {"item": {"hash": {"buckets": 60}, "embedding": "federated"}}},
            {},
            r"^field 'item' of DE has hash \{'buckets': 60, 'seed': 0\} in the prepared data and \{'buckets': 50, .*",
        ),
        (
            {"fields": {"age": {"bands": [20, 50], "missing": [-1], "embedding": "federated"}}},
            {},
            r"^field 'age' of DE has bands \(20\.0, 50\.0\) in the prepared data and \(20\.0, 40\.5\) in the saved",
        ),
        (
            {"fields": {"kind": {"vocabulary": {}, "embedding": "local"}}},
            {},
            r"^field 'kind' of DE has embedding local in the prepared data and federated in the saved model, so its",
        ),
    ],
)
def test_other_models_and_other_data_are_refused(
    day: Day, tmp_path: Path, changes: dict[str, Any], settings: dict[str, Any], message: str
) -> None:
    data = day.data
    if changes:
        fields = shop_schema().model_dump(exclude_unset=True)["fields"] | changes.pop("fields", {})
        kept = {name: spec for name, spec in fields.items() if spec is not None}
        data = prepared(tmp_path / "other", impressions(300), fields=kept, **changes)
    own = config("pf-msmtrec").with_settings(settings, "test")
    with pytest.raises(UserError, match=message) as caught:
        check_start(own, data, day.run("pf-msmtrec"))
    if "numeric" in changes:  # a site says the same where nobody checked before
        with pytest.raises(UserError, match=f"nothing usable from DE, NL, 2 scenarios are needed: {message[1:-1]}"):
            started(data, day.run("pf-msmtrec"), tmp_path / "next")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("apfl", r"^method 'apfl' does not take --start-from: a scenario saves the mixture of its two models"),
        ("fedala", r"^method 'fedala' does not take --start-from: its first global model is taken over as it is"),
        ("pooled-mmoe", r"^method 'pooled-mmoe' does not take --start-from: it trains no model at a scenario$"),
        ("fedprox", r"^no model of fedprox in .*: there are models of pf-msmtrec$"),
    ],
)
def test_methods_that_have_no_start_are_refused_by_name(day: Day, tmp_path: Path, method: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_start(config(method), day.data, day.run("pf-msmtrec"))
    if method != "fedprox":
        with pytest.raises(UserError, match=message):
            run_inline(config(method), data=day.data, output=tmp_path, start_from=str(day.run("pf-msmtrec")))


def test_models_without_encoders_are_refused(day: Day, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(day.run("pf-msmtrec"), run)
    described = run / "clients" / "pf-msmtrec" / "DE" / "model.json"
    document = json.loads(described.read_text())
    old = {
        name: document[name] for name in ("scenario", "dataset", "method", "seed", "selected_round", "spec", "settings")
    }
    described.write_text(json.dumps(old))
    with pytest.raises(
        UserError, match=r"^no run can start from the model in .*/DE: it was saved by an earlier version"
    ):
        check_start(config("pf-msmtrec"), day.data, run)
    described.write_text(json.dumps(document | {"unscorable": "its rows were made up"}))
    with pytest.raises(UserError, match=r"^no run can start from the model in .*/DE: its rows were made up$"):
        check_start(config("pf-msmtrec"), day.data, run)
    described.unlink()
    (run / "clients" / "pf-msmtrec" / "NL" / "model.json").unlink()
    with pytest.raises(UserError, match=r"^no model of pf-msmtrec in .*: give the output folder of a finished run$"):
        check_start(config("pf-msmtrec"), day.data, run)
    with pytest.raises(UserError, match=r"^no scenario has a model of pf-msmtrec in .*: start without --start-from$"):
        started(day.data, run, tmp_path / "next")


def test_a_chain_of_days_goes_on(day: Day, tmp_path: Path) -> None:
    started(day.data, day.run("pf-msmtrec"), tmp_path / "second")
    started(day.data, tmp_path / "second", tmp_path / "third", train__ema_decay=0.5, federation__rounds=3)
    assert read_results(tmp_path / "third").start_from == str(tmp_path / "second")
    store = ScenarioStore.open(day.data / "shop" / "NL")
    earlier = EarlierModel.open(tmp_path / "third" / "clients" / "pf-msmtrec" / "NL", store, config("pf-msmtrec").model)
    state = earlier.starting_state(build_model(earlier.description.spec, config("pf-msmtrec").model, 0))
    assert same({"NL": state}, {"NL": load_file(earlier.folder / "model.safetensors")})
