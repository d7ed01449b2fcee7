from __future__ import annotations

from pathlib import Path

import pytest
import torch
from federated import FEDAVG, Tiny

from pfmsmtrec_flwr.model import TOWER_PARTS, Part

HEAD = {Part.TOWER, Part.OUTPUT_BIAS, Part.TOWER_NORMALIZATION}


def test_the_body_is_averaged_as_by_fedavg_and_the_head_stays(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A common output bias and a local one start at different base rates: here all start as they are drawn.
    for module in ("client.client", "server.parameters"):
        monkeypatch.setattr(f"pfmsmtrec_flwr.federation.{module}.output_biases", lambda *_: {})
    body, everything, alone = (
        tiny.train(tiny.config(method, federation__rounds=1, **FEDAVG), tmp_path / method)
        for method in ("fedper", "fedavg", "alone")
    )
    slots = everything.strategy.parameters.slots["US"]
    common = body.strategy.parameters.common
    assert {slots[name].part for name in common} == set(Part) - HEAD - {Part.LOCAL_EMBEDDING, Part.EXPERT_TASK}
    for name, value in common.items():
        assert torch.equal(value, everything.strategy.parameters.common[name])
    # After one round from the same start a head is what it would be alone; the body is not.
    for scenario, model in body.models.items():
        heads = [name for name, slot in slots.items() if slot.part in TOWER_PARTS]
        assert all(torch.equal(model[name], alone.models[scenario][name]) for name in heads)
        assert not torch.equal(
            model["gates.of_task.click.weight"], alone.models[scenario]["gates.of_task.click.weight"]
        )
    assert not torch.equal(body.models["US"][heads[0]], body.models["FR"][heads[0]])
