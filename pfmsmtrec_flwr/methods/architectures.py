"""The architectures that are compared outside a federation, and where they are described."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pfmsmtrec_flwr.config import Value
from pfmsmtrec_flwr.methods.base import Space


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A model's architecture.

    Attributes
    ----------
    name
        Name in the configuration, ``model.architecture``.
    summary
        Description in a few words.
    source
        Publication that describes it.
    space
        Settings to tune beside those that all networks have.
    """

    name: str
    summary: str
    source: str
    space: Space = field(default_factory=dict)

    @property
    def fixed(self) -> Mapping[str, Value]:
        """Common settings that make a model one of this architecture, without the template of PF-MSMTrec."""
        return {"model.architecture": self.name}


SINGLE_TASK = Architecture(name="single-task", summary="a network for each task", source="baseline")
SHARED_BOTTOM = Architecture(
    name="shared-bottom",
    summary="one network with a tower for each task",
    source="Caruana, Machine Learning 28, 1997, section 2",
)
MMOE = Architecture(
    name="mmoe", summary="multi-gate mixture of experts", source="Ma, Zhao et al., KDD 2018, section 4.2"
)
PLE = Architecture(
    name="ple",
    summary="progressive layered extraction",
    source="Tang et al., RecSys 2020, section 4",
    space={"model.experts": (1, 2, 4), "model.specific_experts": (1, 2), "model.extraction_levels": (1, 2)},
)
AITM = Architecture(
    name="aitm",
    summary="adaptive information transfer from task to task",
    source="Xi et al., KDD 2021, section 3",
    space={"model.calibrator_weight": (0.0, 0.1, 0.6)},
)
ESMM = Architecture(
    name="esmm",
    summary="entire-space model, a product of probabilities",
    source="Ma, Zhao et al., SIGIR 2018, section 2",
)
STAR = Architecture(
    name="star",
    summary="star topology, each scenario's weights times the common ones",
    source="Sheng et al., CIKM 2021, section 3",
)
STEM = Architecture(
    name="stem",
    summary="shared and task-specific embeddings and experts, other tasks' held constant",
    source="Su et al., AAAI 2024, STEM-Net",
    space={"model.experts": (1, 2, 4), "model.specific_experts": (1, 2)},
)
M3OE = Architecture(
    name="m3oe",
    summary="experts by scenario, by task and shared, with learned balance",
    source="Zhang et al., SIGIR 2024, and the authors' code",
    space={"model.experts": (2, 4, 8), "model.initial_balance": (0.3, 0.5, 0.73, 0.9)},
)
PEPNET = Architecture(
    name="pepnet",
    summary="embeddings and units scaled by scenario and person",
    source="Chang et al., KDD 2023, section 3",
)
