"""The saved model of an earlier run, from which a scenario starts on rows that are prepared anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pfmsmtrec_flwr.config import ModelSettings
from pfmsmtrec_flwr.data.prepare.kept_values import KeptRows, kept_rows
from pfmsmtrec_flwr.data.prepare.scenario_encoder import ScenarioEncoder
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.model import Part, ScenarioModel, partition
from pfmsmtrec_flwr.scoring.kept_encoders import MADE_UP, WITHOUT_ENCODERS
from pfmsmtrec_flwr.scoring.saved_model import DESCRIPTION_NAME, ModelDescription, load_model, read_description

_FREE_SETTINGS = frozenset({"dropout", "embedding_dropout", "calibrator_weight", "initial_balance"})
"""Settings of a model that may differ from the earlier run's, because no parameter depends on them."""


@dataclass(frozen=True, slots=True)
class EarlierModel:
    """Saved model of a scenario with its encoders, beside the encoders of the store on which it trains on.

    Attributes
    ----------
    folder
        Folder of the saved model.
    description
        Description of the saved model.
    kept
        Rows of each field's table that stand for the same value in the saved model and in the store, by field.
    """

    folder: Path
    description: ModelDescription
    kept: Mapping[str, KeptRows]

    @classmethod
    def open(cls, folder: Path, store: ScenarioStore, settings: ModelSettings) -> EarlierModel:
        """Read a saved model's description and encoders, and check that it can start a model of a store.

        Parameters
        ----------
        folder
            Folder of the saved model.
        store
            Prepared data of the same scenario.
        settings
            Architecture and sizes of the model to start.

        Raises
        ------
        UserError
            The saved model or the store has no encoders, a file is damaged, or architecture, sizes, fields, numeric
            columns or tasks differ. The message names the first one.
        """
        description = read_description(folder)
        if description.unscorable:
            raise UserError(f"no run can start from the model in {folder}: {description.unscorable}")
        if description.scenario_value:
            raise UserError(
                f"no run can start from the model in {folder}: it was trained on pooled rows; start from a run of a "
                "federated method, or of alone"
            )
        if not store.attached:
            because = MADE_UP if "synthetic" in store.extra else WITHOUT_ENCODERS
            raise UserError(f"no earlier model can start {store.scenario} on the store {store.path}: {because}")
        description.require_names(store.fields, store.numeric, store.tasks, f"the store {store.path}")
        _require_sizes(description, settings)
        before, now = ScenarioEncoder.load(folder), ScenarioEncoder.load(store.folder)
        return cls(folder, description, {field.name: kept_rows(field.name, before, now) for field in store.fields})

    def starting_state(self, fresh: ScenarioModel) -> dict[str, Tensor]:
        """Return the state with which a model starts.

        Parameters
        ----------
        fresh
            Drawn model of the store; it is not changed.

        Returns
        -------
        dict
            State of the saved model. Rows of embedding tables lie where the store's encoders put their values; rows of
            values that the saved model did not know are those of `fresh`.

        Raises
        ------
        UserError
            The parameters are missing, or do not fit their description.
        """
        saved = load_model(self.folder)[0]
        state = saved.state_dict()
        for name, slot in partition(fresh).items():
            if slot.part in (Part.FEDERATED_EMBEDDING, Part.LOCAL_EMBEDDING):
                federated = slot.part is Part.FEDERATED_EMBEDDING
                state[name] = self._table(state[name], fresh.state_dict()[name], fresh, federated=federated)
        return state

    def _table(self, saved: Tensor, drawn: Tensor, model: ScenarioModel, *, federated: bool) -> Tensor:
        """Return the drawn table (R, d) with the kept rows of the saved one, whose fields are stacked alike."""
        table = drawn.clone()
        first_saved = first = 0
        for was, spec in zip(self.description.spec.fields, model.spec.fields, strict=True):
            if spec.federated != federated:
                continue
            rows = self.kept[spec.name]
            table[torch.from_numpy(rows.now) + first] = saved[torch.from_numpy(rows.before) + first_saved].to(table)
            first_saved, first = first_saved + was.rows, first + spec.rows
        return table


def has_model(folder: Path) -> bool:
    """Return whether a folder holds a saved model."""
    return (folder / DESCRIPTION_NAME).is_file()


def _require_sizes(description: ModelDescription, settings: ModelSettings) -> None:
    own, other = description.settings.model_dump(), settings.model_dump()
    for name in sorted(own.keys() - _FREE_SETTINGS):
        if own[name] != other[name]:
            raise UserError(
                f"model.{name} is {other[name]}, and {own[name]} in the saved model of {description.scenario}: start "
                "with the settings of the earlier run, or without --start-from"
            )
