from __future__ import annotations

import pytest

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.launch import resources
from pfmsmtrec_flwr.launch.resources import check_resources, federation_config, gpu_share


def test_the_federation_is_configured_in_flowers_words() -> None:
    assert federation_config(4, 1, 0.25) == (
        "num-supernodes=4 client-resources-num-cpus=1 client-resources-num-gpus=0.25"
    )
    assert federation_config(None, None, 0) == "client-resources-num-cpus=1 client-resources-num-gpus=0"


@pytest.mark.parametrize(
    ("nodes", "cpus", "gpus", "message"),
    [
        (0, 1, 0, "got 0 SuperNodes, expected at least 1"),
        (2, 0.5, 0, "got 0.5 CPUs per client, expected a whole number of at least 1"),
        (2, 0, 0, "got 0 CPUs per client, expected a whole number of at least 1"),
        (2, 1, -1, "got -1 GPUs per client, expected 0 or more, such as 0.25"),
        (2, 1, float("nan"), "got nan GPUs per client, expected 0 or more, such as 0.25"),
    ],
)
def test_impossible_resources_are_refused(nodes: int, cpus: float, gpus: float, message: str) -> None:
    with pytest.raises(UserError) as caught:
        federation_config(nodes, cpus, gpus)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("nodes", "cpus_each", "gpus", "cpus", "share"),
    [(4, 1, 1, 16, 0.25), (4, 8, 1, 16, 0.5), (3, 1, 1, 16, 0.3333), (2, 1, 4, 16, 1.0), (8, 1, 2, 4, 0.5)],
)
def test_the_clients_that_run_at_once_share_the_gpus(
    nodes: int, cpus_each: int, gpus: int, cpus: int, share: float
) -> None:
    assert gpu_share(nodes, cpus_each, gpus=gpus, cpus=cpus) == share


def test_a_share_is_given_by_itself_where_a_gpu_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "_visible_gpus", lambda: 1)
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    assert federation_config(4, 1, None).endswith("client-resources-num-gpus=0.25")
    monkeypatch.setattr(resources, "_visible_gpus", lambda: 0)
    assert federation_config(4, 1, None).endswith("client-resources-num-gpus=0.0")


def test_what_the_machine_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "_visible_gpus", lambda: 1)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    check_resources(2, 1.0)
    check_resources(1, None)
    with pytest.raises(UserError, match=r"^got 3 CPUs per client, expected at most 2, which this machine has$"):
        check_resources(3, None)
    with pytest.raises(UserError, match=r"^got 1\.5 GPUs per client, expected at most 1, which PyTorch sees here: "):
        check_resources(1, 1.5)
