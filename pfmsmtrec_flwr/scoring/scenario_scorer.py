"""A scenario's saved model with the encoders of its rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pfmsmtrec_flwr.data.arrays import Array
from pfmsmtrec_flwr.data.prepare.scenario_encoder import ScenarioEncoder
from pfmsmtrec_flwr.data.store.reader import Split
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.scoring.kept_calibration import CALIBRATION_NAME, load_calibration
from pfmsmtrec_flwr.scoring.saved_model import ModelDescription, SavedModel, load_any_model, saved_predictions
from pfmsmtrec_flwr.training.calibration import Calibration


@dataclass(frozen=True, slots=True)
class ScenarioScorer:
    """Model, description, encoders and calibration of a scenario, which belong together."""

    model: SavedModel
    description: ModelDescription
    encoder: ScenarioEncoder
    calibration: Calibration | None = None
    """Calibration of the scores; None if the run did not calibrate."""

    @classmethod
    def load(cls, folder: Path) -> ScenarioScorer:
        """Load the folder of a saved model.

        Raises
        ------
        UserError
            A file is missing or damaged, the files do not belong together, or the model cannot score raw rows.
        """
        model, description = load_any_model(folder)
        if description.unscorable:
            raise UserError(f"the model in {folder} cannot score raw rows: {description.unscorable}")
        encoder = ScenarioEncoder.load(folder)
        tasks = list(encoder.schema.tasks_of(encoder.scenario))
        description.require(encoder.stored_fields(), list(encoder.schema.numeric), tasks, f"the encoders in {folder}")
        calibration = load_calibration(folder) if CALIBRATION_NAME in description.checksums else None
        return cls(model, description, encoder, calibration)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks in the order of the scores."""
        return self.description.spec.tasks

    def named_inputs(self, derived: Mapping[str, Array]) -> dict[str, npt.NDArray[np.int32] | npt.NDArray[np.float32]]:
        """Return the inputs of rows by the name of their field or numeric column; see `Scorer.inputs`."""
        categorical, numeric = self.encoder.inputs(derived, slice(None))
        fields = self.description.row_fields
        starts = accumulate((field.most for field in fields), initial=0)
        found: dict[str, npt.NDArray[np.int32] | npt.NDArray[np.float32]] = {
            field.name: categorical[:, start] if field.most == 1 else categorical[:, start : start + field.most]
            for field, start in zip(fields, starts, strict=False)
        }
        return found | dict(zip(self.description.numeric, numeric.T, strict=True))

    def no_inputs(self) -> dict[str, npt.NDArray[np.int32] | npt.NDArray[np.float32]]:
        """Return the inputs of no rows."""
        found: dict[str, npt.NDArray[np.int32] | npt.NDArray[np.float32]] = {
            field.name: np.empty((0, field.most) if field.most > 1 else 0, np.int32)
            for field in self.description.row_fields
        }
        return found | {name: np.empty(0, np.float32) for name in self.description.numeric}

    def score(
        self, derived: Mapping[str, Array], rows: npt.NDArray[np.int64] | slice, *, raw: bool = False
    ) -> npt.NDArray[np.float32]:
        """Return the probabilities (n, T) of rows, calibrated unless `raw`; see `ScenarioEncoder.inputs`."""
        categorical, numeric = self.encoder.inputs(derived, rows)
        if not len(categorical):
            return np.empty((0, len(self.tasks)), np.float32)
        labels = np.zeros((len(categorical), len(self.tasks)), np.uint8)  # batches have some, and nothing reads them
        split = Split(self.description.with_scenario(categorical), numeric, labels, None, None)
        found = saved_predictions(self.model, split)
        return found.probabilities if raw or self.calibration is None else self.calibration.apply(found, self.tasks)
