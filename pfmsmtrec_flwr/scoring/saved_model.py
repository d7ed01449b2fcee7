"""The folder of a scenario's saved model: its description, its parameters, and the encoders of its rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file

from pfmsmtrec_flwr.config import ModelSettings
from pfmsmtrec_flwr.data.arrays import Array
from pfmsmtrec_flwr.data.store.manifest import Field, file_checksum
from pfmsmtrec_flwr.data.store.reader import ScenarioStore, Split
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.model import FieldSpec, ModelSpec, ScenarioModel, make_model
from pfmsmtrec_flwr.results.schema import versions
from pfmsmtrec_flwr.scoring.floor_model import FloorModel
from pfmsmtrec_flwr.scoring.kept_calibration import CALIBRATION_NAME, keep_calibration
from pfmsmtrec_flwr.scoring.kept_encoders import ENCODER_FILES, keep_encoders
from pfmsmtrec_flwr.training.calibration import Calibration
from pfmsmtrec_flwr.training.evaluation import Predictions, predictions_of
from pfmsmtrec_flwr.training.records import ModelKind
from pfmsmtrec_flwr.validation import parse

PARAMETERS_NAME = "model.safetensors"
DESCRIPTION_NAME = "model.json"
MODEL_FORMAT = 4
"""Version of the folder. Format 1 has no number, encoders or checksums, format 2 no calibration. Up to format 3, every
model is a network."""
FIRST_FORMAT = 1
SavedModel = ScenarioModel | FloorModel
"""Network of a scenario, or predictors without one."""
_CHECKED = (PARAMETERS_NAME, *ENCODER_FILES, CALIBRATION_NAME)
EARLIER = "it was saved by an earlier version, without its encoders: train again"


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
    numeric
        Names of the numeric columns in their order; empty in format 1.
    unscorable
        Reason why the model cannot score raw rows; empty if it can.
    checksums
        Checksum of each other file in the folder, by its name; without the model card, which may be edited.
    scenario_value
        Value of the last field, the scenario, in a model of pooled rows, which the rows do not have; 0: no such field.
    kind
        Whether the model is a network.
    format
        Version of the folder.
    """

    scenario: str
    dataset: str
    method: str
    seed: int
    selected_round: int
    spec: ModelSpec
    settings: ModelSettings
    numeric: tuple[str, ...] = ()
    unscorable: str = ""
    checksums: Mapping[str, str] = field(default_factory=dict)
    scenario_value: int = 0
    kind: ModelKind = "network"
    format: int = MODEL_FORMAT

    @property
    def row_fields(self) -> tuple[FieldSpec, ...]:
        """Fields whose values come from the rows: all but the scenario of a model of pooled rows."""
        return self.spec.fields[:-1] if self.scenario_value else self.spec.fields

    def with_scenario(self, categorical: Array) -> Array:
        """Return the categorical input (n, C) of the model for the values (n, C or C - 1) of the rows."""
        if not self.scenario_value:
            return categorical
        return np.concatenate([categorical, np.full((len(categorical), 1), self.scenario_value, np.int32)], axis=1)

    def to_json(self) -> str:
        """Return the content of `model.json`."""
        own = ("format", "scenario", "dataset", "method", "seed", "selected_round", "numeric", "unscorable")
        document = {name: getattr(self, name) for name in (*own, "scenario_value", "kind")}
        document |= {"spec": asdict(self.spec), "settings": self.settings.model_dump(mode="json")}
        return json.dumps(document | {"checksums": dict(self.checksums), "versions": versions()}, indent=2)

    @classmethod
    def from_json(cls, text: str, source: str) -> ModelDescription:
        """Read what `to_json` wrote.

        Raises
        ------
        UserError
            The text does not describe a model of this project, or one of a later format.
        """
        try:
            document: dict[str, Any] = json.loads(text)
            if document.setdefault("format", FIRST_FORMAT) > MODEL_FORMAT:
                raise UserError(
                    f"{source} has format {document['format']}, this version reads up to {MODEL_FORMAT}: "
                    "install the version that wrote it"
                )
            if document["format"] == FIRST_FORMAT:
                document["unscorable"] = EARLIER
            document.pop("versions", None)
            document["checksums"] = dict(document.get("checksums", {}))
            spec = document.pop("spec")
            fields = tuple(FieldSpec(**field) for field in spec["fields"])
            settings = parse(ModelSettings, document.pop("settings"), source)
            return cls(
                **document | {"numeric": tuple(document.get("numeric", ()))},
                spec=ModelSpec(fields, spec["numeric"], tuple(spec["tasks"]), spec.get("scenarios", 0)),
                settings=settings,
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(f"{source} does not describe a model of this project: {error!r}") from None

    def require_names(self, fields: Sequence[Field], numeric: Sequence[str], tasks: Sequence[str], where: str) -> None:
        """Refuse columns whose names or their order are not those of the model; see `require`."""
        own = [each.name for each in self.row_fields]
        _require_alike("field", own, [each.name for each in fields], where, self.scenario)
        _require_alike("task", self.spec.tasks, tasks, where, self.scenario)
        if self.format > FIRST_FORMAT:
            _require_alike("numeric column", self.numeric, numeric, where, self.scenario)
        elif len(numeric) != self.spec.numeric:
            raise UserError(
                f"{where} has {len(numeric)} numeric columns, the model of {self.scenario} has {self.spec.numeric}"
            )

    def require(self, fields: Sequence[Field], numeric: Sequence[str], tasks: Sequence[str], where: str) -> None:
        """Refuse columns that are not those of the model, in its order.

        Parameters
        ----------
        fields, numeric, tasks
            Categorical fields, and names of the numeric columns and of the tasks.
        where
            What has these columns, for the message.

        Raises
        ------
        UserError
            The message names the first column that differs.
        """
        self.require_names(fields, numeric, tasks, where)
        for mine, other in zip(self.row_fields, fields, strict=True):
            if (mine.rows, mine.most) != (other.size, other.most):
                raise UserError(
                    f"field '{mine.name}' has {other.size} rows and up to {other.most} values in {where}, "
                    f"{mine.rows} rows and up to {mine.most} values in the model of {self.scenario}"
                )


def complete_description(
    description: ModelDescription, store: ScenarioStore, calibration: Calibration | None, folder: Path
) -> ModelDescription:
    """Put encoders and calibration beside the saved parameters of a model, and return its description with checksums.

    Parameters
    ----------
    description
        Description of the model.
    store
        Prepared data on which it was trained.
    calibration
        Calibration of its predictions; None if the run does not calibrate.
    folder
        Folder that holds its parameters.

    Raises
    ------
    OSError
        The folder cannot be written.
    """
    unscorable = keep_encoders(store, folder)
    checksums = {PARAMETERS_NAME: file_checksum(folder / PARAMETERS_NAME)}
    checksums |= {} if unscorable else store.attached
    checksums |= keep_calibration(calibration, folder)
    return replace(description, numeric=store.numeric, unscorable=unscorable, checksums=checksums)


def load_model(folder: Path) -> tuple[ScenarioModel, ModelDescription]:
    """Load the network that a run left in ``clients/METHOD/SCENARIO/``.

    Returns
    -------
    tuple
        The network, in evaluation mode on the CPU, and its description.

    Raises
    ------
    UserError
        The model is no network, a file is missing or damaged, or the parameters do not fit the description.
    """
    model, description = load_any_model(folder)
    if not isinstance(model, ScenarioModel):
        raise UserError(f"the model of {description.method} in {folder} is no network: it can only score rows")
    return model, description


def load_any_model(folder: Path) -> tuple[SavedModel, ModelDescription]:
    """Load the model that a run left in ``clients/METHOD/SCENARIO/``, a network or not; see `load_model`.

    Raises
    ------
    UserError
        A file is missing or damaged, or the parameters do not fit the description.
    """
    description = read_description(folder)
    try:
        tensors = load_file(folder / PARAMETERS_NAME)
        if description.kind == "floor":
            return FloorModel.from_tensors(description.spec, tensors), description
        model = make_model(description.spec, description.settings)
        model.load_state_dict(tensors)
    except OSError as error:
        raise _no_model(folder, error) from None
    except (SafetensorError, RuntimeError, ValueError) as error:
        raise UserError(f"{folder / PARAMETERS_NAME} does not fit its description: {error}") from None
    return model.eval(), description


def read_description(folder: Path) -> ModelDescription:
    """Read the description of the model in a folder, and compare its other files with their checksums.

    Raises
    ------
    UserError
        A file is missing or damaged.
    """
    path = folder / DESCRIPTION_NAME
    try:
        description = ModelDescription.from_json(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise _no_model(folder, error) from None
    for name, expected in description.checksums.items():
        file = folder / name
        if not file.is_file():
            raise UserError(f"{file} is missing: copy the whole folder of the model")
        if file_checksum(file) != expected:
            raise UserError(f"{file} is damaged or of another model: its checksum differs from that in {path}")
    for name in _CHECKED if description.format > FIRST_FORMAT else ():
        if name not in description.checksums and (folder / name).exists():
            raise UserError(f"{path} has no checksum of {name}: copy the whole folder of the model, or train again")
    return description


def saved_predictions(model: SavedModel, rows: Split) -> Predictions:
    """Return the predictions of a saved model, before calibration, for rows with all columns of the model."""
    return (
        model.predictions(rows) if isinstance(model, FloorModel) else predictions_of(model, rows, torch.device("cpu"))
    )


def predict_prepared(
    model: SavedModel, description: ModelDescription, store: ScenarioStore, split: str = "test"
) -> NDArray[np.float32]:
    """Return the predicted probabilities (n, T) of prepared rows, before calibration.

    The columns of the rows must be the model's.

    Parameters
    ----------
    model, description
        Model and description, as of `load_any_model`.
    store
        Prepared rows.
    split
        Split to predict.

    Raises
    ------
    UserError
        The columns of the store or their order differ from those of the model. The message names the first one.
    """
    description.require(store.fields, store.numeric, store.tasks, f"the store {store.path}")
    rows = store.splits[split]
    rows = replace(rows, categorical=description.with_scenario(rows.categorical))
    return saved_predictions(model, rows).probabilities


def _require_alike(kind: str, own: Sequence[str], got: Sequence[str], where: str, scenario: str) -> None:
    if tuple(own) == tuple(got):
        return
    missing = [name for name in own if name not in got]
    more = [name for name in got if name not in own]
    if missing or more:
        name, there = (missing[0], "is not in") if missing else (more[0], "is in")
        other = "has it" if missing else "does not have it"
        raise UserError(f"{kind} '{name}' {there} {where}, the model of {scenario} {other}")
    place = next(place for place, pair in enumerate(zip(own, got, strict=True)) if pair[0] != pair[1])
    raise UserError(
        f"{kind} {place + 1} is '{got[place]}' in {where} and '{own[place]}' in the model of {scenario}: "
        "the order must be the same"
    )


def _no_model(folder: Path, error: OSError) -> UserError:
    return UserError(
        f"no model in {folder} ({error.strerror or error}): give a folder clients/METHOD/SCENARIO of a finished run"
    )
