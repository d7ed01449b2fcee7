"""Sharing of a method: the parts that travel, as common parameters or as each scenario's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.protocol import Stage
from pfmsmtrec_flwr.model import HEAD_PARTS, Part, Slot

PRIVATE = frozenset({Part.LOCAL_EMBEDDING})
"""Parts that never leave a scenario, whatever a method declares, because their rows stand for people."""


@dataclass(frozen=True, slots=True)
class Sharing:
    """Parts of the model that travel.

    Attributes
    ----------
    common
        Parts whose values are the same in all scenarios.
    personal
        Parts whose values are each scenario's own.
    """

    common: frozenset[Part] = frozenset()
    personal: frozenset[Part] = frozenset()

    def __post_init__(self) -> None:
        """Refuse a sharing that must not be.

        Raises
        ------
        ValueError
            A private part is shared, or a part is both common and personal.
        """
        if private := self.parts & PRIVATE:
            raise ValueError(f"these parts never leave a scenario: {sorted(private)}")
        if both := self.common & self.personal:
            raise ValueError(f"these parts are both common and personal: {sorted(both)}")

    @property
    def parts(self) -> frozenset[Part]:
        """All parts that travel."""
        return self.common | self.personal

    def parts_at(self, stage: Stage) -> frozenset[Part]:
        """Return the parts that the scenarios send back at a stage."""
        if stage is Stage.EXPERTS:
            return self.parts - HEAD_PARTS
        return self.parts & HEAD_PARTS if stage is Stage.TOWERS else self.parts

    def without(self, *parts: Part) -> Sharing:
        """Return the same without some parts."""
        return Sharing(self.common - set(parts), self.personal - set(parts))


def refuse_private(parts: Iterable[Part], scenario: str) -> None:
    """Refuse an order for parts that never leave a scenario.

    Raises
    ------
    UserError
        One of the parts is private.
    """
    if private := set(parts) & PRIVATE:
        raise UserError(f"the server asks for {sorted(private)}, which never leaves scenario {scenario}")


def names_of(slots: Mapping[str, Slot], parts: Iterable[Part]) -> list[str]:
    """Return the names of the tensors that belong to some parts, in the model's order."""
    wanted = frozenset(parts)
    return [name for name, slot in slots.items() if slot.part in wanted]
