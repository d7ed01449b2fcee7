"""The consensus of each round that is selected by now, kept to be measured on test rows in the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping

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

    def by_scenario(self, selected: Mapping[str, int]) -> dict[str, Tensors]:
        """Return the consensus of each scenario's selected round; empty where none was kept."""
        return {name: self._of_round.get(round_, {}) for name, round_ in selected.items()}
