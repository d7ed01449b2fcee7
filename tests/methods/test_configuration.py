from __future__ import annotations

from pathlib import Path

import pytest

from pfmsmtrec_flwr.config import CONF_FOLDER, RunConfig
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.methods import METHODS, find_method
from pfmsmtrec_flwr.methods.configuration import complete, load_config
from pfmsmtrec_flwr.methods.pf_msmtrec import PFMSMTRecSettings


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    path = tmp_path / "own.yaml"
    path.write_text(
        "method: fedprox\nfederation: {reference: [alone]}\nmethods: {fedprox: {mu: 0.5, train.lr: 0.01}}\n"
    )
    return path


@pytest.mark.parametrize("name", sorted(file.stem for file in CONF_FOLDER.glob("*.yaml")))
def test_every_conf_that_comes_along_is_sound(name: str) -> None:
    assert load_config(name) == load_config(str(CONF_FOLDER / f"{name}.yaml"))


@pytest.mark.parametrize("name", sorted(file.stem for file in CONF_FOLDER.glob("*.yaml")))
def test_every_conf_that_comes_along_has_all_parts_of_the_method_on(name: str) -> None:
    config = find_method("pf-msmtrec").configure(load_config(name))
    own = config.own(PFMSMTRecSettings)
    assert own.template != "none"
    assert config.model.template == own.template
    assert (own.normalization, own.towers, own.consensus) == ("local", "attended", "agreement")
    assert min(own.conflict_radius, own.expert_weight, own.tower_weight, own.hyper_lr, own.regularization) > 0
    for other in ("alone", "fedavg", "fedper", "pooled-mmoe"):
        assert find_method(other).configure(load_config(name)).model.template == "none"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "fedprox.mu=-1",
            "CONF: settings of method fedprox: key 'fedprox.mu': got -1; input should be greater than or equal",
        ),
        (
            "fedprox.mu=big",
            "CONF: settings of method fedprox: key 'fedprox.mu': got 'big'; input should be a valid number",
        ),
        ("fedprox.muu=1", "CONF: unknown key 'muu' of method fedprox; did you mean 'mu'?"),
        ("fedprox.lr=1", "CONF: unknown key 'lr' of method fedprox; did you mean 'train.lr'?"),
        ("fedprox.zzz=1", "CONF: unknown key 'zzz' of method fedprox; known keys: mu"),
        ("fedavg.zzz=1", "CONF: unknown key 'zzz' of method fedavg; fedavg has no settings of its own"),
        (
            "pf-msmtrec.gates=shared",
            "CONF: settings of method pf-msmtrec: key 'pf-msmtrec.gates': got 'shared'; input should",
        ),
        (
            "pf-msmtrec.conflict_radius=1.0",
            "CONF: settings of method pf-msmtrec: key 'pf-msmtrec.conflict_radius': got 1.0;",
        ),
        (
            "pf-msmtrec.tower_weight=-0.1",
            "CONF: settings of method pf-msmtrec: key 'pf-msmtrec.tower_weight': got -0.1; inp",
        ),
        (
            "pf-msmtrec.hyper_lr=-0.1",
            "CONF: settings of method pf-msmtrec: key 'pf-msmtrec.hyper_lr': got -0.1; input shoul",
        ),
        (
            "pf-msmtrec.regularization=-1",
            "CONF: settings of method pf-msmtrec: key 'pf-msmtrec.regularization': got -1; inp",
        ),
        (
            "pf-msmtrec.schedule=down",
            "CONF: settings of method pf-msmtrec: key 'pf-msmtrec.schedule': got 'down'; input sho",
        ),
        ("trian.lr=1", "CONF: 'trian' is neither a section nor a method; did you mean 'train'?"),
        ("fedpox.mu=1", "CONF: 'fedpox' is neither a section nor a method; did you mean 'fedprox'?"),
        ("zzz.mu=1", "CONF: 'zzz' is neither a section nor a method; sections are data, model, train, federation"),
        ("method=nope", "unknown method 'nope', expected one of base-rate, "),
        ("federation.reference=[nope]", "unknown method 'nope', expected one of base-rate, "),
        (
            "fedprox.train.lr=-1",
            "CONF: settings of method fedprox (mu, train.lr): key 'train.lr': got -1; input should be gr",
        ),
        (
            "fedprox.ditto.lam=1",
            "CONF: settings of method fedprox (mu, train.lr, ditto.lam): unknown key 'ditto.lam'; a dot",
        ),
    ],
)
def test_mistakes_show_before_anything_starts(conf: Path, override: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        load_config(str(conf), overrides=[override])
    line = str(caught.value)
    assert line.startswith(message.replace("CONF", f"{conf} with {override}"))
    assert "\n" not in line


def test_a_complete_configuration_holds_the_defaults_of_its_methods(conf: Path) -> None:
    config = load_config(str(conf), overrides=["apfl.alpha=0.25"])
    full = complete(config)
    assert full.methods == {"fedprox": {"mu": 0.5, "train.lr": 0.01}, "apfl": {"alpha": 0.25, "alpha_lr": 0.1}}
    assert complete(RunConfig()).methods.keys() == {"pf-msmtrec"}
    assert complete(full) == full


def test_a_configured_method_has_its_own_settings_and_no_others() -> None:
    config = RunConfig(methods={"fedprox": {"mu": 0.5, "train.lr": 0.01}, "ditto": {"lam": 1.0}})
    own = METHODS["fedprox"].configure(config)
    assert (own.method, own.methods, own.train.lr) == ("fedprox", {"fedprox": {"mu": 0.5}}, 0.01)
    assert METHODS["fedprox"].configure(own) == own
    assert METHODS["ditto"].configure(config).methods == {"ditto": {"lam": 1.0}}
    assert METHODS["fedavg"].configure(config).methods == {}


@pytest.mark.parametrize("name", METHODS)
def test_what_there_is_to_tune_and_to_switch_is_a_setting(name: str) -> None:
    method = METHODS[name]
    config = method.configure(RunConfig())
    for key, values in method.space.items():
        for value in values:
            assert method.configure(config.with_own({key: value}, "test"))
    for switch in method.switches(config):
        assert method.configure(config.with_own(switch.settings, "test"))
    assert all("." in key for key in method.fixed)
    assert not method.settings.model_fields.keys() & {"method", "seed"}
