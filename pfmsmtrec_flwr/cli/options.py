"""What several commands share: folders, the option of the data folder, checks before a run starts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:  # modules that compute are imported by the command that needs them: `--help` answers at once
    from pfmsmtrec_flwr.config import RunConfig

DATA_FOLDER = Path("~/.pfmsmtrec/data")

DataOption = Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder of prepared data.")]
MethodOption = Annotated[
    str, typer.Option(metavar="NAME|FILE", help="One of `pfmsmtrec methods`, or a Python file that defines METHOD.")
]
SeedOption = Annotated[int | None, typer.Option(metavar="N", min=0, help="Seed of every random draw.")]
SettingsOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, such as train.lr=0.002; repeatable."),
]


def absolute(path: Path) -> Path:
    """Expand `~` and make a path absolute."""
    return path.expanduser().resolve()


def method_name(method: str) -> str:
    """Return the name of a method, or the absolute path of its file."""
    from pfmsmtrec_flwr.methods.files import is_method_file

    return str(absolute(Path(method))) if is_method_file(method) else method


def check_data(config: RunConfig, data: Path) -> None:
    """Refuse data that is not prepared, and scenarios that it does not have, before a run starts."""
    from pfmsmtrec_flwr.data.scenarios import known_scenarios, require_known

    known = known_scenarios(config.data, data)
    require_known(config.federation.scenarios, list(known), f"data '{config.data.name}'")
