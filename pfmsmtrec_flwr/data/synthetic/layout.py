"""Columns of the made-up rows: those of the AliExpress files."""

from __future__ import annotations

from dataclasses import dataclass

from pfmsmtrec_flwr.data.store.manifest import Field

TASKS = ("ctr", "ctcvr")


@dataclass(frozen=True, slots=True)
class FieldLayout:
    """A categorical field."""

    values: int
    """Number of values that occur."""
    of_user: bool = False
    """True: the field is equal in all rows of a user."""
    federated: bool = True
    """False: its table never leaves the scenario."""


# Numbers of values as in the real files; categorical_8 and _9 stand for a profile that stays at home.
FIELDS = (
    FieldLayout(10),
    FieldLayout(4),
    FieldLayout(7),
    FieldLayout(2, of_user=True),
    FieldLayout(21),
    FieldLayout(7),
    FieldLayout(50),
    FieldLayout(8, of_user=True, federated=False),
    FieldLayout(7, of_user=True, federated=False),
    *(FieldLayout(2, of_user=True) for _ in range(3)),
    *(FieldLayout(2) for _ in range(4)),
)

# Percent of zeros and of ones in numerical_1 .. numerical_63 of the public samples of the real files.
# fmt: off
ZEROS = (
    49, 47, 82, 49, 42, 44, 51, 61, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 20, 40, 65, 17, 63, 43, 78, 52, 26, 2, 10, 1, 28, 40,
    50, 9, 1, 2, 42, 47, 47, 47, 64, 89, 68, 73, 86, 95, 33, 47, 47, 47, 34, 1, 1, 19, 14, 14, 14, 100, 100, 100, 34,
    66, 66,
)
# fmt: on
ONES = {1: 38, 2: 42, 3: 9, 4: 22, 5: 30, 6: 16, 7: 17, 8: 17, 22: 8, 44: 23, 45: 12, 61: 2}
NUMERIC = tuple(f"numerical_{column}" for column in range(1, len(ZEROS) + 1))


def stored_fields() -> tuple[Field, ...]:
    """Return the categorical fields as they are stored."""
    return tuple(
        Field(f"categorical_{number}", 1 + field.values, field.federated) for number, field in enumerate(FIELDS, 1)
    )
