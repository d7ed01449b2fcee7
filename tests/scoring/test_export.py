"""Exported models give the scores of the saved ones, for any number of rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scoring_shop import TASKS, impressions, trained_shop

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.scoring.export import METADATA_NAME, export_model
from pfmsmtrec_flwr.scoring.scorer import Scorer

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shop")


@pytest.fixture(scope="module")
def model(shop: Path) -> Path:
    return trained_shop(shop) / "clients" / "alone" / "NL"


@pytest.fixture(scope="module")
def exported(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model in both formats."""
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("exported")
    export_model(model, folder / "model.pt2", "torch")
    export_model(model, folder / "model.onnx", "onnx")
    return folder


SIZES = (1, 2, 61)
ONE_LAYER = {"expert_layers": [4]}  # the exporter to ONNX takes seconds for each layer


def assert_the_scores_of(scorer: Scorer, folder: Path) -> None:
    """Compare the scores of a model in both formats with those of the scorer."""
    import onnxruntime

    program = torch.export.load(folder / "model.pt2").module()
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    for count in SIZES:
        rows = impressions(count, seed=count).drop(columns="country")
        expected = scorer.predict(rows)
        inputs = scorer.inputs(rows)
        assert inputs["tags"].shape == (count, 2) and inputs["price"].dtype == np.float32
        by_name = program({name: torch.from_numpy(np.ascontiguousarray(each)) for name, each in inputs.items()})
        by_runtime = session.run(TASKS, inputs)
        for place, task in enumerate(TASKS):
            np.testing.assert_allclose(by_name[task].detach(), expected[task], atol=TOLERANCE)
            np.testing.assert_allclose(by_runtime[place], expected[task], atol=TOLERANCE)


@pytest.mark.slow
def test_layers_of_experts(model: Path, exported: Path) -> None:
    assert_the_scores_of(Scorer.load(model), exported)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "settings"),
    [
        *((f"alone-{name}", {}) for name in ("single-task", "shared-bottom", "ple", "aitm", "esmm")),
        ("pf-msmtrec", {}),
        ("alone", {"architecture": "stem"}),
        *((f"pooled-{name}", {}) for name in ("pepnet", "star", "m3oe")),
        ("base-rate", {}),
        ("logistic-pooled", {}),
    ],
)
def test_every_architecture(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, settings: dict[str, str]
) -> None:
    pytest.importorskip("onnxruntime")
    folder = trained_shop(shop, method, model=ONE_LAYER | settings) / "clients" / method / "NL"
    trace = torch.export.export
    traced: list[torch.export.ExportedProgram] = []

    def trace_once(*arguments: Any, **named: Any) -> torch.export.ExportedProgram:
        """Both formats are written from the same trace."""
        traced.append(traced[0] if traced else trace(*arguments, **named))
        return traced[0]

    monkeypatch.setattr(torch.export, "export", trace_once)
    export_model(folder, tmp_path / "model.pt2", "torch")
    export_model(folder, tmp_path / "model.onnx", "onnx")
    assert len(traced) == 2
    assert_the_scores_of(Scorer.load(folder), tmp_path)


def test_an_onnx_file_names_inputs_outputs_and_origin(model: Path, exported: Path) -> None:
    import onnxruntime

    assert sorted(file.name for file in exported.iterdir()) == ["model.onnx", "model.pt2"]
    session = onnxruntime.InferenceSession(exported / "model.onnx")
    shapes = {each.name: each.shape for each in session.get_inputs()}
    # `unsqueeze` is a name of the exporter's own too
    names = ["user", "item", "hour", "unsqueeze", "age", "kind", "tags", "price", "weight"]
    assert shapes == {name: ["rows", 2] if name == "tags" else ["rows"] for name in names}
    assert [(each.name, each.shape) for each in session.get_outputs()] == [(task, ["rows"]) for task in TASKS]
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata["opset"] == "18" and json.loads(metadata["tasks"]) == TASKS
    described = json.loads(metadata["model"])
    assert (described["scenario"], described["dataset"], described["method"]) == ("NL", "shop", "alone")
    assert described["checksums"].keys() >= {"model.safetensors", "vocabularies.safetensors"}
    assert json.loads(metadata["numeric"])["price"]["std"] > 0
    assert json.loads(metadata["calibration"]) == json.loads((model / "calibration.json").read_text())


def test_a_torch_file_has_the_metadata_too(exported: Path) -> None:
    extra = {METADATA_NAME: ""}
    torch.export.load(exported / "model.pt2", extra_files=extra)
    assert json.loads(json.loads(extra[METADATA_NAME])["model"])["scenario"] == "NL"


def test_what_cannot_be_exported_is_one_line(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"no model in .*give a folder clients/METHOD/SCENARIO"):
        export_model(tmp_path, tmp_path / "model.pt2", "torch")
    with pytest.raises(UserError, match=r"cannot write .*none/model\.pt2"):
        export_model(model, tmp_path / "none" / "model.pt2", "torch")
    monkeypatch.setattr("pfmsmtrec_flwr.scoring.export.find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"ONNX needs onnx and onnxscript: pip install 'pfmsmtrec-flwr\[onnx\]'"):
        export_model(model, tmp_path / "model.onnx", "onnx")
    assert list(tmp_path.iterdir()) == []


def test_trees_are_refused(shop: Path, tmp_path: Path) -> None:
    folder = trained_shop(shop, "trees-alone") / "clients" / "trees-alone" / "NL"
    with pytest.raises(UserError, match=r"^boosted trees cannot be exported: score rows with pfmsmtrec predict$"):
        export_model(folder, tmp_path / "model.pt2", "torch")


def test_inputs_of_one_model_at_a_time(model: Path) -> None:
    with pytest.raises(UserError, match=r"there are models of DE, NL: name the scenario of all rows"):
        Scorer.load(model.parent).inputs(impressions(5))
    both = [Scorer.load(folder).inputs(impressions(5), scenario="NL") for folder in (model, model.parent)]
    assert both[0].keys() == both[1].keys()
    for name, values in both[0].items():
        np.testing.assert_array_equal(values, both[1][name])
    assert {len(values) for values in Scorer.load(model).inputs(impressions(5).iloc[:0]).values()} == {0}
