"""Where a run reads and writes, on the server and on a client."""

from __future__ import annotations

from pathlib import Path

from flwr.app import Context, UserConfig

from pfmsmtrec_flwr.errors import UserError

HOME = Path("~/.pfmsmtrec")


def data_root(context: Context) -> Path:
    """Folder of the prepared stores: the node's own, in a simulation else the run's, else the default.

    The run's is the server's word. A deployed node, which may write made-up scenarios there, does not take it.
    """
    of_run = _absolute(context.run_config, "data") if is_simulated(context) else None
    return _absolute(context.node_config, "data") or of_run or _home() / "data"


def output_folder(context: Context) -> Path:
    """Folder of a run's results on the server."""
    return _absolute(context.run_config, "output") or _home() / "runs" / str(context.run_id)


def client_root(context: Context) -> Path:
    """Folder of what a client keeps of this run.

    In a simulation it lies with the results. A deployed node says where (``--node-config 'state="/path"'``) or takes
    the default; it never writes to a path that the server names.
    """
    if is_simulated(context):
        return output_folder(context) / "clients"
    return (_absolute(context.node_config, "state") or _home() / "state") / str(context.run_id)


def is_simulated(context: Context) -> bool:
    """Whether the node is one of Flower's simulation, which knows its number among all of them."""
    return "partition-id" in context.node_config


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
