"""Parts of PF-MSMTrec that an ablation turns one by one."""

from __future__ import annotations

from collections.abc import Iterator

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.methods.base import Switch

SHOWN_DECAY = 0.7
"""Decay of the mean over rounds in the ablation of a configuration that does without it."""


def switches(config: RunConfig) -> Iterator[Switch]:
    """Yield every switch of PF-MSMTrec, also those that the configuration has turned already."""
    yield Switch("no template", {"template": "none"}, "plain experts: no global and no task-specific component")
    yield Switch("additive template", {"template": "additive"}, "experts' weights as sums G + S + T")
    yield Switch("hadamard template", {"template": "hadamard"}, "experts' weights as products (G + S) ⊙ (1 + T)")
    yield Switch("tasks in all layers", {"task_layers": "all"}, "components T in every layer of an expert")
    yield Switch("tasks in the last layer", {"task_layers": "last"}, "components T in the last layer of an expert")
    yield Switch("federated normalization", {"normalization": "federated"}, "normalization is averaged")
    yield Switch("local normalization", {"normalization": "local"}, "normalization stays local")
    yield Switch("stale statistics", {"train.reestimate_batch_norm": False}, "statistics not re-estimated")
    yield Switch("fresh statistics", {"train.reestimate_batch_norm": True}, "statistics re-estimated on local rows")
    yield Switch("no coordination", {"conflict_radius": 0.0}, "c = 0: the plain mean update is added")
    yield Switch("fixed shares", {"hyper_lr": 0.0}, "α and β stay as they start")
    yield Switch("no expert shares", {"expert_weight": 0.0}, "α = 0: no scenario's S moves by U")
    yield Switch("no tower shares", {"tower_weight": 0.0}, "β = 0: no attended update is added")
    yield Switch("no regularizer", {"regularization": 0.0}, "λ = 0: nothing pulls to the consensus")
    yield Switch("one consensus", {"consensus": "examples"}, "all are pulled to the same mean")
    yield Switch("agreeing consensus", {"consensus": "agreement"}, "each is pulled to those it agrees with")
    if config.federation.tables == "rows":  # else tables are the same for all, or local, anyway
        if config.methods.get(config.method, {}).get("consensus") != "examples":  # else they are the same anyway
            yield Switch("common tables", {"personalized_tables": False}, "one embedding table for all")
            yield Switch("personal tables", {"personalized_tables": True}, "tables of those that agree")
        yield Switch("uses counted alike", {"row_balance": 0.0}, "each use of a row counts one")
        yield Switch("uses balanced", {"row_balance": 0.5}, "uses count by the root of their share")
    yield Switch("equal batches", {"train.min_steps": 0}, "scenarios of few rows take few steps")
    yield Switch("tables by Adam", {"train.embedding_optimizer": "adam"}, "one optimizer for all parameters")
    yield Switch("local towers", {"towers": "local"}, "towers are not aggregated")
    yield Switch("federated output bias", {"output_bias": "federated"}, "output biases go with the towers")
    yield Switch("local output bias", {"output_bias": "local"}, "output biases stay local")
    yield _mean_over_rounds(config)
    yield Switch("fused schedule", {"schedule": "fused"}, "experts and towers in one exchange")
    yield Switch("bottom-up schedule", {"schedule": "bottom-up"}, "towers in an exchange of their own")
    yield Switch("row-wise embeddings", {"federation.tables": "rows"}, "tables averaged by touched row")
    yield Switch("plain embeddings", {"federation.tables": "plain"}, "tables averaged whole")
    yield Switch("local embeddings", {"federation.tables": "local"}, "tables stay local")
    yield Switch("federated gates", {"gates": "federated"}, "gates are averaged")
    yield Switch("local gates", {"gates": "local"}, "gates stay local")
    yield Switch("full precision", {"federation.precision": "full"}, "parameters travel as 32 bits")
    yield Switch("half precision", {"federation.precision": "half"}, "parameters travel as 16 bits")
    yield Switch("int8 precision", {"federation.precision": "int8"}, "updates travel as 8 bits with scales")


def _mean_over_rounds(config: RunConfig) -> Switch:
    if config.train.ema_decay:
        return Switch("no averaging", {"train.ema_decay": 0.0}, "the last round's model predicts")
    what = f"a mean over rounds predicts, {SHOWN_DECAY:g} of the old value in it"
    return Switch("with averaging", {"train.ema_decay": SHOWN_DECAY}, what)
