"""What several commands share: folders, the option of the data folder, checks before a run starts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pfmsmtrec_flwr.errors import UserError

if TYPE_CHECKING:  # modules that compute are imported by the command that needs them: `--help` answers at once
    from pfmsmtrec_flwr.config import RunConfig

DATA_FOLDER = Path("~/.pfmsmtrec/data")
SYNTHETIC = "synthetic"

DataOption = Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder of prepared data.")]


def absolute(path: Path) -> Path:
    """Expand `~` and make a path absolute."""
    return path.expanduser().resolve()


def check_data(config: RunConfig, data: Path) -> None:
    """Refuse data that is not prepared, before a run starts."""
    from pfmsmtrec_flwr.data.store.listing import list_scenarios

    name = config.data.name
    if name == SYNTHETIC:  # made on the spot by the run
        return
    known = [store.scenario for store in list_scenarios(data, name)]
    if not known:
        raise UserError(f"no data '{name}' is prepared in {data}: `pfmsmtrec prepare {name} --source DIR` does that")
    if missing := [scenario for scenario in config.federation.scenarios if scenario not in known]:
        raise UserError(f"data '{name}' has no scenario '{missing[0]}': federation.scenarios may be {', '.join(known)}")
