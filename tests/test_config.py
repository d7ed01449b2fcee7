"""The configuration of a run: defaults, ranges, overrides, messages."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfmsmtrec_flwr.config import (
    CONF_FOLDER,
    FederationSettings,
    Fraction,
    MethodSettings,
    ModelSettings,
    RunConfig,
    TrainSettings,
    find_conf,
    read_config,
)
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.validation import load_yaml, parse


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    path = tmp_path / "own.yaml"
    path.write_text("method: fedavg\nseed: 3\ntrain:\n  lr: 1e-3\n  batch_size: 64\n")
    return path


def message_of(conf: Path, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        read_config(str(conf), overrides=overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_file_changes_what_it_names_and_nothing_else(conf: Path) -> None:
    assert read_config(str(conf)) == RunConfig(method="fedavg", seed=3, train=TrainSettings(lr=1e-3, batch_size=64))


def test_a_small_number_is_a_number(conf: Path) -> None:
    conf.write_text("train: {lr: 2e-3, weight_decay: 1E-6}")
    train = read_config(str(conf)).train
    assert (train.lr, train.weight_decay) == (0.002, 1e-6)


@pytest.mark.parametrize("name", sorted(file.stem for file in CONF_FOLDER.glob("*.yaml")))
def test_every_conf_that_comes_along_is_sound(name: str) -> None:
    assert read_config(name) == read_config(str(CONF_FOLDER / f"{name}.yaml"))


def test_overrides(conf: Path) -> None:
    config = read_config(
        str(conf),
        overrides=[
            "train.lr=2e-3",
            "model.expert_layers=[8, 4]",
            " federation.patience =0",
            "federation.scenarios=[ES, US]",
            "data.synthetic={train_rows: 100}",
            "train.batch_size=32",
            "train.batch_size=48",
        ],
    )
    assert (config.train.lr, config.train.batch_size) == (0.002, 48)
    assert config.model.expert_layers == (8, 4)
    assert config.federation == FederationSettings(patience=0, scenarios=("ES", "US"))
    assert config.data.synthetic == {"train_rows": 100}


def test_method_and_seed_win_over_file_and_overrides(conf: Path) -> None:
    config = read_config(str(conf), method="fedbn", seed=0, overrides=["seed=9", "method=alone"])
    assert (config.method, config.seed) == ("fedbn", 0)
    config = read_config(str(conf), overrides=["seed=9", "method=alone"])
    assert (config.method, config.seed) == ("alone", 9)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.lr", "got the setting 'train.lr', expected KEY=VALUE such as train.lr=0.002"),
        ("=3", "got the setting '=3', expected KEY=VALUE such as train.lr=0.002"),
        ("train.lr=[", "setting 'train.lr=[': '[' is not a YAML value"),
        ("seed.x=3", "setting 'seed.x': 'seed' is a value, not a section"),
    ],
)
def test_settings_that_cannot_be_read(conf: Path, override: str, message: str) -> None:
    assert message_of(conf, override) == message


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.lrr=1", "unknown key 'train.lrr'; did you mean 'lr'?"),
        ("trian=1", "unknown key 'trian'; did you mean 'train'?"),
        ("train.lr=fast", "key 'train.lr': got 'fast'; input should be a valid number"),
        ("train.lr=", "key 'train.lr': got null; input should be a valid number"),
        ("train.lr=0", "key 'train.lr': got 0; input should be greater than 0"),
        ("train.batch_size=16.5", "key 'train.batch_size': got 16.5; input should be a valid integer"),
        ("train.batch_size=1", "key 'train.batch_size': got 1; input should be greater than or equal to 2"),
        (
            "model.expert_layers=[8, 0]",
            "key 'model.expert_layers.1': got 0; input should be greater than or equal to 1",
        ),
        ("model.dropout=1", "key 'model.dropout': got 1; input should be less than 1"),
        ("data.train_fraction=1.5", "key 'data.train_fraction': got 1.5; input should be less than or equal to 1"),
        ("federation.scenarios=[a, a]", "key 'federation.scenarios': got ['a', 'a']; names must not repeat"),
        ("seed=true", "key 'seed': got True; input should be a valid integer"),
    ],
)
def test_mistakes_name_file_and_setting(conf: Path, override: str, message: str) -> None:
    assert message_of(conf, override) == f"{conf} with {override}: {message}"


IMPOSSIBLE = [
    (ModelSettings, "embedding_dim", 0),
    (ModelSettings, "experts", 0),
    (ModelSettings, "expert_layers", []),
    (ModelSettings, "tower_layers", [0]),
    (ModelSettings, "dropout", -0.1),
    (ModelSettings, "embedding_dropout", 1.0),
    (TrainSettings, "lr", float("nan")),
    (TrainSettings, "weight_decay", -1e-9),
    (TrainSettings, "local_epochs", 0),
    (TrainSettings, "max_local_steps", -1),
    (TrainSettings, "optimizer_state", "drop"),
    (TrainSettings, "ema_decay", 1.0),
    (TrainSettings, "reestimate_batch_norm", 1),
    (TrainSettings, "reestimate_rows", 0),
    (TrainSettings, "device", "gpu"),
    (TrainSettings, "device", "cuda:x"),
    (TrainSettings, "threads", 0),
    (FederationSettings, "rounds", 0),
    (FederationSettings, "patience", -1),
    (FederationSettings, "selection", "best"),
    (FederationSettings, "tables", "column"),
    (FederationSettings, "round_timeout", 0),
    (FederationSettings, "node_timeout", 0),
    (FederationSettings, "min_scenarios", -1),
]


@pytest.mark.parametrize(("section", "key", "value"), IMPOSSIBLE)
def test_impossible_values_are_refused(section: type, key: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"1 validation error for {section.__name__}\n{key}"):
        section.model_validate({key: value})  # type: ignore[attr-defined]


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:3"])
def test_devices(device: str) -> None:
    assert TrainSettings(device=device).device == device


def test_a_misspelt_conf_is_answered_with_the_one_meant() -> None:
    with pytest.raises(UserError, match=r"the path of a YAML file; did you mean 'kuairand'\?$"):
        find_conf("kuairnad")


@pytest.mark.parametrize("name", ["nope", "../conf/synthetic", "", "missing.yaml", "sub/synthetic"])
def test_an_unknown_conf_names_the_known_ones(name: str) -> None:
    with pytest.raises(UserError) as caught:
        find_conf(name)
    known = ", ".join(sorted(file.stem for file in CONF_FOLDER.glob("*.yaml")))
    assert str(caught.value) == f"conf '{name}' not found: expected one of {known}, or the path of a YAML file"


def test_a_conf_by_name_or_path(conf: Path, home: Path) -> None:
    assert find_conf("synthetic") == CONF_FOLDER / "synthetic.yaml"
    assert find_conf(str(conf)) == conf.resolve()
    (home / "mine.yml").write_text("")
    assert find_conf("~/mine.yml") == (home / "mine.yml").resolve()


def test_a_file_of_another_kind_is_no_conf(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("")
    with pytest.raises(UserError, match="not found"):
        find_conf(str(path))


def test_infinity_is_refused(conf: Path) -> None:
    conf.write_text("train: {lr: .inf}")
    with pytest.raises(UserError, match=r"key 'train\.lr': got inf"):
        read_config(str(conf))


@pytest.mark.parametrize("text", ["methods: 3", "methods: {fedavg: 3}", "methods: {fedavg: {train: {lr: 0.5}}}"])
def test_methods_that_are_no_mapping_of_settings_are_refused(conf: Path, text: str) -> None:
    conf.write_text(text)
    with pytest.raises(UserError, match="key 'methods"):
        read_config(str(conf), overrides=["train.lr=0.1"])


@pytest.mark.parametrize("value", ["[1, 2]", "null"])
def test_a_methods_setting_that_is_no_single_value_is_named_as_it_is_written(conf: Path, value: str) -> None:
    with pytest.raises(UserError, match=r"key 'methods.fedprox.mu': got (\[1, 2\]|None), expected a single value$"):
        read_config(str(conf), overrides=[f"fedprox.mu={value}"])


def test_a_key_that_is_there_twice_is_refused(conf: Path) -> None:
    conf.write_text("seed: 1\nseed: 2\n")
    with pytest.raises(UserError, match="a key is there twice"):
        read_config(str(conf))


@given(
    st.builds(
        RunConfig,
        method=st.sampled_from(["pf-msmtrec", "no", "1", "a: b"]),
        seed=st.integers(0, 2**63),
        train=st.builds(TrainSettings, lr=st.floats(1e-12, 1e3), mixed_precision=st.booleans()),
        model=st.builds(
            ModelSettings, expert_layers=st.lists(st.integers(1, 9), min_size=1).map(tuple), tower_layers=st.just(())
        ),
        federation=st.builds(
            FederationSettings, scenarios=st.sampled_from([(), ("NL", "NO"), ("1", "true"), ("0", "é"), ("1e3",)])
        ),
        methods=st.dictionaries(
            st.sampled_from(["fedavg", "no", "1"]),
            st.dictionaries(
                st.sampled_from(["mu", "train.lr", "y"]),
                st.one_of(st.booleans(), st.integers(), st.floats(0, 1), st.text("e1no: ")),
            ),
        ),
    )
)
def test_what_is_written_is_read_back(config: RunConfig) -> None:
    assert parse(RunConfig, load_yaml(config.to_yaml()), "what was written") == config


def test_a_methods_own_settings_hold_for_that_method_alone(conf: Path) -> None:
    conf.write_text("train: {lr: 0.1, batch_size: 8}\nmethods: {fedavg: {train.lr: 2e-3, model.experts: 2}}")
    config = read_config(str(conf))
    own, other = config.for_method("fedavg"), config.for_method("alone")
    assert own == RunConfig(
        method="fedavg", train=TrainSettings(lr=0.002, batch_size=8), model=ModelSettings(experts=2)
    )
    assert other == RunConfig(method="alone", train=TrainSettings(lr=0.1, batch_size=8))


def test_a_setting_on_the_command_line_holds_for_every_method(conf: Path) -> None:
    conf.write_text("methods: {fedavg: {train.lr: 0.5, train.threads: 2}}")
    own = read_config(str(conf), overrides=["train.lr=0.25"]).for_method("fedavg")
    assert (own.train.lr, own.train.threads) == (0.25, 2)


def test_a_mistake_in_a_methods_settings(conf: Path) -> None:
    conf.write_text("methods: {fedavg: {train.lr: -1}}")
    with pytest.raises(UserError) as caught:
        read_config(str(conf)).for_method("fedavg")
    message = "settings of method fedavg (train.lr): key 'train.lr': got -1; input should be greater than 0"
    assert str(caught.value) == message


def test_everything_is_written() -> None:
    text = RunConfig().to_yaml()
    for section in (ModelSettings, TrainSettings, FederationSettings):
        assert all(f"\n  {key}:" in text for key in section.model_fields)


def test_a_methods_settings_on_the_command_line(conf: Path) -> None:
    conf.write_text("methods:\n  fedavg: &shared {train.lr: 0.5}\n  fedprox: *shared\n")
    overrides = ["fedprox.mu=0.01", "fedprox.train.lr=0.25", "methods.ditto.lam=1", "pf-msmtrec.gates=federated"]
    assert read_config(str(conf), overrides=overrides).methods == {
        "fedavg": {"train.lr": 0.5},
        "fedprox": {"train.lr": 0.25, "mu": 0.01},
        "ditto": {"lam": 1},
        "pf-msmtrec": {"gates": "federated"},
    }
    assert read_config(str(conf), overrides=[*overrides, "train.lr=0.125"]).for_method("fedprox") == RunConfig(
        method="fedprox", train=TrainSettings(lr=0.125), methods={"fedprox": {"mu": 0.01}}
    )


@pytest.mark.parametrize("override", ["fedprox.mu=1", "methods.fedprox.mu=1"])
def test_a_value_in_the_place_of_a_methods_settings_is_refused(conf: Path, override: str) -> None:
    key = override.removeprefix("methods.").removesuffix("=1")
    for text, value in (("methods: 3", "methods"), ("methods: {fedprox: 3}", "fedprox")):
        conf.write_text(text)
        assert message_of(conf, override) == f"setting '{key}': '{value}' is a value, not a section"


class OwnSettings(MethodSettings):
    """Settings of a made-up method."""

    weight: Fraction = 0.5
    """Weight of something."""


def test_own_settings_are_typed_and_have_defaults() -> None:
    config = RunConfig(method="mine", methods={"mine": {"weight": 0.25, "train.lr": 0.5}, "other": {"weight": 1.0}})
    assert config.own(OwnSettings) == OwnSettings(weight=0.25)
    assert RunConfig().own(OwnSettings) == OwnSettings(weight=0.5)
    assert config.for_method("mine") == RunConfig(
        method="mine", train=TrainSettings(lr=0.5), methods={"mine": {"weight": 0.25}}
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight": 2.0}, "key 'mine.weight': got 2.0; input should be less than or equal to 1"),
        ({"weight": "x"}, "key 'mine.weight': got 'x'; input should be a valid number"),
        ({"wieght": 0.5}, "unknown key 'mine.wieght'; did you mean 'weight'?"),
    ],
)
def test_mistakes_in_own_settings(settings: dict[str, float | str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        RunConfig(method="mine", methods={"mine": settings}).own(OwnSettings)
    assert str(caught.value) == f"settings of method mine: {message}"


def test_settings_of_another_method_cannot_hide_under_a_method() -> None:
    config = RunConfig(methods={"fedavg": {"fedprox.mu": 1.0}})
    with pytest.raises(UserError, match=r"unknown key 'fedprox\.mu'; a dotted key begins with one of data, model, tr"):
        config.for_method("fedavg")
