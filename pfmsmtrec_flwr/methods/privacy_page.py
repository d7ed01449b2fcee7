"""Tables of what leaves a scenario, in any method and by method, made from the declaration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.federation.disclosure import (
    DESCRIPTION,
    DISCLOSED,
    EXCHANGES,
    FIGURES,
    NODE,
    STATE,
    TENSORS,
    Disclosed,
)
from pfmsmtrec_flwr.methods import METHODS, FederatedMethod
from pfmsmtrec_flwr.model import Part

COMMAND = "pfmsmtrec privacy"
START_MARK = f"<!-- made from the code: {COMMAND} -->"
END_MARK = "<!-- end of what is made from the code -->"

_GROUPS = (
    ("The node, in the handshake", NODE),
    ("The scenario, in the handshake", DESCRIPTION),
    ("Every answer", STATE),
    ("Figures", FIGURES),
    ("Arrays", TENSORS),
)


def privacy_markdown() -> str:
    """Return the tables of `docs/privacy.md`, as Markdown."""
    parts = [
        START_MARK,
        f"{len(DISCLOSED)} things leave a scenario in all methods and settings together; a run sends those whose "
        "condition holds. Words in capitals stand for names. Exchanges are the handshake, the start from earlier "
        "models, the training of each round, the last measuring, which trains nothing, and the test.",
    ]
    for title, group in _GROUPS:
        parts += [f"### {title}", "\n".join(_table(group))]
    parts += ["### Parts of the model that leave, by method", "\n".join(_by_method()), END_MARK]
    return "\n\n".join(parts) + "\n"


def _table(group: Sequence[Disclosed]) -> Iterator[str]:
    conditional = any(each.only for each in group)
    yield "| name | what it is | leaves in | read for | can reveal |" + (" only |" if conditional else "")
    yield "|---|---|---|---|---|" + ("---|" if conditional else "")
    for each in group:
        cells = [f"`{each.path}`", each.what, ", ".join(EXCHANGES[kind] for kind in each.when), each.use, each.reveals]
        yield f"| {' | '.join([*cells, each.only] if conditional else cells)} |"


def _by_method() -> Iterator[str]:
    yield "| method | as common parameters | as each scenario's own |"
    yield "|---|---|---|"
    for name, method in METHODS.items():
        if isinstance(method, FederatedMethod):
            sharing = method.strategy.sharing_of(method.configure(RunConfig()))
            yield f"| {name} | {_names(sharing.common)} | {_names(sharing.personal)} |"


def _names(parts: Iterable[Part]) -> str:
    """Return the parts in the order of their declaration; task-specific components exist where nobody shares them."""
    wanted = set(parts) - {Part.EXPERT_TASK}
    return "; ".join(part.value for part in Part if part in wanted) or "none"
