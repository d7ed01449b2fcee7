"""What other installed packages add to this one by entry points: methods, architectures, schemas of data sets.

Names are read from the packages' metadata. Nothing of a package is imported before one of its names is used, so a
package that cannot be imported is in nobody's way but its own.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from pfmsmtrec_flwr.errors import UserError

METHODS_GROUP = "pfmsmtrec.methods"
MODELS_GROUP = "pfmsmtrec.models"
DATASETS_GROUP = "pfmsmtrec.datasets"

OWN_PACKAGE = "pfmsmtrec-flwr"
"""Name of this package."""

T = TypeVar("T")


class Catalog(Mapping[str, T]):
    """Entries of this package and of other installed ones, by name.

    Parameters
    ----------
    noun
        Kind of an entry, for messages.
    group
        Group of the entry points.
    own
        Entries of this package.
    load
        Function that makes an entry of what an entry point refers to; its second argument names the entry and its
        package, for messages.
    """

    def __init__(self, noun: str, group: str, own: Mapping[str, T], load: Callable[[str, str, object], T]) -> None:
        self._noun = noun
        self._group = group
        self._own = own
        self._load = load

    def __getitem__(self, name: str) -> T:
        """Return an entry; import it if it is another package's.

        Raises
        ------
        KeyError
            There is no such name.
        UserError
            Two packages have the name, the package cannot be imported, or what it refers to is no such entry.
        """
        others = announced(self._group).get(name, ())
        packages = [OWN_PACKAGE] * (name in self._own) + [_package(other) for other in others]
        if len(packages) > 1:
            raise UserError(
                f"{self._noun} '{name}' exists twice, in the packages {' and '.join(packages)}: uninstall one of them"
            )
        if not others:
            return self._own[name]
        source = f"{self._noun} '{name}' of package {packages[0]}"
        return self._load(name, source, _imported(others[0], source))

    def __iter__(self) -> Iterator[str]:
        """Return the names, those of this package first; nothing is imported."""
        return iter([*self._own, *sorted(announced(self._group).keys() - self._own.keys())])

    def __len__(self) -> int:
        """Return the number of names."""
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        """Return whether there is such a name; nothing is imported."""
        return name in self._own or name in announced(self._group)

    def package(self, name: str) -> str:
        """Return the other package that a name comes from, with its version; empty for a name of this one."""
        others = announced(self._group).get(name, ())
        return _package(others[0]) if others else ""


def announced(group: str) -> Mapping[str, tuple[EntryPoint, ...]]:
    """Return the entry points of a group by name; a name that two packages announce has two."""
    return _announced(group, tuple(sys.path))


@functools.lru_cache(maxsize=16)
def _announced(group: str, _path: tuple[str, ...]) -> Mapping[str, tuple[EntryPoint, ...]]:
    """Read the metadata of the installed packages once for each path that is searched for them."""
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for point in entry_points(group=group):
        found[point.name] = (*found.get(point.name, ()), point)
    return found


def _imported(point: EntryPoint, source: str) -> object:
    try:
        return point.load()
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        raise UserError(f"{source} cannot be imported from {point.value}: {type(error).__name__}: {reason}") from error


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.value
