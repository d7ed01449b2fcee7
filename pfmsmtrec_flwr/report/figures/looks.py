"""The look of each method, the same in every picture of every page."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from pfmsmtrec_flwr.report.figures.style import COLOURS, DASHES, MARKERS

METHOD_COLOURS = (*COLOURS, "#332288", "#882255", "#117733", "#999933", "#885522")
"""Colours of methods: those of all curves, and dark ones of Paul Tol's muted scheme beside them."""


@dataclass(frozen=True, slots=True)
class Look:
    """Colour, dashes and marker of a method."""

    colour: str
    dash: str
    marker: str


# Methods of a row have different colours; a later row repeats them with the next dashes and markers.
_ROWS = (
    """pf-msmtrec fedavg fedbn fedper fedprox ditto alone pooled-mmoe mr-mtl fedhca2 fedrep fedamp""",
    """apfl fedavg-rows fedala mat-fl pooled-star pooled-pepnet base-rate pooled-ple pooled-stem pooled-m3oe pooled-aitm
    pooled-shared-bottom""",
    """alone-ple alone-aitm alone-esmm alone-shared-bottom alone-single-task logistic-alone trees-alone
    pooled-mmoe-shared-ids logistic-pooled trees-pooled""",
)
LOOKS = {
    name: Look(METHOD_COLOURS[column], DASHES[row], MARKERS[row])
    for row, names in enumerate(_ROWS)
    for column, name in enumerate(names.split())
}
"""Look of each method of the package."""
_OTHERS = tuple(
    Look(colour, dash, marker) for dash, marker, colour in product(DASHES[::-1], MARKERS[len(_ROWS) :], METHOD_COLOURS)
)


def looks_of(names: Sequence[str]) -> dict[str, Look]:
    """Return the look of each variant, by name.

    A method of the package has its own. Another variant, such as a method with a switch turned, has the look that
    follows from its name, or the next one that no other variant here has.
    """
    found = {name: LOOKS[name] for name in names if name in LOOKS}
    for name in sorted(set(names) - found.keys()):
        first = zlib.crc32(name.encode()) % len(_OTHERS)
        turned = (*_OTHERS[first:], *_OTHERS[:first])
        taken = set(found.values())
        found[name] = next((look for look in turned if look not in taken), turned[0])
    return found
