"""Typed configuration of a run: every knob with its unit, its range and its default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, field_validator, model_validator

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.validation import Section, dump_yaml, find_yaml, load_yaml, parse, read_yaml

CONF_FOLDER = Path(__file__).resolve().parent.parent / "conf"

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Dropout = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Widths = Annotated[tuple[Count, ...], Field(strict=False)]


Value = str | int | float | bool
Settings = dict[str, Value]
"""Values by dotted key, such as ``train.lr``."""


class ModelSettings(Section):
    """Sizes and regularisation of a scenario's model."""

    architecture: Literal["mmoe", "single-task", "shared-bottom", "ple", "aitm", "esmm", "star", "pepnet"] = "mmoe"
    embedding_dim: Count = 8
    experts: Count = 4
    """Of an MMoE; of a PLE, the specific ones included."""
    specific_experts: Annotated[int, Field(ge=0)] = 1
    """Of each task in a PLE; the rest of its experts, one at least, are shared."""
    extraction_levels: Count = 1
    """Of a PLE: into so many levels its expert layers are divided, in order; the first levels get what is over."""
    calibrator_weight: NotNegative = 0.6
    """Of AITM's calibrator; 0 where a task's positives are not among those of the task before."""
    expert_layers: Annotated[Widths, Field(min_length=1)] = (64, 32)
    tower_layers: Widths = (32,)
    dropout: Dropout = 0.1
    """Of the hidden layers of experts and towers."""
    embedding_dropout: Dropout = 0.0
    """Of the embedded input."""
    template: Literal["hadamard", "additive", "none"] = "hadamard"
    """Of an MMoE's experts; other architectures have plain ones."""

    @model_validator(mode="after")
    def _a_layer_for_each_level(self) -> Self:
        if self.architecture == "ple" and self.extraction_levels > len(self.expert_layers):
            raise ValueError(
                f"extraction_levels {self.extraction_levels} and {len(self.expert_layers)} expert_layers, "
                "expected a layer for each level at least"
            )
        return self


class TrainSettings(Section):
    """Local training in one scenario."""

    lr: Positive = 1e-3
    """Of Adam."""
    weight_decay: NotNegative = 0.0
    """L2 penalty in Adam's gradients."""
    embedding_optimizer: Literal["adam", "adagrad"] = "adam"
    """Of the embedding tables; Adagrad has no weight decay."""
    embedding_lr: Positive = 0.05
    """Of Adagrad."""
    batch_size: Annotated[int, Field(ge=2)] = 1024
    """Impressions."""
    min_steps: Annotated[int, Field(ge=0)] = 0
    """Batches in a pass, at least: few rows make smaller batches, of 32 impressions or more; 0: no bound."""
    local_epochs: Positive = 1.0
    """Passes over the scenario's training rows in one round; 0.5 is half of them."""
    max_local_steps: Annotated[int, Field(ge=0)] = 0
    """Upper bound of batches in one round; 0: none."""
    optimizer_state: Literal["keep", "reset"] = "reset"
    """What becomes of the optimisers' moments from one round to the next."""
    consensus_weight: NotNegative = 0.0
    """The personalization regularizer's λ."""
    averaging: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """What a scenario predicts with is an exponential mean over rounds: the share of the old value in it; 0: none."""
    reestimate_batch_norm: bool = True
    """Re-estimate normalization statistics on local training rows before evaluating."""
    reestimate_rows: Count = 32_768
    """Training rows used for that, at most."""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    threads: Count = 1
    """Threads of a client; results depend on it in the last bit."""
    mixed_precision: bool = False
    """bfloat16 matrix products."""


class FederationSettings(Section):
    """Rounds, their deadline and the choice of the round that counts."""

    rounds: Count = 20
    patience: Annotated[int, Field(ge=0)] = 5
    """Rounds without a better macro validation AUC before stopping; 0: never stop early."""
    selection: Literal["scenario", "macro"] = "scenario"
    """The round that counts: chosen by each scenario's own validation AUC, or one for all by their mean."""
    smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Exponential smoothing of the validation AUC before the choice; 0: none."""
    round_timeout: Positive = 3600.0
    """Seconds to wait for the replies of one exchange."""
    node_timeout: Positive = 120.0
    """Seconds to wait for all scenarios to be hosted by some node."""
    min_scenarios: Annotated[int, Field(ge=0)] = 0
    """Fewest scenarios that must reply for a round to count; 0: all of them."""
    scenarios: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Scenarios that take part; empty: all that are hosted."""
    evaluate_consensus: bool = False
    """Measure the scenarios' consensus on test rows too, beside the personalised models."""
    reference: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Methods run beside the main one for comparison."""

    @field_validator("scenarios", "reference")
    @classmethod
    def _no_repetition(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) != len(names):
            raise ValueError("names must not repeat")
        return names


class AggregationSettings(Section):
    """What PF-MSMTrec does with the updates on the server."""

    schedule: Literal["fused", "bottom-up"] = "fused"
    tower_steps: Count = 10
    """Batches on which the towers are fitted in the second exchange of a bottom-up round."""
    conflict_radius: Annotated[float, Field(ge=0, lt=1)] = 0.4
    """c: how far the coordinated update may lie from the mean update, relative to its length."""
    alpha: Fraction = 0.5
    """Initial share of the coordinated expert update that a scenario receives."""
    beta: Fraction = 0.5
    """Initial share of the attended tower update that a scenario receives."""
    share_lr: NotNegative = 0.1
    """Step of the hyper-gradient that learns α and β; 0: they stay as they start."""
    pull: Fraction = 0.5
    """μ: pull of the personal parameters to the consensus."""
    consensus: Literal["agreement", "examples"] = "agreement"
    """Whom a scenario is pulled to: those that it agrees with, by the cosines of their updates so far, or all alike;
    by their examples in both."""
    average_global: bool = True
    """Average the template's global component G over the scenarios; false: it stays local."""
    gates: Literal["local", "federated"] = "local"
    normalization: Literal["local", "federated"] = "local"
    """Federated batch normalization keeps it local; averaged, it shows what that is worth."""
    towers: Literal["attended", "local"] = "attended"
    """Cross-attention of the towers' updates, or towers that stay where they are."""
    output_bias: Literal["local", "federated"] = "local"
    """Of the towers' last layer: it carries the scenario's base rate."""
    embeddings: Literal["rows", "plain", "local"] = "rows"
    """Average of federated embedding tables: by touched row, plain, or none at all."""
    row_balance: Fraction = 0.0
    """With tables averaged by touched row, how a scenario's uses of a row count: 0, each as one; 1, as a share of all
    its uses, so that a small scenario has as much to say as a large one; between: over all its uses to this power."""
    personal_embeddings: bool = True
    """With tables averaged by touched row, each scenario's are of those that it agrees with; false: one for all."""


class BaselineSettings(Section):
    """Knobs of the baselines, under the names of their papers."""

    proximal_weight: NotNegative = 0.1
    """FedProx's μ, Ditto's λ, FedAMP's λ/α: pull of a local model to the one that it is to stay near."""
    head_epochs: NotNegative = 1.0
    """FedRep: passes over the training rows in which the head is fitted before the body is."""
    mixture: Fraction = 0.5
    """APFL's α to begin with: share of the scenario's own model in the mixture."""
    mixture_lr: NotNegative = 0.1
    """APFL: step in which α is learned; 0: it stays."""
    attention_step: Positive = 1.0
    """FedAMP's α_k."""
    attention_width: Positive = 1.0
    """FedAMP's σ, relative to the mean squared distance between the scenarios' models."""
    inverse_regularization: Positive = 0.1
    """Logistic regression's C: the inverse of the L2 penalty's weight beside the sum of the rows' losses."""
    leaves: Annotated[int, Field(ge=2)] = 15
    """Of a boosted tree, at most."""
    tree_lr: Positive = 0.05
    """Share of each boosted tree that is added."""


class DataSettings(Section):
    """Which scenarios are trained on."""

    name: Annotated[str, Field(min_length=1)] = "synthetic"
    train_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of each scenario's training rows that is used, drawn at random with the run's seed."""
    synthetic: dict[str, Any] = Field(default_factory=dict)
    """Settings of the made-up scenarios, see data/synthetic/settings.py."""


class RunConfig(Section):
    """One experiment."""

    method: Annotated[str, Field(min_length=1)] = "pf-msmtrec"
    seed: Annotated[int, Field(ge=0)] = 0
    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    train: TrainSettings = TrainSettings()
    federation: FederationSettings = FederationSettings()
    aggregation: AggregationSettings = AggregationSettings()
    baselines: BaselineSettings = BaselineSettings()
    methods: dict[str, Settings] = Field(default_factory=dict)
    """Settings of single methods, such as ``fedavg: {train.lr: 0.002}``: they hold when that method runs."""

    def for_method(self, name: str) -> RunConfig:
        """Return the configuration of one method: this one with the method's own settings in force.

        Raises
        ------
        UserError
            One of these settings is unknown or impossible.
        """
        own = self.methods.get(name, {})
        what = f"settings of method {name} ({', '.join(own) or 'none'})"
        return parse(RunConfig, self.model_dump() | {"method": name, "methods": {}}, what).with_settings(own, what)

    def with_settings(self, settings: Mapping[str, Value], source: str) -> RunConfig:
        """Return this configuration with other values of some keys.

        Parameters
        ----------
        settings
            Values by dotted key.
        source
            Where they are from, for the message of an error.

        Raises
        ------
        UserError
            One of these settings is unknown or impossible.
        """
        document = self.model_dump()
        for key, value in settings.items():
            _assign(document, key, value)
        return parse(RunConfig, document, source)

    def to_yaml(self) -> str:
        """Return the whole configuration, defaults included, as YAML that `load_config` reads."""
        return dump_yaml(self.model_dump(mode="json"))


def load_config(conf: str, *, method: str = "", seed: int = -1, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a configuration, apply overrides, and check all of it.

    Parameters
    ----------
    conf
        Name of a file in `conf/` without its ending, or the path of a YAML file.
    method, seed
        Override the file's; empty and -1 leave them.
    overrides
        ``key=value`` with dots between nested keys; the value is read as YAML.

    Raises
    ------
    UserError
        Unknown file or key, wrong type, impossible value.
    """
    path = find_conf(conf)
    document = read_yaml(path)
    for override in overrides:
        _apply(document, override)
    if method:
        document["method"] = method
    if seed >= 0:
        document["seed"] = seed
    source = f"{path}" + (f" with {' '.join(overrides)}" if overrides else "")
    config = parse(RunConfig, document, source)
    for name in {config.method, *config.federation.reference, *config.methods}:
        config.for_method(name)  # so that a mistake in a method's settings shows before anything starts
    return config


def find_conf(conf: str) -> Path:
    """Return the file that `conf` names.

    Raises
    ------
    UserError
        There is none; the message lists the known names.
    """
    return find_yaml("conf", conf, CONF_FOLDER)


def _apply(document: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    key = key.strip()
    if not equals or not key:
        raise UserError(f"got the setting '{override}', expected KEY=VALUE such as train.lr=0.002")
    try:
        value = load_yaml(text)
    except yaml.YAMLError:
        raise UserError(f"setting '{override}': '{text}' is not a YAML value") from None
    _assign(document, key, value)
    methods = document.get("methods")
    for own in methods.values() if isinstance(methods, dict) else ():
        if isinstance(own, dict):
            own.pop(key, None)  # what is said on the command line holds for every method


def _assign(document: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    for section in sections:
        document = document.setdefault(section, {})
        if not isinstance(document, dict):
            raise UserError(f"setting '{key}': '{section}' is a value, not a section")
    document[last] = value
