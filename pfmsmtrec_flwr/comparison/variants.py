"""What is compared: methods, and PF-MSMTrec with one switch turned."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pfmsmtrec_flwr.config import RunConfig, Value

ABLATED = "pf-msmtrec"
"""The method whose parts are switched off one by one."""
SHOWN_WEIGHT = 0.01
"""λ of the regularizer in the ablation of a configuration that does without it."""
SHOWN_MEMORY = 0.7
"""Share of the old value in the mean over rounds, in the ablation of a configuration that does without it."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A method under settings of its own.

    Attributes
    ----------
    name
        In tables; of a method as it is, the method's.
    method
        What runs.
    settings
        What differs from the method as it is, by dotted key.
    what
        What that is, in words; empty for the method as it is.
    """

    name: str
    method: str
    settings: Mapping[str, Value] = field(default_factory=dict)
    what: str = ""

    @property
    def folder(self) -> str:
        """Name of its folder."""
        return safe_name(self.name)


def safe_name(name: str) -> str:
    """Return a name without anything that a file system could take amiss.

    >>> safe_name("pf-msmtrec: no pull")
    'pf-msmtrec-no-pull'
    """
    return re.sub(r"[^a-z0-9_.]+", "-", name.lower()).strip("-.") or "-"


def ablations(config: RunConfig) -> tuple[Variant, ...]:
    """Return PF-MSMTrec with one switch turned, for each switch that is not where it would be turned to.

    Parameters
    ----------
    config
        Under which PF-MSMTrec itself runs.
    """
    turned = ((switch, config.with_settings(switch.settings, switch.name)) for switch in _switches(config))
    return tuple(switch for switch, other in turned if other != config)


def _switches(config: RunConfig) -> Iterator[Variant]:
    yield _switch("hadamard template", {"model.template": "hadamard"}, "experts' weights as products G ⊙ T ⊙ S")
    yield _switch("additive template", {"model.template": "additive"}, "experts' weights as sums G + T + S")
    yield _switch("no template", {"model.template": "none"}, "plain experts, all of them scenario-specific")
    yield _switch("federated normalization", {"aggregation.normalization": "federated"}, "normalization is averaged")
    yield _switch("local normalization", {"aggregation.normalization": "local"}, "normalization stays local")
    yield _switch("stale statistics", {"train.reestimate_batch_norm": False}, "statistics not re-estimated")
    yield _switch("fresh statistics", {"train.reestimate_batch_norm": True}, "statistics re-estimated on local rows")
    yield _switch("no coordination", {"aggregation.conflict_radius": 0.0}, "c = 0: the plain mean update is given")
    yield _switch("fixed shares", {"aggregation.share_lr": 0.0}, "α and β stay as they start")
    yield _switch(
        "no expert shares", {"aggregation.alpha": 0.0, "aggregation.share_lr": 0.0}, "α = 0: no update is given"
    )
    yield _switch("no pull", {"aggregation.pull": 0.0}, "μ = 0: nothing pulls to the consensus")
    yield _switch("one consensus", {"aggregation.consensus": "examples"}, "all are pulled to the same mean")
    yield _switch(
        "agreeing consensus", {"aggregation.consensus": "agreement"}, "each is pulled to those it agrees with"
    )
    if config.aggregation.embeddings == "rows":  # else tables are the same for all, or local, anyway
        yield _switch("common tables", {"aggregation.personal_embeddings": False}, "one embedding table for all")
        yield _switch("personal tables", {"aggregation.personal_embeddings": True}, "tables of those that agree")
        yield _switch("uses counted alike", {"aggregation.row_balance": 0.0}, "each use of a row counts one")
        yield _switch("uses balanced", {"aggregation.row_balance": 0.5}, "uses count by the root of their share")
    yield _switch("equal batches", {"train.min_steps": 0}, "scenarios of few rows take few steps")
    yield _switch("tables by Adam", {"train.embedding_optimizer": "adam"}, "one optimiser for all parameters")
    yield _switch("local towers", {"aggregation.towers": "local"}, "towers are not aggregated")
    yield _switch("federated output bias", {"aggregation.output_bias": "federated"}, "output biases go with the towers")
    yield _switch("local output bias", {"aggregation.output_bias": "local"}, "output biases stay local")
    yield _regularizer(config)
    yield _averaging(config)
    yield _switch("fused schedule", {"aggregation.schedule": "fused"}, "experts and towers in one exchange")
    yield _switch("bottom-up schedule", {"aggregation.schedule": "bottom-up"}, "towers in an exchange of their own")
    yield _switch("row-wise embeddings", {"aggregation.embeddings": "rows"}, "tables averaged by touched row")
    yield _switch("plain embeddings", {"aggregation.embeddings": "plain"}, "tables averaged whole")
    yield _switch("local embeddings", {"aggregation.embeddings": "local"}, "tables stay local")
    yield _switch("federated gates", {"aggregation.gates": "federated"}, "gates are averaged")
    yield _switch("local gates", {"aggregation.gates": "local"}, "gates stay local")


def _regularizer(config: RunConfig) -> Variant:
    if config.train.consensus_weight:
        return _switch("no regularizer", {"train.consensus_weight": 0.0}, "λ = 0")
    return _switch("with regularizer", {"train.consensus_weight": SHOWN_WEIGHT}, f"λ = {SHOWN_WEIGHT:g}")


def _averaging(config: RunConfig) -> Variant:
    if config.train.averaging:
        return _switch("no averaging", {"train.averaging": 0.0}, "the last round's model predicts")
    settings: dict[str, Value] = {"train.averaging": SHOWN_MEMORY}
    return _switch("with averaging", settings, f"a mean over rounds predicts, {SHOWN_MEMORY:g} of the old value in it")


def _switch(name: str, settings: Mapping[str, Value], what: str) -> Variant:
    return Variant(f"{ABLATED}: {name}", ABLATED, settings, what)
