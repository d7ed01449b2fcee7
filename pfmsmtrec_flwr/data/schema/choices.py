"""Sections with several keys of which one must be set."""

from __future__ import annotations

from pfmsmtrec_flwr.validation import Section


def exactly_one(section: Section, keys: tuple[str, ...]) -> None:
    """Refuse a section that has none of some keys, or several.

    Raises
    ------
    ValueError
        Says which were given.
    """
    given = [key for key in keys if getattr(section, key) is not None]
    if len(given) != 1:
        raise ValueError(f"give exactly one of {', '.join(keys)}; got {', '.join(given) or 'none'}")
