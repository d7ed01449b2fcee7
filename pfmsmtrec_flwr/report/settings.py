"""Settings of a report's methods that differ from their defaults."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pfmsmtrec_flwr.config import RunConfig, read_config
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.experiment import CONFIG_NAME
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.methods.base import Method
from pfmsmtrec_flwr.methods.configuration import methods_of
from pfmsmtrec_flwr.methods.reference import yaml_of
from pfmsmtrec_flwr.report.study import ChangedSetting, Study
from pfmsmtrec_flwr.results.tables import Cell, FigureTable, Group

_SECTIONS = ("model", "train", "federation", "privacy")
_LEFT_OUT = frozenset(
    {
        "federation.scenarios",
        "federation.reference",
        "federation.draws",
        "federation.node_timeout",
        "federation.round_timeout",
        "train.device",
        "train.threads",
    }
)
"""Settings of the machine, of the comparison and of what is run."""


def changed_settings(folder: Path, method: str) -> dict[str, ChangedSetting]:
    """Return the settings with which a method ran and which differ from its defaults, by key.

    Parameters
    ----------
    folder
        Folder of the method's results. The configuration of a reference method lies in the folder above.
    method
        Name of the run's own method or of one of its references.

    Returns
    -------
    dict
        Empty if there is no configuration, or it is not one of this version, which is logged.
    """
    config = next((path for path in (folder / CONFIG_NAME, folder.parent / CONFIG_NAME) if path.is_file()), None)
    if config is None:
        return {}
    try:
        read = read_config(str(config))
        found = next((each for each in methods_of(read) if each.name == method), None)
        if found is None:
            return {}
        own, default = _resolved(found, read), _resolved(found, RunConfig())
    except UserError as error:
        logger.warning("settings of %s are left out: %s", method, error)
        return {}
    return {
        key: ChangedSetting(yaml_of(value), yaml_of(default[key]))
        for key, value in own.items()
        if value != default[key]
    }


def settings_table(study: Study) -> FigureTable:
    """Return a row for each setting that differs from its default, those of all methods first."""
    variants = study.variants
    shared: dict[str, ChangedSetting] = {}
    if len(variants) > 1:
        first, *others = (variant.settings for variant in variants)
        shared = {key: value for key, value in first.items() if all(other.get(key) == value for other in others)}
    groups = [_group("all methods", shared)] if shared else []
    for variant in variants:
        own = {key: value for key, value in variant.settings.items() if key not in shared}
        if own:
            groups.append(_group(variant.name, own))
    title = "Settings that differ from their defaults"
    return FigureTable("settings", title, ("setting", "value", "default"), 1, tuple(groups))


def _resolved(method: Method, config: RunConfig) -> dict[str, object]:
    resolved = method.configure(config)
    document = resolved.model_dump(mode="json")
    common = {f"{section}.{key}": value for section in _SECTIONS for key, value in document[section].items()}
    own = {f"{method.name}.{key}": value for key, value in method.own_settings(config).items()}
    return {key: value for key, value in (common | own).items() if key not in _LEFT_OUT}


def _group(name: str, settings: Mapping[str, ChangedSetting]) -> Group:
    return Group(name, tuple((Cell(key), Cell(each.value), Cell(each.default)) for key, each in settings.items()))
