"""Scenarios that missed rounds of a run, or its end, in figures and in words.

Examples
--------
>>> from pfmsmtrec_flwr.results.missing import missing_in, missing_notes
>>> rounds = {1: [], 2: ["ES"], 3: ["ES", "US"], 4: ["US"]}
>>> missing = missing_in(rounds, tested=["ES", "NL"], reasons={})
>>> missing["US"].rounds, missing["US"].since, missing["ES"].since
([3, 4], 3, None)
>>> missing_notes("fedavg", 4, missing)
['fedavg: ES missed rounds 2 to 3 of 4', 'fedavg: US missing since round 3 of 4, without test figures']
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from pfmsmtrec_flwr.validation import Section


class MissingResult(Section):
    """Absence of a scenario from a run in which it should have taken part."""

    rounds: list[int]
    """Rounds in which it has no update."""
    since: int | None = None
    """Round from which on it was missing to the end; null where it came back."""
    tested: bool
    """True if it has test figures; without them it counts in no mean."""
    reason: str = ""
    """Reason why it took no part at all; empty if it took part at the start."""


def missing_in(
    rounds: Mapping[int, Collection[str]],
    *,
    scenarios: Collection[str] = (),
    tested: Collection[str],
    reasons: Mapping[str, str],
) -> dict[str, MissingResult]:
    """Return the absences by scenario; empty if nobody was missing.

    Parameters
    ----------
    rounds
        Scenarios without an update, by round.
    scenarios
        Scenarios that took part.
    tested
        Scenarios that have test figures.
    reasons
        Reason by name why a scenario took no part.
    """
    missed: dict[str, list[int]] = {name: [] for name in reasons}
    for number, names in sorted(rounds.items()):
        for name in names:
            missed.setdefault(name, []).append(number)
    for name in set(scenarios) - set(tested):
        missed.setdefault(name, [])
    return {
        name: MissingResult(
            rounds=missed[name],
            since=_since(missed[name], max(rounds, default=0)),
            tested=name in tested,
            reason=reasons.get(name, ""),
        )
        for name in sorted(missed)
    }


def missing_notes(method: str, rounds: int, missing: Mapping[str, MissingResult]) -> list[str]:
    """Return a line for each scenario that was missing, after the name of the method."""
    return [f"{method}: {name} {_words(own, rounds)}" for name, own in missing.items()]


def _since(missed: Sequence[int], last: int) -> int | None:
    """Return the first round of the last rounds, all of which were missed; None if the last one was not."""
    since = None
    for number in reversed(missed):
        if number != (last if since is None else since - 1):
            break
        since = number
    return since


def _words(own: MissingResult, rounds: int) -> str:
    parts = []
    if own.reason:
        parts.append(f"took no part: {own.reason}")
    elif own.since is not None:
        parts.append(f"missing since round {own.since} of {rounds}")
    if not own.reason and (before := [number for number in own.rounds if own.since is None or number < own.since]):
        parts.append(f"missed round{'s' if len(before) > 1 else ''} {_spans(before)} of {rounds}")
    if not own.tested:
        parts.append("without test figures")
    return ", ".join(parts)


def _spans(numbers: Sequence[int]) -> str:
    """Return ascending numbers in words, ``2 to 4, 7``."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][-1] + 1:
            spans[-1].append(number)
        else:
            spans.append([number])
    return ", ".join(f"{span[0]} to {span[-1]}" if len(span) > 1 else str(span[0]) for span in spans)
