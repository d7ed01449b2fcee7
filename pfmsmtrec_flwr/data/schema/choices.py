"""Check of a section that needs exactly one of several keys."""

from __future__ import annotations

from pfmsmtrec_flwr.validation import Section


def exactly_one(section: Section, keys: tuple[str, ...]) -> None:
    """Refuse a section that sets none or several of `keys`.

    Raises
    ------
    ValueError
        The message names the keys that are set.
    """
    found = [key for key in keys if getattr(section, key) is not None]
    if len(found) != 1:
        raise ValueError(f"give exactly one of {', '.join(keys)}; got {', '.join(found) or 'none'}")
