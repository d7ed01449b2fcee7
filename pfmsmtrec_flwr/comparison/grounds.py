"""Data that a comparison reports on, and data that its trials are run on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pfmsmtrec_flwr.comparison.jobs import data_fingerprint
from pfmsmtrec_flwr.config import DataSettings, RunConfig
from pfmsmtrec_flwr.data.scenarios import SYNTHETIC, synthetic_settings
from pfmsmtrec_flwr.errors import UserError

OTHER_WORLD = 1000
"""Distance between the seed of a made-up world that is reported and that of the world of the trials."""


@dataclass(frozen=True, slots=True)
class Ground:
    """Data of runs.

    Attributes
    ----------
    name
        Name of the data, for people.
    fingerprint
        Fingerprint of the rows.
    change
        Fields of the configuration's data settings that differ.
    """

    name: str
    fingerprint: str
    change: Mapping[str, Any] = field(default_factory=dict)

    def settings(self, data: DataSettings) -> DataSettings:
        """Return the data settings of a run on this data."""
        return data.model_copy(update=dict(self.change))


def own_ground(config: RunConfig, root: Path) -> Ground:
    """Return the configuration's own data; made-up rows are made.

    Raises
    ------
    UserError
        The data are not prepared, or lack a scenario that takes part.
    """
    return Ground(config.data.name, data_fingerprint(config, root))


def tuning_grounds(config: RunConfig, names: Sequence[str], root: Path) -> list[Ground]:
    """Return the data of the trials: never a made-up world that is reported.

    Parameters
    ----------
    config
        Configuration of the runs.
    names
        Names of prepared data sets or, if the configuration's data are made up, seeds of other worlds. If there are
        none, trials are run on the configuration's own data set, or in one other world.
    root
        Folder of the prepared data; made-up rows are made there.

    Raises
    ------
    UserError
        A name is repeated or no such data, or the world of a seed is the one that is reported.
    """
    if len(set(names)) != len(names):
        raise UserError(f"--tune-on: got {','.join(names)}, expected each name once")
    if config.data.name != SYNTHETIC:
        return [_ground(config, name, {"name": name}, root) for name in names or (config.data.name,)]
    reported = synthetic_settings(config.data).seed
    worlds = [_world(name, reported) for name in names] or [reported + OTHER_WORLD]
    return [
        _ground(config, f"made-up world {world}", {"synthetic": {**config.data.synthetic, "seed": world}}, root)
        for world in worlds
    ]


def _world(name: str, reported: int) -> int:
    try:
        world = int(name)
    except ValueError:
        raise UserError(f"--tune-on: got '{name}', expected the seed of a made-up world, a whole number") from None
    if world == reported:
        raise UserError(f"--tune-on: got {world}, the world that is reported: name other worlds")
    return world


def _ground(config: RunConfig, name: str, change: Mapping[str, Any], root: Path) -> Ground:
    changed = config.model_copy(update={"data": config.data.model_copy(update=dict(change))})
    return Ground(name, data_fingerprint(changed, root), change)
