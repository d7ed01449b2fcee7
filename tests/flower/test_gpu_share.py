"""A client's share of a GPU bounds its memory there."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from pfmsmtrec_flwr.federation.gpu_share import assigned_share, bound_gpu_memory, give_back_gpu_memory


def actor_with(monkeypatch: pytest.MonkeyPatch, resources: dict[str, float], *, started: bool = True) -> None:
    context = SimpleNamespace(get_actor_id=lambda: "1", get_assigned_resources=lambda: resources)
    ray = SimpleNamespace(is_initialized=lambda: started, get_runtime_context=lambda: context)
    monkeypatch.setitem(sys.modules, "ray", ray)


@pytest.mark.parametrize(
    ("resources", "share"), [({"CPU": 1.0, "GPU": 0.25}, 0.25), ({"GPU": 2.0}, 2.0), ({"CPU": 1.0}, 1.0)]
)
def test_the_share_is_what_ray_assigned(
    monkeypatch: pytest.MonkeyPatch, resources: dict[str, float], share: float
) -> None:
    actor_with(monkeypatch, resources)
    assert assigned_share() == share


def test_a_process_outside_of_ray_has_a_whole_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    actor_with(monkeypatch, {"GPU": 0.25}, started=False)
    assert assigned_share() == 1
    monkeypatch.delitem(sys.modules, "ray")
    assert assigned_share() == 1


def test_only_a_share_of_a_gpu_bounds_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[float, torch.device]] = []
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda *given: seen.append(given))
    gpu = torch.device("cuda:0")
    actor_with(monkeypatch, {"GPU": 0.25})
    bound_gpu_memory(torch.device("cpu"))
    assert seen == []
    bound_gpu_memory(gpu)
    assert seen == [(0.25, gpu)]
    actor_with(monkeypatch, {"GPU": 1.0})
    bound_gpu_memory(gpu)
    assert seen == [(0.25, gpu)]


def test_without_a_gpu_there_is_nothing_to_give_back() -> None:
    give_back_gpu_memory()


ACTOR = """
import ray
from pfmsmtrec_flwr.federation.gpu_share import assigned_share
ray.init(num_cpus=1, num_gpus=1, include_dashboard=False, log_to_driver=False, configure_logging=False)
class Client:
    def share(self):
        return assigned_share()
quarter = ray.remote(num_cpus=0, num_gpus=0.25)(Client).remote()
print(ray.get(quarter.share.remote()), assigned_share())
"""
"""A GPU of Ray's own counting, which no machine needs to have."""


@pytest.mark.slow
@pytest.mark.flower
def test_actors_of_ray_see_their_own_share() -> None:
    ended = subprocess.run([sys.executable, "-c", ACTOR], capture_output=True, text=True, timeout=280, check=True)
    assert ended.stdout.split() == ["0.25", "1.0"]
