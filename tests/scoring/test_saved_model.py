"""Reading a saved model back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pfmsmtrec_flwr.config import ModelSettings
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.model import FieldSpec, ModelSpec, ScenarioModel, build_model
from pfmsmtrec_flwr.scoring.saved_model import ModelDescription, load_model

SPEC = ModelSpec((FieldSpec("a", 5, True), FieldSpec("b", 3, False)), 2, ("ctr", "ctcvr"))
SETTINGS = ModelSettings(embedding_dim=2, experts=2, expert_layers=(4, 3), tower_layers=(2,))
DESCRIPTION = ModelDescription("NL", "tiny", "pf-msmtrec", 3, 7, SPEC, SETTINGS)


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, ScenarioModel]:
    model = build_model(SPEC, SETTINGS, seed=1).eval()
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "model.json").write_text(DESCRIPTION.to_json())
    return tmp_path, model


def test_what_was_saved_predicts_the_same(saved: tuple[Path, ScenarioModel]) -> None:
    folder, model = saved
    loaded, description = load_model(folder)
    assert description == DESCRIPTION
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
    save_file(other.state_dict(), saved[0] / "model.safetensors")
    with pytest.raises(UserError, match="does not fit its description"):
        load_model(saved[0])
