"""Settings that hold for every method, each with its type, its range and its default.

What is a single method's own is declared in that method's file, by a subclass of `MethodSettings`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import ConfigDict, Field, GetCoreSchemaHandler, field_validator, model_validator
from pydantic_core.core_schema import CoreSchema, no_info_after_validator_function

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.places import top_folder
from pfmsmtrec_flwr.plugins import MODELS_GROUP, announced
from pfmsmtrec_flwr.upgrades import refuse_old_key, refuse_old_keys
from pfmsmtrec_flwr.validation import Section, dump_yaml, find_yaml, load_yaml, parse, read_yaml, yaml_files

CONF_FOLDER = top_folder() / "conf"

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Dropout = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
CountOrNone = Annotated[int, Field(ge=0)]
"""A count whose value 0 has a meaning of its own, which the setting states."""
Widths = Annotated[tuple[Count, ...], Field(strict=False)]
Names = Annotated[tuple[str, ...], Field(strict=False)]

Value = str | int | float | bool
Settings = dict[str, Value]
"""Values by key: a dotted key such as ``train.lr`` is common to all methods, another is a method's own."""


@dataclass(frozen=True, slots=True)
class AnnouncedChoice:
    """Constraint of a text: one of some names, or one that an installed package announces.

    Attributes
    ----------
    own
        Names of this package.
    group
        Group of the entry points whose names are accepted too.
    """

    own: tuple[str, ...]
    group: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return the schema of a text that is checked afterwards."""
        return no_info_after_validator_function(self._known, handler(source))

    def _known(self, name: str) -> str:
        if name not in self.own and name not in announced(self.group):
            *others, last = (f"'{each}'" for each in (*self.own, *sorted(announced(self.group))))
            raise ValueError(f"input should be {', '.join(others)} or {last}")
        return name


class SettingsSection(Section):
    """Base of a group of settings: the docstring below a field is its description for users."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class MethodSettings(SettingsSection):
    """Settings of one method; each method that has any declares a subclass in its file."""

    def implied(self) -> Settings:
        """Return the common settings, by dotted key, that follow from the method's own: plain experts for most."""
        return {"model.template": "none"}


M = TypeVar("M", bound=MethodSettings)


class ModelSettings(SettingsSection):
    """Sizes and regularization of a scenario's model."""

    architecture: Annotated[
        str,
        AnnouncedChoice(
            ("mmoe", "single-task", "shared-bottom", "ple", "aitm", "esmm", "star", "pepnet", "stem", "m3oe"),
            MODELS_GROUP,
        ),
    ] = "mmoe"
    """Architecture of the model; some methods, such as pooled-ple, have their own."""
    embedding_dim: Count = 8
    """Width of an embedding vector."""
    experts: Count = 4
    """Number of experts that all tasks share."""
    specific_experts: CountOrNone = 1
    """Number of experts that each task of a PLE or STEM has for itself, beside the shared ones."""
    extraction_levels: Count = 1
    """Number of levels of a PLE, into which its expert layers are divided in order; the first levels get the rest."""
    calibrator_weight: NotNegative = 0.6
    """Weight of AITM's calibrator; 0 suits tasks whose positives are not among those of the task before."""
    initial_balance: Annotated[float, Field(gt=0, lt=1)] = 0.73
    """Initial weight of an M3oE's experts by scenario, and of those by task, and initial share of the own one in it;
    all are learned."""
    expert_layers: Annotated[Widths, Field(min_length=1)] = (64, 32)
    """Widths of the layers of an expert."""
    tower_layers: Widths = (32,)
    """Widths of the hidden layers of a tower."""
    dropout: Dropout = 0.1
    """Share of the hidden units of experts and towers that is dropped in training."""
    embedding_dropout: Dropout = 0.0
    """Share of the embedded input that is dropped in training."""
    template: Literal["additive", "hadamard", "none"] = "none"
    """Composition of an MMoE expert's weights of G, S and T; pf-msmtrec sets it by a setting of its own."""
    task_layers: Literal["last", "all"] = "last"
    """Layers of an expert with task-specific components T; pf-msmtrec sets it by a setting of its own."""

    @model_validator(mode="after")
    def _a_layer_for_each_level(self) -> Self:
        if self.architecture == "ple" and self.extraction_levels > len(self.expert_layers):
            raise ValueError(
                f"extraction_levels {self.extraction_levels} and {len(self.expert_layers)} expert_layers, "
                "expected a layer for each level at least"
            )
        return self


class TrainSettings(SettingsSection):
    """Local training in one scenario."""

    lr: Positive = 1e-3
    """Learning rate of Adam."""
    weight_decay: NotNegative = 0.0
    """Weight of the L2 penalty in Adam's gradients."""
    embedding_optimizer: Literal["adam", "adagrad"] = "adam"
    """Optimizer of the embedding tables; Adagrad uses no weight decay, and moves the rows of the batch alone, which
    large tables need."""
    embedding_lr: Positive = 0.05
    """Learning rate of Adagrad."""
    batch_size: Annotated[int, Field(ge=2)] = 1024
    """Number of impressions in a batch."""
    min_steps: CountOrNone = 0
    """Smallest number of batches in a pass: batches shrink to reach it, down to 32 impressions; 0 sets no bound."""
    local_epochs: Positive = 1.0
    """Number of passes over the scenario's training rows in one round; 0.5 is half a pass."""
    max_local_steps: CountOrNone = 0
    """Largest number of batches in one round; 0 sets no bound."""
    optimizer_state: Literal["keep", "reset"] = "reset"
    """Whether the optimizers' moments are kept from one round to the next."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the old value in the exponential mean over rounds that a scenario predicts with; 0 turns it off."""
    reestimate_batch_norm: bool = True
    """Whether normalization statistics are re-estimated on local training rows before a model is measured."""
    reestimate_rows: Count = 32_768
    """Largest number of training rows that serve to re-estimate normalization statistics."""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    """Device of the computation: auto, cpu, cuda, or one GPU such as cuda:0."""
    threads: Count = 1
    """Number of threads of a client; the last bits of results depend on it."""
    mixed_precision: bool = False
    """Whether matrix products are computed in bfloat16."""


AverageKind = Literal["mean", "median", "trimmed"]
"""Kinds of averages over scenarios."""
Precision = Literal["full", "half", "int8"]
"""Precisions in which parameters and updates travel."""


class FederationSettings(SettingsSection):
    """Rounds, their deadlines, embedding tables, and the choice of the round that counts."""

    rounds: Count = 20
    """Largest number of rounds."""
    patience: CountOrNone = 5
    """Number of rounds without a better mean validation AUC after which training stops; 0 never stops it early."""
    selection: Literal["scenario", "macro"] = "scenario"
    """Validation AUC that chooses the round that counts: each scenario's own, or the mean over all scenarios."""
    tables: Literal["rows", "plain", "local"] = "rows"
    """Average of the federated embedding tables: over touched rows, over whole tables, or none, so they stay local."""
    average: AverageKind = "mean"
    """Average of what is the same for all scenarios: the mean by training rows; or, with the same weight for each
    scenario, the median or the mean without the largest and smallest fifth (one at least) of each element, and then
    the median of validation figures in the place of their mean."""
    clip: NotNegative = 2.0
    """Largest length of a part of a scenario's update, in medians over the scenarios, per square root of a step: what
    is longer is shortened, and a scenario of which a part is three times as long still is left out; 0: no bound."""
    precision: Precision = "full"
    """Precision of what travels: full (float32); half, where parameters go down and updates come up as float16; or
    int8, where updates come up in 8 bits with a scale per slice; what rounding an update lost is added to the next."""
    round_timeout: Positive = 3600.0
    """Seconds to wait for the replies of one exchange."""
    node_timeout: Positive = 120.0
    """Seconds to wait until every scenario is hosted by a node, and for lost nodes before they are asked again."""
    min_scenarios: CountOrNone = 0
    """Smallest number of scenarios that must reply for a round to count; 0 requires all of them."""
    retries: CountOrNone = 1
    """Number of times that scenarios without a usable reply are asked again if too few have replied; then the run
    ends."""
    scenarios: Names = ()
    """Names of the scenarios that take part; an empty list takes all that are hosted."""
    draws: CountOrNone = 200
    """Number of draws of test users in which each scenario measures the AUC, for intervals; 0: no intervals."""
    evaluate_consensus: bool = False
    """Whether the scenarios' consensus is measured on test rows too, beside the personalized models."""
    reference: Names = ()
    """Names of the methods that are run beside the main one for comparison."""

    @field_validator("scenarios", "reference")
    @classmethod
    def _no_repetition(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) != len(names):
            raise ValueError("names must not repeat")
        return names


class EvaluationSettings(SettingsSection):
    """Measuring of the chosen models."""

    calibration: Literal["platt", "isotonic", "none"] = "platt"
    """Recalibration of the predictions, fitted on each scenario's validation rows: a logistic curve of the log odds
    (platt), steps that never fall (isotonic; they tie scores), or none; AUC and raw figures do not depend on it."""


class PrivacySettings(SettingsSection):
    """Changes to a scenario's updates before they leave it."""

    row_counts: Literal["exact", "powers"] = "exact"
    """Numbers of uses of table rows that are sent: exact ones, or the largest powers of two that do not exceed them."""
    noise: NotNegative = 0.0
    """Standard deviation of the Gaussian noise in each number of an update, in units of privacy.clip_norm; 0 adds none
    and clips nothing."""
    clip_norm: Positive = 1.0
    """Largest Euclidean norm of a whole update, to which a larger one is scaled down before noise is added."""
    delta: Annotated[float, Field(gt=0, lt=1)] = 1e-5
    """Probability δ for which the privacy loss ε of the noised updates is computed."""


class DataSettings(SettingsSection):
    """Data that is trained on."""

    name: Annotated[str, Field(min_length=1)] = "synthetic"
    """Name of the prepared data set; synthetic is made up on the spot."""
    train_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of each scenario's training rows that is used, drawn at random with the run's seed."""
    synthetic: dict[str, Any] = Field(default_factory=dict)
    """Settings of the made-up scenarios."""
    verify: bool = True
    """Whether the checksums of prepared rows are compared once, at the start of a run."""


class RunConfig(SettingsSection):
    """One experiment."""

    method: Annotated[str, Field(min_length=1)] = "pf-msmtrec"
    """Name of the method that is run."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of every random draw."""
    data: DataSettings = DataSettings()
    """Data that is trained on."""
    model: ModelSettings = ModelSettings()
    """Sizes and regularization of a scenario's model."""
    train: TrainSettings = TrainSettings()
    """Local training in one scenario."""
    federation: FederationSettings = FederationSettings()
    """Rounds, their deadlines, embedding tables, and the choice of the round that counts."""
    evaluation: EvaluationSettings = EvaluationSettings()
    """Measuring of the chosen models."""
    privacy: PrivacySettings = PrivacySettings()
    """Changes to a scenario's updates before they leave it."""
    methods: dict[str, Settings] = Field(default_factory=dict)
    """Settings of single methods by name: an undotted key is the method's own, a dotted one overrides a common setting
    while the method runs."""

    def for_method(self, name: str) -> RunConfig:
        """Return the configuration of one method: its dotted settings in force, its own the only ones in `methods`.

        Raises
        ------
        UserError
            One of the method's settings is unknown or impossible.
        """
        settings = self.methods.get(name, {})
        source = f"settings of method {name} ({', '.join(settings) or 'none'})"
        plain = parse(RunConfig, self.model_dump() | {"method": name, "methods": {}}, source)
        return plain.with_own(settings, source)

    def own(self, kind: type[M]) -> M:
        """Return the settings of `method` that are its own, as its file declares them.

        Raises
        ------
        UserError
            One of them is unknown or impossible.
        """
        values = {key: value for key, value in self.methods.get(self.method, {}).items() if "." not in key}
        return parse(kind, values, f"settings of method {self.method}", prefix=f"{self.method}.")

    def with_settings(self, settings: Mapping[str, Value], source: str) -> RunConfig:
        """Return this configuration with other values of some keys.

        Parameters
        ----------
        settings
            Values by key, such as ``train.lr`` or, with the name of its method before it, ``fedprox.mu``.
        source
            Origin of the values, for the message of an error.

        Raises
        ------
        UserError
            One of these settings is unknown or impossible.
        """
        document = self.model_dump()
        for key, value in settings.items():
            _assign(document, key, value)
        return parse(RunConfig, document, source)

    def with_own(self, settings: Mapping[str, Value], source: str) -> RunConfig:
        """Return this configuration with settings of `method`, spelt as under ``methods``.

        Parameters
        ----------
        settings
            Values by key, such as ``train.lr`` or, of the method itself, ``mu``.
        source
            Origin of the values, for the message of an error.

        Raises
        ------
        UserError
            One of these settings is unknown or impossible.
        """
        for key in settings:
            section, dot, _ = key.partition(".")
            if dot and section not in SECTIONS:
                known = ", ".join(SECTIONS)
                raise UserError(f"{source}: unknown key '{key}'; a dotted key begins with one of {known}")
        full = {key if "." in key else f"{self.method}.{key}": value for key, value in settings.items()}
        return self.with_settings(full, source)

    def to_yaml(self) -> str:
        """Return the configuration, defaults included, as YAML that `read_config` reads."""
        return dump_yaml(self.model_dump(mode="json"))


SECTIONS = ("data", "model", "train", "federation", "evaluation", "privacy")
"""Names of the groups of common settings."""


def read_config(conf: str, *, method: str = "", seed: int = -1, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a configuration, apply overrides, and check all common settings.

    Settings of single methods are checked by `load_config`, which knows the methods.

    Parameters
    ----------
    conf
        Name of a file in `conf/` without its ending, or the path of a YAML file.
    method, seed
        Values that replace those of the file; an empty name and -1 leave them.
    overrides
        Settings as ``key=value``, with dots between nested keys; the value is read as YAML.

    Raises
    ------
    UserError
        Unknown file or key, wrong type, impossible value.
    """
    path = find_conf(conf)
    document = read_yaml(path)
    for override in overrides:
        _apply(document, override)
    source = source_of(path, overrides)
    refuse_old_keys(document, source)
    if method:
        document["method"] = method
    if seed >= 0:
        document["seed"] = seed
    return parse(RunConfig, document, source)


def source_of(path: Path, overrides: Sequence[str]) -> str:
    """Return the origin of a configuration, for the messages of errors."""
    return f"{path}" + (f" with {' '.join(overrides)}" if overrides else "")


def find_conf(conf: str) -> Path:
    """Return the file that `conf` names.

    Raises
    ------
    UserError
        There is none; the message lists the known names.
    """
    return find_yaml("conf", conf, yaml_files(CONF_FOLDER))


def _apply(document: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    key = key.strip()
    if not equals or not key:
        raise UserError(f"got the setting '{override}', expected KEY=VALUE such as train.lr=0.002")
    refuse_old_key(key, "--set")
    try:
        value = load_yaml(text)
    except yaml.YAMLError:
        raise UserError(f"setting '{override}': '{text}' is not a YAML value") from None
    _assign(document, key, value)
    methods = document.get("methods")
    for own in methods.values() if isinstance(methods, dict) else ():
        if isinstance(own, dict):
            own.pop(key, None)  # what the command line says holds for every method


def _assign(document: dict[str, Any], key: str, value: Any) -> None:
    """Set a value of a nested document; a dotted key that begins with no section is a method's."""
    first, _, rest = key.partition(".")
    if first == "methods" and rest:
        key = rest
        first, _, rest = key.partition(".")
    if rest and first not in RunConfig.model_fields:
        methods = _inner(document, "methods", key)
        methods[first] = {**_inner(methods, first, key), rest: value}  # a copy: YAML's aliases share one mapping
        return
    *sections, last = key.split(".")
    for section in sections:
        document = _inner(document, section, key)
    document[last] = value


def _inner(document: dict[str, Any], name: str, key: str) -> dict[str, Any]:
    inner = document.setdefault(name, {})
    if not isinstance(inner, dict):
        raise UserError(f"setting '{key}': '{name}' is a value, not a section")
    return inner
