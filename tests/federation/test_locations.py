from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, RecordDict

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.locations import client_root, data_root, output_folder, start_root


def context(node: dict[str, str | int], run: dict[str, str]) -> Context:
    return Context(run_id=12, node_id=3, node_config=dict(node), state=RecordDict(), run_config=dict(run))


SIMULATED: dict[str, str | int] = {"partition-id": 0, "num-partitions": 2}


def test_a_simulated_node_takes_the_folders_of_the_run() -> None:
    here = context(SIMULATED, {"output": "/out", "data": "/rows"})
    assert data_root(here) == Path("/rows")
    assert output_folder(here) == Path("/out")
    assert client_root(here) == Path("/out/clients")


def test_a_deployed_node_takes_its_own_folders_and_never_the_servers(home: Path) -> None:
    run = {"output": "/of/the/server", "data": "/of/the/server"}
    own = context({"data": "/rows", "state": "/kept"}, run)
    assert (data_root(own), client_root(own)) == (Path("/rows"), Path("/kept/12"))
    plain = context({}, run)
    assert data_root(plain) == home / ".pfmsmtrec" / "data"
    assert client_root(plain) == home / ".pfmsmtrec" / "state" / "12"


def test_without_any_word_all_lies_in_the_home_folder(home: Path) -> None:
    here = context(SIMULATED, {"output": "", "data": ""})
    assert data_root(here) == home / ".pfmsmtrec" / "data"
    assert output_folder(here) == home / ".pfmsmtrec" / "runs" / "12"
    assert data_root(context(SIMULATED, {"data": "~/rows"})) == home / "rows"


def test_relative_paths_are_refused() -> None:
    with pytest.raises(UserError, match=r"^data is 'rows', expected an absolute path$"):
        data_root(context({"data": "rows"}, {}))
    with pytest.raises(UserError, match=r"^output is './out', expected an absolute path$"):
        output_folder(context({}, {"output": "./out"}))
    with pytest.raises(UserError, match=r"^state is 'kept', expected an absolute path$"):
        client_root(context({"state": "kept"}, {}))


def test_a_run_starts_from_a_folder_in_a_simulation_and_from_a_number_on_a_deployed_node(home: Path) -> None:
    assert start_root(context(SIMULATED, {})) is None
    assert start_root(context(SIMULATED, {"start-from": ""})) is None
    assert start_root(context(SIMULATED, {"start-from": "/runs/first"})) == Path("/runs/first/clients")
    assert start_root(context({}, {"start-from": "11"})) == home / ".pfmsmtrec" / "state" / "11"
    assert start_root(context({"state": "/kept"}, {"start-from": "11"})) == Path("/kept/11")
    with pytest.raises(UserError, match=r"^start-from is 'first', expected an absolute path$"):
        start_root(context(SIMULATED, {"start-from": "first"}))
    with pytest.raises(UserError, match=r"^start-from is '/of/the/server', expected the number of an earlier run"):
        start_root(context({}, {"start-from": "/of/the/server"}))


def test_a_resumed_run_goes_on_in_the_folders_of_the_first() -> None:
    resumed = context(SIMULATED, {"resume": "/runs/first", "output": "/runs/first"})
    assert (output_folder(resumed), client_root(resumed, 11)) == (Path("/runs/first"), Path("/runs/first/clients"))
    assert output_folder(context({}, {"resume": "/runs/first"})) == Path("/runs/first")
    with pytest.raises(UserError, match=r"^output is '/runs/new', but a resumed run writes to the folder of its run"):
        output_folder(context({}, {"resume": "/runs/first", "output": "/runs/new"}))
    deployed = context({"state": "/kept"}, {"resume": "/of/the/server"})
    assert client_root(deployed, 11) == Path("/kept/11")
    odd: Any = "../11"  # an order may hold anything
    with pytest.raises(UserError, match=r"^got the name '../11', expected letters"):
        client_root(deployed, odd)
