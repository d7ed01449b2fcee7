"""Folders that a run reads and writes, on the server and on a client."""

from __future__ import annotations

from pathlib import Path

from flwr.app import Context, UserConfig

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.validation import safe_folder

HOME = Path("~/.pfmsmtrec")
RESUME_KEY = "resume"
"""Key of a run's configuration that names the output folder of the run that goes on."""
START_KEY = "start-from"
"""Key of a run's configuration that names the run from whose models the scenarios start."""
CLIENTS_NAME = "clients"
"""Folder of the clients' files in a simulation, beside the results."""


def data_root(context: Context) -> Path:
    """Return the folder of the prepared stores.

    It is the one that the node declares, or else, in a simulation, the one that the run names, or else the default. The
    server chooses the run's folder; a deployed node, which may write made-up scenarios there, does not use it.
    """
    of_run = _absolute(context.run_config, "data") if is_simulated(context) else None
    return _absolute(context.node_config, "data") or of_run or _home() / "data"


def output_folder(context: Context) -> Path:
    """Return the folder of a run's results on the server, which is that of the run that it resumes, if it does.

    Raises
    ------
    UserError
        The folder is not absolute, or is another one than that of the run that is resumed.
    """
    resumed, output = _absolute(context.run_config, RESUME_KEY), _absolute(context.run_config, "output")
    if resumed and output and resumed != output:
        raise UserError(f"output is '{output}', but a resumed run writes to the folder of its run, '{resumed}'")
    return resumed or output or _home() / "runs" / str(context.run_id)


def client_root(context: Context, first_run: int = 0) -> Path:
    """Return the folder of the files that a client keeps of this run.

    In a simulation it lies with the results. A deployed node declares it (``--node-config 'state="/path"'``) or uses
    the default; it never writes to a path that the server names.

    Parameters
    ----------
    context
        Context of the node.
    first_run
        Number of the run that this one resumes; 0: it is a new run.
    """
    if is_simulated(context):
        return output_folder(context) / CLIENTS_NAME
    return safe_folder(_kept_runs(context), str(first_run or context.run_id))


def start_root(context: Context) -> Path | None:
    """Return the folder of the files that a client keeps of the run from whose models it starts; None: it starts anew.

    In a simulation the run names the output folder of the earlier run. On a deployed node the run names the number of
    the earlier run, whose files the node keeps in a folder of its own.

    Raises
    ------
    UserError
        The folder is not absolute, or the number is none.
    """
    if not (start := str(context.run_config.get(START_KEY, ""))):
        return None
    if is_simulated(context):
        return (_absolute(context.run_config, START_KEY) or Path(start)) / CLIENTS_NAME
    if not start.isdecimal():
        raise UserError(f"{START_KEY} is '{start}', expected the number of an earlier run: this node is deployed")
    return _kept_runs(context) / start


def is_simulated(context: Context) -> bool:
    """Return whether the node is one of Flower's simulation, which knows its number among all nodes."""
    return "partition-id" in context.node_config


def _kept_runs(context: Context) -> Path:
    return _absolute(context.node_config, "state") or _home() / "state"


def _home() -> Path:
    return HOME.expanduser()


def _absolute(config: UserConfig, key: str) -> Path | None:
    value = config.get(key, "")
    if not value:
        return None
    path = Path(str(value)).expanduser()
    if not path.is_absolute():
        # Flower's processes have working directories of their own, so a relative path would mean different folders.
        raise UserError(f"{key} is '{value}', expected an absolute path")
    return path
