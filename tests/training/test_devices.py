"""The device on which a client computes."""

from __future__ import annotations

import pytest
import torch

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.training.devices import resolve_device


@pytest.fixture(params=[0, 1, 2])
def gpus(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    count = int(request.param)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    return count


def test_auto_takes_a_gpu_where_there_is_one(gpus: int) -> None:
    assert resolve_device("auto").type == ("cuda" if gpus else "cpu")


@pytest.mark.usefixtures("gpus")
def test_the_cpu_is_always_there() -> None:
    assert resolve_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(("name", "index"), [("cuda", 0), ("cuda:0", 0), ("cuda:1", 1)])
def test_a_gpu_that_is_not_there_is_refused(gpus: int, name: str, index: int) -> None:
    if index < gpus:
        assert resolve_device(name) == torch.device(name)
        return
    with pytest.raises(UserError) as caught:
        resolve_device(name)
    assert f"train.device is '{name}', but this process sees {gpus} CUDA devices" in str(caught.value)
    assert "--gpus-per-client" in str(caught.value)
