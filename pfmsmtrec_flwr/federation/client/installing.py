"""Installing of received and remembered parameters in a scenario's model."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from pfmsmtrec_flwr.federation.protocol import Incoming, check_tensors
from pfmsmtrec_flwr.model import ScenarioModel


def install(
    model: ScenarioModel, first: Mapping[str, Tensor], kept: Mapping[str, Tensor], incoming: Incoming, scenario: str
) -> set[str]:
    """Put a scenario's parameters into its model; a received value precedes a kept one.

    Parameters
    ----------
    model
        Model whose parts travel.
    first
        Initial values at the first exchange; empty later, when every tensor is either kept or received.
    kept
        Values that the last exchange left.
    incoming
        Values that came with the message. Common values may belong to tasks that this scenario lacks: those are left
        out.
    scenario
        Name of the scenario.

    Returns
    -------
    set
        Names of the received tensors.

    Raises
    ------
    UserError
        A received value does not fit the model, or is not finite.
    """
    own = model.state_dict() | dict(first)
    common = {name: tensor for name, tensor in incoming.common.items() if name in own}
    received = common | incoming.personal.get(scenario, {})
    check_tensors(received, {name: own[name] for name in received if name in own}, f"scenario {scenario}")
    model.load_state_dict(own | dict(kept) | received)
    return set(received)
