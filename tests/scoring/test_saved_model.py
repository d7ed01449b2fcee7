"""Reading a saved model back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from stores import split_of, store_of
from written_stores import written

from pfmsmtrec_flwr.config import ModelSettings
from pfmsmtrec_flwr.data.store.manifest import Field, file_checksum
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.model import FieldSpec, ModelSpec, ScenarioModel, build_model
from pfmsmtrec_flwr.scoring.floor_model import FloorModel, LinearPredictor
from pfmsmtrec_flwr.scoring.saved_model import (
    ModelDescription,
    complete_description,
    load_any_model,
    load_model,
    predict_prepared,
)
from pfmsmtrec_flwr.scoring.scenario_scorer import ScenarioScorer

SPEC = ModelSpec((FieldSpec("a", 5, True), FieldSpec("b", 3, False)), 2, ("ctr", "ctcvr"))
SETTINGS = ModelSettings(embedding_dim=2, experts=2, expert_layers=(4, 3), tower_layers=(2,))
DESCRIPTION = ModelDescription("NL", "tiny", "pf-msmtrec", 3, 7, SPEC, SETTINGS)


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, ScenarioModel]:
    model = build_model(SPEC, SETTINGS, seed=1).eval()
    save(model, tmp_path)
    return tmp_path, model


def save(model: ScenarioModel, folder: Path) -> ModelDescription:
    save_file(model.state_dict(), folder / "model.safetensors")
    description = replace(DESCRIPTION, checksums={"model.safetensors": file_checksum(folder / "model.safetensors")})
    (folder / "model.json").write_text(description.to_json())
    return description


def test_what_was_saved_predicts_the_same(saved: tuple[Path, ScenarioModel]) -> None:
    folder, model = saved
    loaded, description = load_model(folder)
    assert replace(description, checksums={}) == DESCRIPTION
    assert not loaded.training
    categorical = torch.tensor([[1, 2], [4, 0]], dtype=torch.int32)
    numeric = torch.tensor([[0.5, -1.0], [2.0, 0.0]])
    assert torch.equal(loaded(categorical, numeric), model(categorical, numeric))


def test_a_missing_model_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no model in .*give a folder clients/METHOD/SCENARIO"):
        load_model(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", '{"spec": 3}', "{}"])
def test_a_description_of_something_else_is_refused(saved: tuple[Path, ScenarioModel], text: str) -> None:
    (saved[0] / "model.json").write_text(text)
    with pytest.raises(UserError, match=r"model\.json does not describe a model"):
        load_model(saved[0])


def test_parameters_of_another_model_are_refused(saved: tuple[Path, ScenarioModel]) -> None:
    other = build_model(SPEC, SETTINGS.model_copy(update={"experts": 3}), seed=1)
    save(other, saved[0])
    with pytest.raises(UserError, match="does not fit its description"):
        load_model(saved[0])


def test_a_model_of_an_earlier_version_loads_and_says_that_it_cannot_score(saved: tuple[Path, ScenarioModel]) -> None:
    folder, _ = saved
    document = json.loads((folder / "model.json").read_text())
    for name in ("format", "numeric", "unscorable", "checksums", "versions"):
        del document[name]
    (folder / "model.json").write_text(json.dumps(document))
    _, description = load_model(folder)
    assert description.format == 1 and description.spec == SPEC
    with pytest.raises(UserError) as caught:
        ScenarioScorer.load(folder)
    assert str(caught.value) == (
        f"the model in {folder} cannot score raw rows: it was saved by an earlier version, without its encoders: "
        "train again"
    )


def test_a_model_of_a_later_version_is_refused(saved: tuple[Path, ScenarioModel]) -> None:
    document = json.loads((saved[0] / "model.json").read_text()) | {"format": 5}
    (saved[0] / "model.json").write_text(json.dumps(document))
    with pytest.raises(UserError, match=r"model\.json has format 5, this version reads up to 4: install the version"):
        load_model(saved[0])


def test_a_changed_or_missing_file_is_found(saved: tuple[Path, ScenarioModel], tmp_path: Path) -> None:
    folder, _ = saved
    described = complete_description(DESCRIPTION, written(tmp_path / "store"), None, folder)
    (folder / "model.json").write_text(described.to_json())
    assert load_model(folder)[1] == described
    parameters = folder / "model.safetensors"
    content = parameters.read_bytes()
    parameters.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match=r"model\.safetensors is damaged or of another model: its checksum differs"):
        load_model(folder)
    parameters.unlink()
    with pytest.raises(UserError, match=r"model\.safetensors is missing: copy the whole folder of the model"):
        load_model(folder)


def test_a_description_without_its_checksums_is_refused(saved: tuple[Path, ScenarioModel]) -> None:
    folder, _ = saved
    for name in ("encoders.json", "vocabularies.safetensors", "schema.yaml", "calibration.json"):
        (folder / name).write_text("{}")
        with pytest.raises(UserError, match=rf"model\.json has no checksum of {name}: copy the whole folder of"):
            load_model(folder)
        (folder / name).unlink()
    document = json.loads((folder / "model.json").read_text())
    for checksums in ("{}", "null", "[]"):
        (folder / "model.json").write_text(json.dumps(document | {"checksums": json.loads(checksums)}))
        with pytest.raises(UserError, match=r"has no checksum of model\.safetensors|does not describe a model"):
            load_model(folder)
    del document["checksums"]
    (folder / "model.json").write_text(json.dumps(document))
    with pytest.raises(UserError, match=r"has no checksum of model\.safetensors"):
        load_model(folder)


def test_a_model_that_is_no_network_is_said(saved: tuple[Path, ScenarioModel]) -> None:
    folder, _ = saved
    floor = FloorModel(SPEC, (LinearPredictor.constant(0.25), LinearPredictor.constant(0.0)))
    save_file(floor.tensors(), folder / "model.safetensors")
    checksums = {"model.safetensors": file_checksum(folder / "model.safetensors")}
    described = replace(DESCRIPTION, method="base-rate", kind="floor", checksums=checksums)
    (folder / "model.json").write_text(described.to_json())
    model, description = load_any_model(folder)
    assert isinstance(model, FloorModel) and description == described
    assert model.predictions(split_of([[1, 2]], numeric=[[0, 0]])).probabilities.tolist() == [[0.25, 0.0]]
    with pytest.raises(UserError, match=r"^the model of base-rate in .* is no network: it can only score rows$"):
        load_model(folder)


FIELDS = [Field("a", 5, True), Field("b", 3, False)]


@pytest.mark.parametrize(
    ("fields", "numeric", "tasks", "message"),
    [
        (FIELDS[::-1], ["x", "y"], ["ctr", "ctcvr"], r"^field 1 is 'b' in here and 'a' in the model of NL: the order"),
        (FIELDS[:1], ["x", "y"], ["ctr", "ctcvr"], r"^field 'b' is not in here, the model of NL has it$"),
        ([*FIELDS, Field("c", 2, True)], ["x", "y"], ["ctr"], r"^field 'c' is in here, the model of NL does not have"),
        (FIELDS, ["y", "x"], ["ctr", "ctcvr"], r"^numeric column 1 is 'y' in here and 'x' in the model of NL"),
        (FIELDS, ["x", "y"], ["ctcvr", "ctr"], r"^task 1 is 'ctcvr' in here and 'ctr' in the model of NL"),
        (FIELDS, ["x"], ["ctr", "ctcvr"], r"^numeric column 'y' is not in here"),
        ([FIELDS[0], Field("b", 4, False)], ["x", "y"], ["ctr", "ctcvr"], r"^field 'b' has 4 rows and up to 1 values"),
        ([FIELDS[0], Field("b", 3, False, 2)], ["x", "y"], ["ctr", "ctcvr"], r"^field 'b' has 3 rows and up to 2 valu"),
    ],
)
def test_other_columns_are_refused_by_name(
    fields: list[Field], numeric: list[str], tasks: list[str], message: str
) -> None:
    description = replace(DESCRIPTION, numeric=("x", "y"))
    description.require(FIELDS, ["x", "y"], ["ctr", "ctcvr"], "here")
    with pytest.raises(UserError, match=message):
        description.require(fields, numeric, tasks, "here")


def test_a_description_without_names_of_numbers_compares_their_count() -> None:
    earlier = replace(DESCRIPTION, format=1)
    earlier.require(FIELDS, ["any", "name"], ["ctr", "ctcvr"], "here")
    with pytest.raises(UserError, match="here has 1 numeric columns, the model of NL has 2"):
        earlier.require(FIELDS, ["any"], ["ctr", "ctcvr"], "here")


def test_prepared_rows_are_predicted_only_if_their_columns_are_the_models(saved: tuple[Path, ScenarioModel]) -> None:
    model, _ = load_model(saved[0])
    description = replace(DESCRIPTION, numeric=("number_0", "number_1"), spec=replace(SPEC, tasks=("click", "like")))
    rows = split_of([[1, 2], [4, 0]], [[0, 1], [1, 0]], numeric=[[0.5, -1.0], [2.0, 0.0]])
    probabilities = predict_prepared(model, description, store_of("NL", FIELDS, rows))
    expected = model(torch.from_numpy(rows.categorical), torch.from_numpy(rows.numeric)).sigmoid().detach().numpy()
    assert (probabilities == expected).all()
    swapped = store_of("NL", [Field("b", 5, True), Field("a", 5, True)], rows)
    with pytest.raises(UserError, match=r"field 1 is 'b' in the store /nowhere and 'a' in the model of NL"):
        predict_prepared(model, description, swapped)
