"""The consensus of each round that is selected by now, kept to be measured on test rows in the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pfmsmtrec_flwr.federation.protocol import Tensors


class KeptConsensus:
    """Consensus by round, of the selected rounds only."""

    def __init__(self) -> None:
        self._of_round: dict[int, Tensors] = {}

    def keep(self, number: int, selected: Mapping[str, int], consensus: Callable[[], Tensors]) -> None:
        """Keep the consensus of a round if a scenario has selected it, and drop those that no scenario selects now.

        Parameters
        ----------
        number
            Round whose consensus is at hand.
        selected
            Selected round of each scenario.
        consensus
            Function that computes it.
        """
        rounds = set(selected.values())
        known = self._of_round | ({number: consensus()} if number in rounds else {})
        self._of_round = {round_: known[round_] for round_ in rounds if round_ in known}

    def state_dict(self) -> dict[str, Any]:
        """Return what is kept, for a checkpoint."""
        return {"of_round": self._of_round}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self._of_round = dict(state["of_round"])

    def by_scenario(self, selected: Mapping[str, int]) -> dict[str, Tensors]:
        """Return the consensus of each scenario's selected round; empty where none was kept."""
        return {name: self._of_round.get(round_, {}) for name, round_ in selected.items()}
