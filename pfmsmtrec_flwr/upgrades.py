"""Settings that changed their names, and the line that a user of an old one reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pfmsmtrec_flwr.errors import UserError

VERSION = "0.2"
"""Version in which the settings below changed."""
PAGE = "docs/upgrading.md"


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What became of an old setting.

    Attributes
    ----------
    new
        Keys that replace it; more than one where it was read by several methods; none where it was removed.
    reason
        Reason of the removal.
    """

    new: tuple[str, ...] = ()
    reason: str = ""

    def sentence(self, old: str, method: str = "") -> str:
        """Return one line for a user who set the old key; under the settings of a method, without its name."""
        if not self.new:
            return f"'{old}' was removed in version {VERSION}: {self.reason}"
        new = " or ".join(f"'{key.removeprefix(f'{method}.')}'" for key in self.new)
        return f"'{old}' is called {new} since version {VERSION}"


def _renamed(*new: str) -> Upgrade:
    return Upgrade(new)


UPGRADES: Mapping[str, Upgrade] = {
    "aggregation.schedule": _renamed("pf-msmtrec.schedule"),
    "aggregation.tower_steps": Upgrade(
        reason="the towers of a bottom-up round are fitted on 10 batches, as they were by default"
    ),
    "aggregation.conflict_radius": _renamed("pf-msmtrec.conflict_radius", "fedhca2.conflict_radius"),
    "aggregation.alpha": _renamed("pf-msmtrec.expert_weight", "fedhca2.alpha"),
    "aggregation.beta": _renamed("pf-msmtrec.tower_weight", "fedhca2.beta"),
    "aggregation.share_lr": _renamed("pf-msmtrec.hyper_lr", "fedhca2.hyper_lr"),
    "aggregation.pull": Upgrade(
        reason="the weight λ of the personalization regularizer, pf-msmtrec.regularization, is pull / (1 - pull)"
    ),
    "aggregation.consensus": _renamed("pf-msmtrec.consensus"),
    "aggregation.average_global": Upgrade(
        reason="the template always averages G; pf-msmtrec.template: none is the method without it"
    ),
    "aggregation.gates": _renamed("pf-msmtrec.gates"),
    "aggregation.normalization": _renamed("pf-msmtrec.normalization"),
    "aggregation.towers": _renamed("pf-msmtrec.towers"),
    "aggregation.output_bias": _renamed("pf-msmtrec.output_bias"),
    "aggregation.embeddings": _renamed("federation.tables"),
    "aggregation.row_balance": _renamed("pf-msmtrec.row_balance"),
    "aggregation.personal_embeddings": _renamed("pf-msmtrec.personalized_tables"),
    "baselines.proximal_weight": _renamed("fedprox.mu", "ditto.lam", "fedamp.lam_over_alpha"),
    "baselines.head_epochs": _renamed("fedrep.head_epochs"),
    "baselines.mixture": _renamed("apfl.alpha"),
    "baselines.mixture_lr": _renamed("apfl.alpha_lr"),
    "baselines.attention_step": Upgrade(
        reason="fedamp.self_weight states how much of its own model a scenario keeps, and the step follows"
    ),
    "baselines.attention_width": _renamed("fedamp.sigma"),
    "baselines.inverse_regularization": _renamed("logistic-alone.C", "logistic-pooled.C"),
    "baselines.leaves": _renamed("trees-alone.num_leaves", "trees-pooled.num_leaves"),
    "baselines.tree_lr": _renamed("trees-alone.learning_rate", "trees-pooled.learning_rate"),
    "federation.smoothing": Upgrade(reason="the validation AUC chooses the round as it is, as it did by default"),
    "train.averaging": _renamed("train.ema_decay"),
    "train.consensus_weight": Upgrade(
        reason="the personalization regularizer is proximal now: pf-msmtrec.regularization has another scale"
    ),
}
"""What became of each setting of version 0.1 that version 0.2 does not know."""
IMPLIED: Mapping[str, str] = {
    "model.template": "pf-msmtrec.template",
    "model.task_layers": "pf-msmtrec.task_layers",
}
"""Common settings that a method sets by a setting of its own, which a user sets instead."""


def refuse_old_key(key: str, source: str) -> None:
    """Refuse a setting of the command line that has another name by now, or that follows from another.

    Raises
    ------
    UserError
        The message names the new key, or says why there is none.
    """
    if key in UPGRADES:
        raise UserError(f"{source}: {UPGRADES[key].sentence(key)} ({PAGE})")
    if key in IMPLIED:
        raise UserError(f"{source}: '{key}' follows from '{IMPLIED[key]}': set that instead")


def refuse_old_keys(document: Mapping[str, Any], source: str) -> None:
    """Refuse a configuration document that has settings of an older version.

    Parameters
    ----------
    document
        Nested mapping, as read from YAML.
    source
        Origin of the document, for the message of an error.

    Raises
    ------
    UserError
        The message names the new key of the first old setting, and the number of others.
    """
    found = list(_old_settings(document))
    if found:
        more = f", and {len(found) - 1} more settings have changed" if len(found) > 1 else ""
        raise UserError(f"{source}: {found[0]}{more} ({PAGE})")


def refuse_old_comparison(folder: Path) -> None:
    """Refuse to continue a comparison of an older version, whose runs would all be repeated under new names.

    Raises
    ------
    UserError
        The folder holds runs of an older version.
    """
    for path in folder.glob("*/*/*/config.yaml"):
        if any(line.startswith("aggregation:") for line in path.read_text(encoding="utf-8").splitlines()):
            raise UserError(f"{folder} holds a comparison of version 0.1: name another --output, or remove it ({PAGE})")


def _old_settings(document: Mapping[str, Any]) -> Iterator[str]:
    for old, upgrade in UPGRADES.items():
        section, _, key = old.partition(".")
        inner = document.get(section)
        if isinstance(inner, Mapping) and key in inner:
            yield upgrade.sentence(old)
    methods = document.get("methods")
    for name, own in methods.items() if isinstance(methods, Mapping) else ():
        for key in own if isinstance(own, Mapping) else ():
            if key in UPGRADES:
                yield f"methods.{name}: {UPGRADES[key].sentence(key, name)}"
            elif key in IMPLIED:
                yield f"methods.{name}: '{key}' follows from '{IMPLIED[key].removeprefix(f'{name}.')}'"
