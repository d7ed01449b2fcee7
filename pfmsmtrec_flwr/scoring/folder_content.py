"""What is written beside the parameters of a finished model."""

from __future__ import annotations

from pathlib import Path

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.scoring.finished_model import FinishedModel
from pfmsmtrec_flwr.scoring.saved_model import ModelDescription, complete_description


def complete_folder(model: FinishedModel, store: ScenarioStore, config: RunConfig, folder: Path) -> str:
    """Put encoders, calibration and model card beside a model's parameters, and return the text of its description.

    Parameters
    ----------
    model
        Finished model.
    store
        Prepared data on which it was trained.
    config
        Configuration under which its method ran.
    folder
        Folder that holds its parameters.

    Raises
    ------
    OSError
        The folder cannot be written.
    """
    from pfmsmtrec_flwr.scoring.model_card import CARD_NAME, CardContent, model_card  # draws on scipy and pandas

    description = ModelDescription(
        scenario=store.scenario,
        dataset=store.dataset,
        method=config.method,
        seed=config.seed,
        selected_round=model.selected_round,
        spec=model.spec,
        settings=config.model,
        scenario_value=model.scenario_value,
        kind=model.kind,
    )
    description = complete_description(description, store, model.calibration, folder)
    content = CardContent(model, description, store, config)
    (folder / CARD_NAME).write_text(model_card(content, folder), encoding="utf-8")
    return description.to_json()
