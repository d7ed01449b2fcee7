"""Request for a comparison: the user's options, completed from the configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pfmsmtrec_flwr.comparison.spaces import is_pinned
from pfmsmtrec_flwr.comparison.variants import ABLATED
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.methods import KNOWN_METHODS
from pfmsmtrec_flwr.methods.configuration import check_settings
from pfmsmtrec_flwr.methods.files import is_method_file
from pfmsmtrec_flwr.upgrades import refuse_old_keys
from pfmsmtrec_flwr.validation import parse, read_yaml

EVERY_METHOD = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of a comparison, as the user sets them.

    Attributes
    ----------
    methods
        Names with commas between; ``all``; empty: the configuration's method and its references.
    seeds
        Number of seeds, from the configuration's seed on.
    reference
        Method that the others are tested against; empty: PF-MSMTrec if it takes part, else the first.
    ablations
        Whether PF-MSMTrec is also run with each of its switches turned.
    trials
        Number of settings to try for each method; 0: no tuning.
    tune_seeds
        Number of seeds of each trial, from the configuration's seed on.
    tune_on
        Data sets, or seeds of made-up worlds, of the trials; empty: the data of the runs, or another world.
    tune_only
        Whether the comparison ends after the tuning.
    tuned
        File of settings of single methods, under the key ``methods``.
    pinned
        Keys whose values in the configuration hold for every method: they are not tuned.
    join
        Whether each scenario is also left out and joins later.
    keep_models
        Whether the scenarios' models are kept.
    fresh
        Whether results of other code of the package are replaced.
    draws
        Number of draws of test users from which intervals are computed; 0: no intervals.
    """

    methods: str = ""
    seeds: int = 5
    reference: str = ""
    ablations: bool = False
    trials: int = 0
    tune_seeds: int = 2
    tune_on: tuple[str, ...] = ()
    tune_only: bool = False
    tuned: Path | None = None
    pinned: frozenset[str] = frozenset()
    join: bool = False
    keep_models: bool = False
    fresh: bool = False
    draws: int = 1000

    def names(self, config: RunConfig) -> tuple[str, ...]:
        """Return the methods' names, each once."""
        if self.methods.strip() == EVERY_METHOD:
            return tuple(KNOWN_METHODS)
        if not self.methods.strip():
            return tuple(dict.fromkeys((config.method, *config.federation.reference)))
        return tuple(dict.fromkeys(name.strip() for name in self.methods.split(",")))

    def with_tuned(self, config: RunConfig) -> RunConfig:
        """Return the configuration with the settings of the file `tuned`, except those that are pinned.

        Raises
        ------
        UserError
            The file cannot be read, or does not hold settings of methods.
        """
        if self.tuned is None:
            return config
        path = self.tuned.expanduser()
        document = read_yaml(path)
        if document.keys() != {"methods"}:
            raise UserError(f"{path}: got the keys {', '.join(document) or 'none'}, expected 'methods' alone")
        refuse_old_keys(document, str(path))
        read = parse(RunConfig, document, str(path))
        check_settings(read, str(path))
        own = {
            name: {key: value for key, value in settings.items() if not is_pinned(name, key, self.pinned)}
            for name, settings in read.methods.items()
        }
        methods = {name: {**config.methods.get(name, {}), **own.get(name, {})} for name in {**config.methods, **own}}
        return config.model_copy(update={"methods": methods})


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A complete request for a comparison.

    Attributes
    ----------
    config
        Settings that all methods have in common, and settings of single methods.
    options
        Options of the user.
    methods, reference
        Names of the methods, and of the one that the others are tested against.
    scenarios
        Names of all scenarios that take part.
    data, output
        Absolute folders of the prepared data and of all files written.
    """

    config: RunConfig
    options: Options
    methods: tuple[str, ...]
    reference: str
    scenarios: tuple[str, ...]
    data: Path
    output: Path

    @property
    def seeds(self) -> range:
        """All seeds."""
        return range(self.config.seed, self.config.seed + self.options.seeds)


def request_of(config: RunConfig, options: Options, scenarios: Sequence[str], data: Path, output: Path) -> Request:
    """Complete the options from the configuration.

    Raises
    ------
    UserError
        A method is a file, the reference is not among the methods, or the file of tuned settings is damaged.
    """
    config = options.with_tuned(config)
    methods = options.names(config)
    if files := [name for name in methods if is_method_file(name)]:
        raise UserError(f"a comparison takes names of methods, got the file {files[0]}: `pfmsmtrec run` takes files")
    reference = options.reference or (ABLATED if ABLATED in methods else methods[0])
    if reference not in methods:
        raise UserError(f"reference '{reference}' is not among the methods {', '.join(methods)}: add it to them")
    return Request(
        config=config,
        options=options,
        methods=methods,
        reference=reference,
        scenarios=tuple(sorted(scenarios)),
        data=data,
        output=output,
    )
