"""Flower's simulation engine and the in-process grid end with the same parameters, to the last bit."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import layouts
import numpy as np
import pytest
from federated import same
from safetensors.torch import load_file

from pfmsmtrec_flwr.data.prepare.pipeline import prepare
from pfmsmtrec_flwr.data.schema.document import load_schema
from pfmsmtrec_flwr.experiment import run_inline
from pfmsmtrec_flwr.federation.resume.checkpoints import Checkpoint, CheckpointFolder
from pfmsmtrec_flwr.launch import engine
from pfmsmtrec_flwr.launch.app import app_folder
from pfmsmtrec_flwr.launch.engine import run_on_flower
from pfmsmtrec_flwr.launch.home import private_home
from pfmsmtrec_flwr.launch.processes import family
from pfmsmtrec_flwr.methods.configuration import load_config

if TYPE_CHECKING:
    from real_flower import Expected, Flower
    from torch import Tensor

pytestmark = [pytest.mark.slow, pytest.mark.flower, pytest.mark.timeout(900)]


def models(output: Path, method: str = "pf-msmtrec") -> dict[str, dict[str, Tensor]]:
    folders = sorted((output / "clients" / method).iterdir())
    return {folder.name: load_file(folder / "model.safetensors") for folder in folders}


def results_in(output: Path) -> dict[str, Any]:
    return dict(json.loads((output / "results.json").read_text()))


def figures(output: Path) -> dict[str, object]:
    results = results_in(output)
    return {key: results[key] for key in ("scenarios", "macro", "rounds", "draws", "differences")}


def break_off(expected: Expected, output: Path) -> None:
    """Begin the run in this process, and end when the first exchange has been kept."""
    write = CheckpointFolder.write

    def write_and_end(folder: CheckpointFolder, checkpoint: Checkpoint, about: Mapping[str, Any]) -> None:
        write(folder, checkpoint, about)
        if checkpoint.number == 1:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(CheckpointFolder, "write", write_and_end)
        run_inline(expected.config, data=expected.data, output=output)


def test_plain_flwr_run_from_anywhere_twice_in_a_row(flower: Flower, expected: Expected, tmp_path: Path) -> None:
    settings = {"conf": str(expected.conf), "data": str(tmp_path / "data")}
    # A GPU of Ray's own counting, which no machine needs to have: clients with a share of it run four at once.
    shares = "client-resources-num-gpus=0.25 init-args-num-gpus=1"
    resources = f"num-supernodes=6 client-resources-num-cpus=1 {shares}"
    break_off(expected, tmp_path / "six nodes")
    with_reference = {"set": "federation.reference=[alone]"}
    runs: tuple[tuple[str, str, dict[str, str], tuple[str, ...]], ...] = (
        ("output", "two nodes", with_reference, ()),
        ("resume", "six nodes", {}, ("--federation-config", resources)),
    )
    for key, folder, changes, more in runs:
        output = tmp_path / folder
        status, printed = flower.run(settings | changes | {key: str(output)}, *more)
        assert status == "finished:completed", printed
        assert len(models(output)) == 4
        assert same(models(output), models(expected.output))
        assert figures(output) | ({"differences": []} if changes else {}) == figures(expected.output)
        assert "round 2 of 2" in printed
        assert (output / "draws.json").read_text() == (expected.output / "draws.json").read_text()
        if changes:
            check_the_difference_to_alone(output, printed)
    status, printed = flower.run(settings | {"output": str(tmp_path / "x"), "set": "federation.scenarios=[NL,XX]"})
    assert status.startswith("finished:failed")
    assert "UserError: node " in printed
    assert "scenario XX is not in this data set, which has ES, FR, NL, US" in printed


def check_the_difference_to_alone(output: Path, printed: str) -> None:
    """Compare the interval of a run's difference to its reference with that of the draws that both have written."""
    own, alone = (json.loads((folder / "draws.json").read_text()) for folder in (output, output / "alone"))
    results = results_in(output)
    assert results["draws"] == 50
    (difference,) = (each for each in results["differences"] if each["task"] == "ctr")
    drawn = np.mean([np.subtract(alone[name]["ctr"], own[name]["ctr"]) for name in own], axis=0)
    ends = [difference["interval"][end] for end in ("low", "high")]
    np.testing.assert_allclose(ends, np.quantile(drawn, [0.025, 0.975]), rtol=0, atol=2e-6)
    assert f"less that of pf-msmtrec, same draws: ctr {difference['difference']:+.4f} [" in printed


def kill_an_actor(homes: list[Path], ready: Path, killed: list[int]) -> None:
    """Kill a process in which scenarios of the run are trained, as soon as a file is there."""
    deadline = time.monotonic() + 300
    while not ready.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    titles = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in sorted(family(str(homes[0])))}
    actor = next(pid for pid, title in titles.items() if title.startswith(b"ray::") and b"Actor" in title)
    os.kill(actor, signal.SIGKILL)
    killed.append(actor)


def test_our_own_runner_gives_the_same_bits_though_a_client_process_dies(
    expected: Expected, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    settings = {"conf": str(expected.conf), "output": str(output), "data": str(expected.data)}
    settings["set"] = "federation.node_timeout=300"  # for a machine that has other things to do
    resources = {"num_supernodes": 4, "cpus_per_client": 1, "gpus_per_client": 0}
    homes: list[Path] = []
    killed: list[int] = []

    @contextmanager
    def noted_home() -> Iterator[Path]:
        with private_home() as home:
            homes.append(home)
            yield home

    monkeypatch.setattr(engine, "private_home", noted_home)
    ready = output / "clients" / "pf-msmtrec" / "NL" / "state-1.safetensors"
    killer = threading.Thread(target=kill_an_actor, args=(homes, ready, killed), daemon=True)
    killer.start()
    run_on_flower(app_folder(), settings, **resources, output=output, on_poll=lambda: None)
    killer.join()
    assert len(killed) == 1
    assert f"PID: {killed[0]}" in (output / "flower.log").read_text()  # Ray has noticed it
    assert same(models(output), models(expected.output))
    assert figures(output) == figures(expected.output)


MY_METHOD = """
from pfmsmtrec_flwr.methods.base import FederatedMethod
from pfmsmtrec_flwr.methods.pf_msmtrec import PFMSMTRec, PFMSMTRecClient, PFMSMTRecSettings


class Server(PFMSMTRec):
    pass


METHOD = FederatedMethod(
    name="my-method",
    summary="pf-msmtrec under another name",
    source="tests",
    strategy=Server,
    client=PFMSMTRecClient,
    parameters="personalised",
    settings=PFMSMTRecSettings,
)
"""


def test_unlike_tasks_from_published_files_by_a_method_in_a_file_beside_the_app(flower: Flower, tmp_path: Path) -> None:
    """The file is nowhere but in a copy of the app: Flower's bundle carries it to the server and to every client."""
    source, data = layouts.tenrec(tmp_path / "source"), tmp_path / "data"
    prepare(load_schema("tenrec", negatives=2), source, data, progress=False)
    overrides = ["federation.rounds=2", "model.expert_layers=[8]", "train.batch_size=64", "train.device=cpu"]
    overrides += ["model.embedding_dim=2", "federation.reference=[]"]
    own = ["gates=federated", "regularization=0.01"]
    config = load_config("tenrec", overrides=[*overrides, *(f"pf-msmtrec.{each}" for each in own)])
    run_inline(config, data=data, output=tmp_path / "inline")
    checkout, copy = app_folder(), tmp_path / "copy"
    copy.mkdir()
    for name in ("pyproject.toml", "LICENSE", "README.md", "client_app.py", "server_app.py"):
        shutil.copy(checkout / name, copy / name)
    for name in ("pfmsmtrec_flwr", "conf"):
        shutil.copytree(checkout / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "my_method.py").write_text(MY_METHOD)
    settings = {"conf": "tenrec", "data": str(data), "output": str(tmp_path / "flower"), "method": "my_method.py"}
    settings["set"] = " ".join([*overrides, *(f"my-method.{each}" for each in own)])
    status, printed = flower.run(settings, app=copy)
    assert status == "finished:completed", printed
    assert same(models(tmp_path / "flower", "my-method"), models(tmp_path / "inline"))
    assert figures(tmp_path / "flower") == figures(tmp_path / "inline")
    assert results_in(tmp_path / "flower")["method"] == "my-method"
    assert "QK-article: click: 2 sampled negatives per positive" in printed
