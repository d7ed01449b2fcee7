from __future__ import annotations

import json
import re
import statistics
from pathlib import Path
from typing import Any

import pytest
from federated import Tiny, same
from flwr.app import Context, RecordDict
from safetensors.torch import load_file
from sklearn.metrics import roc_auc_score

from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.experiment import run_experiment, run_inline, run_method
from pfmsmtrec_flwr.methods import find_method
from pfmsmtrec_flwr.methods.configuration import complete, load_config
from pfmsmtrec_flwr.results.overviews import run_table
from pfmsmtrec_flwr.results.predictions import read_predictions
from pfmsmtrec_flwr.results.rendering import as_text
from pfmsmtrec_flwr.results.rounds import read_metrics
from pfmsmtrec_flwr.results.writer import read_results
from pfmsmtrec_flwr.training.records import RoundRecord
from server_app import main

SYNTHETIC = (
    "data.synthetic={train_rows: {NL: 200, US: 120}, validation_rows: 80, test_rows: 100, ctr: 0.3, "
    "conversions_per_click: 0.4}"
)


@pytest.mark.usefixtures("home")
def test_an_experiment_and_its_reference_in_files(tiny_conf: Path, tmp_path: Path) -> None:
    config = load_config(str(tiny_conf), overrides=[SYNTHETIC])
    output = tmp_path / "out"
    runs = run_inline(config, data=tmp_path / "data", output=output, num_supernodes=3)
    assert [results.method for results in runs] == ["pf-msmtrec", "alone"]
    assert load_config(str(output / "config.yaml")) == complete(config)
    for folder, method in ((output, "pf-msmtrec"), (output / "alone", "alone")):
        results = json.loads((folder / "results.json").read_text())
        assert (results["schema"], results["method"], results["rounds"]) == (1, method, 2)
        assert list(results["scenarios"]) == ["NL", "US"]
        assert results["scenarios"]["US"]["examples"] == {"train": 120, "validation": 80, "test": 100}
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert [line["round"] for line in lines] == [1, 2]
        for name in ("NL", "US"):
            model = output / "clients" / method / name
            assert sorted(path.name for path in model.iterdir()) == [
                "MODEL_CARD.md",
                "calibration.json",
                "model.json",
                "model.safetensors",
                "predictions.npy",
            ]
            described = json.loads((model / "model.json").read_text())
            assert described["method"] == method
            assert described["selected_round"] == results["scenarios"][name]["selected_round"]
    results = json.loads((output / "results.json").read_text())
    assert results["traffic"]["up_bytes"] == sum(line["up_bytes"] for line in _lines(output))
    assert results["best_attainable"]["NL"].keys() == {"ctr", "ctcvr"}
    assert not (tmp_path / "home" / ".pfmsmtrec").exists()


def _lines(folder: Path) -> list[dict[str, int]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_saved_model_can_be_built_again(tiny: Tiny) -> None:
    import torch

    from pfmsmtrec_flwr.config import ModelSettings
    from pfmsmtrec_flwr.model import FieldSpec, ModelSpec, build_model
    from pfmsmtrec_flwr.validation import parse

    run = tiny.trained(tiny.config("fedbn"))
    folder = run.folder / "US"
    described = json.loads((folder / "model.json").read_text())
    spec = described["spec"]
    fields = tuple(FieldSpec(**field) for field in spec["fields"])
    model = build_model(
        ModelSpec(fields, spec["numeric"], tuple(spec["tasks"])), parse(ModelSettings, described["settings"], ""), 0
    )
    model.load_state_dict(load_file(folder / "model.safetensors"))
    assert same({"US": run.models["US"]}, {"US": dict(model.state_dict())})
    assert torch.isfinite(model.eval()(torch.zeros(2, 3, dtype=torch.int32), torch.zeros(2, 2))).all()


def test_a_method_that_is_not_known_is_said_before_anything_starts(tiny: Tiny, tmp_path: Path) -> None:
    for config in (tiny.config().model_copy(update={"method": "magic"}), tiny.config(federation__reference=["magic"])):
        with pytest.raises(UserError, match=r"^unknown method 'magic', expected one of .*fedavg, "):
            run_inline(config, data=tiny.root, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("method", "family", "rounds"), [("base-rate", "floor", 1), ("pooled-mmoe", "pooled", 2), ("fedbn", "federated", 2)]
)
def test_one_method_of_any_family_in_files(tiny: Tiny, tmp_path: Path, method: str, family: str, rounds: int) -> None:
    config = tiny.config(method, federation__reference=["alone"])
    results = run_method(config, data=tiny.root, output=tmp_path / "out")
    assert (results.method, results.family, results.rounds, results.reference) == (method, family, rounds, [])
    assert list(results.scenarios) == ["FR", "US"]  # those of the configuration
    assert results.scenarios["US"].examples.test == 30
    assert results.draws == 0 and not (tmp_path / "out" / "draws.json").exists()  # users are drawn from predictions
    assert read_results(tmp_path / "out") == results
    assert [(line.round, line.rounds) for line in read_metrics(tmp_path / "out")] == [
        (number, rounds) for number in range(1, rounds + 1)
    ]
    assert load_config(str(tmp_path / "out" / "config.yaml")) == complete(config)
    assert not (tmp_path / "out" / "alone").exists()
    assert (results.traffic.up_bytes > 0) == (family == "federated")
    labels = ScenarioStore.open(tiny.root / "tiny" / "US").splits["test"].labels
    predictions = read_predictions(tmp_path / "out", "US")
    assert predictions is not None and predictions.shape == labels.shape
    for column, task in enumerate(results.scenarios["US"].tasks.values()):
        assert task.auc == pytest.approx(roc_auc_score(labels[:, column], predictions[:, column]), rel=1e-12)


def test_a_federated_method_by_itself_is_that_of_an_experiment(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny.config("fedavg")
    results = run_method(config, data=tiny.root, output=tmp_path / "out")
    trained = tiny.trained(find_method("fedavg").configure(config))
    assert results.scenarios["US"].tasks["click"].auc == trained.result.test["US"]["auc.click"]


def test_whoever_looks_at_the_rounds_may_end_the_run(tiny: Tiny, tmp_path: Path) -> None:
    def on_round(record: RoundRecord) -> None:
        assert len(read_metrics(tmp_path / "out")) == record.round
        if record.round == 2:
            raise InterruptedError

    for method in ("fedavg", "pooled-mmoe"):
        with pytest.raises(InterruptedError):
            run_method(
                tiny.config(method, federation__rounds=4), data=tiny.root, output=tmp_path / "out", on_round=on_round
            )
        assert not (tmp_path / "out" / "results.json").exists()


def test_a_methods_own_settings_hold_for_it(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny.config("pooled-mmoe").model_copy(update={"methods": {"pooled-mmoe": {"federation.rounds": 1}}})
    assert run_method(config, data=tiny.root, output=tmp_path / "out").rounds == 1


def test_made_up_scenarios_are_made_for_a_method_that_sees_all_rows(tiny_conf: Path, tmp_path: Path) -> None:
    config = load_config(str(tiny_conf), method="logistic-pooled", overrides=[SYNTHETIC])
    results = run_method(config, data=tmp_path / "data", output=tmp_path / "out")
    assert list(results.scenarios) == ["NL", "US"]
    assert results.best_attainable is not None
    assert results.best_attainable["NL"].keys() == {"ctr", "ctcvr"}


def test_an_experiment_here_may_compare_families_and_over_a_grid_it_may_not(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny.config("pooled-mmoe", federation__reference=["base-rate", "alone"])
    runs = run_inline(config, data=tiny.root, output=tmp_path / "out")
    assert [results.family for results in runs] == ["pooled", "floor", "alone"]
    assert [results.draws for results in runs] == [200, 200, 200]
    assert [(each.reference, each.task) for each in runs[0].differences] == [
        (name, task) for name in ("base-rate", "alone") for task in ("click", "like")
    ]
    for results, folder in zip(runs, ("", "base-rate", "alone"), strict=True):
        drawn = json.loads((tmp_path / "out" / folder / "draws.json").read_text())
        assert drawn.keys() == {"FR", "US"}
        for name, own in results.scenarios.items():
            for task, figures in own.tasks.items():
                assert figures.interval is not None and len(drawn[name][task]) == 200
                known = [auc for auc in drawn[name][task] if auc is not None]  # few users: some draw has one class
                assert figures.interval.low <= statistics.median(known) <= figures.interval.high
        assert all(mean.interval is not None for mean in results.macro.values())
    tables = as_text(run_table(runs))
    assert "95 % interval" in tables
    assert "AUC of alone less that of pooled-mmoe, same draws: click " in tables
    for names in (("pooled-mmoe", []), ("fedavg", ["base-rate"])):
        config = tiny.config(names[0], federation__reference=names[1])
        with pytest.raises(UserError, match=r"^method '(pooled-mmoe|base-rate)' needs the rows of all scenarios"):
            run_experiment(None, config, tmp_path / "refused")  # type: ignore[arg-type]
    assert not (tmp_path / "refused").exists()


def server_context(change: dict[str, str]) -> Context:
    options: dict[str, Any] = {"conf": "synthetic", "method": "", "seed": -1, "set": "", "output": "", "data": ""}
    return Context(run_id=1, node_id=1, node_config={}, state=RecordDict(), run_config=options | change)


def test_the_server_app_ends_with_a_line_that_says_how(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a tensor of\nsome size")

    with caplog.at_level("INFO"):
        monkeypatch.setattr("server_app.run_experiment", lambda *_, **__: None)
        main(None, server_context({"output": "/results/first"}))  # type: ignore[arg-type]
        monkeypatch.setattr("server_app.run_experiment", fail)
        with pytest.raises(RuntimeError):
            main(None, server_context({}))  # type: ignore[arg-type]
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "RUN COMPLETE: results in /results/first"),
        ("ERROR", "RUN FAILED: RuntimeError: a tensor of some size"),
    ]


def test_the_server_app_logs_a_mistake_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    for change, message in (
        ({"set": "train.lr='0.1"}, 'UserError: set is "train.lr=\'0.1", expected KEY=VALUE separated by spaces'),
        ({"set": "train.rate=1"}, "UserError: .*unknown key 'train.rate'"),
        ({"conf": "nothing"}, "UserError: conf 'nothing' not found"),
        ({"output": "here"}, "UserError: output is 'here', expected an absolute path"),
    ):
        caplog.clear()
        with pytest.raises(UserError):
            main(None, server_context(change))  # type: ignore[arg-type]
        logged = [record.getMessage() for record in caplog.records]
        assert len(logged) == 1
        assert re.match(f"RUN FAILED: {message}", logged[0])
