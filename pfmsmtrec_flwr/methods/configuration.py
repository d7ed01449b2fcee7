"""The configuration of a run, with the settings of its methods checked and completed."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from pfmsmtrec_flwr.config import SECTIONS, RunConfig, find_conf, read_config, source_of
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.methods import KNOWN_METHODS, Method, find_method
from pfmsmtrec_flwr.methods.noising import require_noise
from pfmsmtrec_flwr.validation import alternatives, close_keys, nested_keys


def load_config(conf: str, *, method: str = "", seed: int = -1, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a configuration, apply overrides, and check all of it, settings of single methods included.

    Parameters
    ----------
    conf
        Name of a file in `conf/` without its ending, or the path of a YAML file.
    method, seed
        Values that replace those of the file; an empty name and -1 leave them.
    overrides
        Settings as ``key=value``: ``train.lr=0.002`` is common to all methods, ``fedprox.mu=0.01`` is a method's own,
        and ``fedavg.train.lr=0.004`` is a common one while that method runs. The value is read as YAML.

    Raises
    ------
    UserError
        Unknown file, method or key, wrong type, impossible value.
    """
    config = read_config(conf, method=method, seed=seed, overrides=overrides)
    check_settings(config, source_of(find_conf(conf), overrides))
    return config


def check_settings(config: RunConfig, source: str) -> None:
    """Check the settings of every method that the configuration names.

    Parameters
    ----------
    config
        Configuration whose common settings have been checked.
    source
        Origin of the configuration, for the message of an error.

    Raises
    ------
    UserError
        A method is unknown, or one of its settings is unknown or impossible.
    """
    used = methods_of(config)
    known = [*KNOWN_METHODS, *(method.name for method in used if method.file)]
    for name in config.methods:
        if name not in known:
            keys = [f"{name}.{key}" for key in config.methods[name]][:1] or [name]
            close = get_close_matches(name, [*SECTIONS, *known], n=1) or close_keys(keys[0], nested_keys(RunConfig))
            hint = f"did you mean {alternatives(close)}?" if close else f"sections are {', '.join(SECTIONS)}"
            raise UserError(f"{source}: '{name}' is neither a section nor a method; {hint}")
    for method in _with_settings(config, used):
        for key in config.methods.get(method.name, {}):
            _check_key(method, key, source)
        try:
            own = method.configure(config)
            if method in used:
                require_noise(method, own)
        except UserError as error:
            raise UserError(f"{source}: {error}") from None


def methods_of(config: RunConfig) -> list[Method]:
    """Return the configured method and its reference methods, each once.

    Raises
    ------
    UserError
        A method is unknown, its file defines none, or two files define methods of one name.
    """
    methods: dict[str, Method] = {}
    for reference in dict.fromkeys((config.method, *config.federation.reference)):
        method = find_method(reference)
        if method.name in methods:
            raise UserError(f"{methods[method.name].file} and {reference} both define a method '{method.name}'")
        methods[method.name] = method
    return list(methods.values())


def complete(config: RunConfig) -> RunConfig:
    """Return the configuration with the defaults of the settings that its methods have of their own.

    Raises
    ------
    UserError
        A method is unknown, or one of its settings is unknown or impossible.
    """
    methods = dict(config.methods)
    for method in _with_settings(config, methods_of(config)):
        if own := {**method.own_settings(config), **methods.get(method.name, {})}:
            methods[method.name] = own
    return config.model_copy(update={"methods": methods})


def _with_settings(config: RunConfig, used: Sequence[Method]) -> list[Method]:
    """Return the methods that are run, and those that only have settings."""
    names = {method.name for method in used}
    return [*used, *(find_method(name) for name in config.methods if name not in names)]


def _check_key(method: Method, key: str, source: str) -> None:
    """Refuse an undotted key that is not one of the method's settings, and name the one that may be meant."""
    known = list(method.settings.model_fields)
    if "." in key or key in known:
        return
    common = [f"{section}.{key}" for section in SECTIONS if key in type(getattr(RunConfig(), section)).model_fields]
    if meant := common or close_keys(key, known):
        hint = f"did you mean {alternatives(meant)}?"
    elif known:
        hint = f"known keys: {', '.join(known)}"
    else:
        hint = f"{method.name} has no settings of its own"
    raise UserError(f"{source}: unknown key '{key}' of method {method.name}; {hint}")
