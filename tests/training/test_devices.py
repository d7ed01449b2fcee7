"""The device on which a client computes."""

from __future__ import annotations

import pytest
import torch
from architectures import make_model, make_rows

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.training.devices import compute_repeatably, resolve_device, rows_fit
from pfmsmtrec_flwr.training.objective import task_losses

GPU = torch.device("cuda", 0)


@pytest.fixture(params=[0, 1, 2])
def gpus(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    count = int(request.param)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    return count


def test_auto_takes_a_gpu_where_there_is_one(gpus: int) -> None:
    assert resolve_device("auto") == (GPU if gpus else torch.device("cpu"))


@pytest.mark.usefixtures("gpus")
def test_the_cpu_is_always_there() -> None:
    assert resolve_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(("name", "index"), [("cuda", 0), ("cuda:0", 0), ("cuda:1", 1)])
def test_a_gpu_that_is_not_there_is_refused(gpus: int, name: str, index: int) -> None:
    if index < gpus:
        assert resolve_device(name) == torch.device("cuda", index)
        return
    with pytest.raises(UserError) as caught:
        resolve_device(name)
    assert f"train.device is '{name}', but this process sees {gpus} CUDA devices" in str(caught.value)
    assert "--gpus-per-client" in str(caught.value)


@pytest.mark.parametrize(
    ("size", "share", "free", "fit"),
    [(40, 1.0, 80, True), (41, 1.0, 80, False), (12, 0.25, 80, True), (13, 0.25, 80, False), (5, 0.25, 9, False)],
)
def test_rows_fit_in_half_of_what_is_free_and_of_the_share(
    monkeypatch: pytest.MonkeyPatch, size: int, share: float, free: int, fit: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, 100))
    monkeypatch.setattr(torch.cuda, "get_per_process_memory_fraction", lambda _: share)
    assert rows_fit(size, GPU) is fit


def test_a_cpu_keeps_no_second_copy_of_rows_and_computes_as_before() -> None:
    cpu = torch.device("cpu")
    assert not rows_fit(0, cpu)
    compute_repeatably(cpu)
    assert not torch.are_deterministic_algorithms_enabled()


# Tensors without values stand for those of a GPU: those of a CPU do not mix with them, and nothing can wait for a
# value. A model of rows of several scenarios in layers of their own sorts them, which needs their numbers.
@pytest.mark.parametrize("architecture", ["mmoe", "single-task", "shared-bottom", "ple", "aitm", "esmm", "stem"])
@pytest.mark.parametrize("template", ["none", "additive"])
def test_a_step_stays_on_its_device_and_waits_for_no_value(architecture: str, template: str) -> None:
    model = make_model(architecture, dropout=0.1, embedding_dropout=0.1, template=template)
    categorical, numeric = (tensor.to("meta") for tensor in make_rows(model.spec))
    model.to("meta").train()
    logits = model(categorical, numeric)
    labelled = torch.ones(logits.shape, dtype=torch.bool, device="meta")
    losses = task_losses(logits, torch.zeros(logits.shape, device="meta"), labelled)
    auxiliary = model.auxiliary_loss(logits, labelled)
    objective = losses.sum() if auxiliary is None else losses.sum() + auxiliary
    objective.backward()  # type: ignore[no-untyped-call]
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    assert any(parameter.grad is not None for parameter in model.parameters())
