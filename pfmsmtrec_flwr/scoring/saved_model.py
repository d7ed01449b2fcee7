"""Reading of the model that a run saved for a scenario."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from pfmsmtrec_flwr.config import ModelSettings
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.model import FieldSpec, ModelSpec, ScenarioModel, make_model
from pfmsmtrec_flwr.validation import parse

PARAMETERS_NAME = "model.safetensors"
DESCRIPTION_NAME = "model.json"


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """Origin of a saved model, and everything that is needed to build it.

    Attributes
    ----------
    scenario
        Scenario to which the model belongs.
    dataset
        Prepared data on which it was trained.
    method, seed
        Method and seed of the run.
    selected_round
        Round whose parameters were saved.
    spec
        Inputs and tasks.
    settings
        Architecture and sizes.
    """

    scenario: str
    dataset: str
    method: str
    seed: int
    selected_round: int
    spec: ModelSpec
    settings: ModelSettings

    def to_json(self) -> str:
        """Return the content of `model.json`."""
        own = {name: getattr(self, name) for name in ("scenario", "dataset", "method", "seed", "selected_round")}
        document = own | {"spec": asdict(self.spec), "settings": self.settings.model_dump(mode="json")}
        return json.dumps(document, indent=2)

    @classmethod
    def from_json(cls, text: str, source: str) -> ModelDescription:
        """Read what `to_json` wrote.

        Raises
        ------
        UserError
            The text does not describe a model of this project.
        """
        try:
            document: dict[str, Any] = json.loads(text)
            spec = document.pop("spec")
            fields = tuple(FieldSpec(**field) for field in spec["fields"])
            settings = parse(ModelSettings, document.pop("settings"), source)
            return cls(
                **document,
                spec=ModelSpec(fields, spec["numeric"], tuple(spec["tasks"]), spec.get("scenarios", 0)),
                settings=settings,
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(f"{source} does not describe a model of this project: {error!r}") from None


def load_model(folder: Path) -> tuple[ScenarioModel, ModelDescription]:
    """Load the model that a run left in ``clients/METHOD/SCENARIO/``.

    Returns
    -------
    tuple
        The model, in evaluation mode on the CPU, and its description.

    Raises
    ------
    UserError
        A file is missing or damaged, or the parameters do not fit the description.
    """
    path = folder / DESCRIPTION_NAME
    try:
        description = ModelDescription.from_json(path.read_text(encoding="utf-8"), str(path))
        model = make_model(description.spec, description.settings)
        model.load_state_dict(load_file(folder / PARAMETERS_NAME))
    except OSError as error:
        raise UserError(
            f"no model in {folder} ({error.strerror or error}): give a folder clients/METHOD/SCENARIO of a finished run"
        ) from None
    except (SafetensorError, RuntimeError) as error:
        raise UserError(f"{folder / PARAMETERS_NAME} does not fit its description: {error}") from None
    return model.eval(), description
