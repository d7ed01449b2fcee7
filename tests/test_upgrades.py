"""Every setting of version 0.1 is known by its name, or by one line that says what became of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import pfmsmtrec_flwr
from pfmsmtrec_flwr.comparison.harness import prepare_plan
from pfmsmtrec_flwr.comparison.request import Options
from pfmsmtrec_flwr.config import SECTIONS, RunConfig
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.methods import METHODS, find_method
from pfmsmtrec_flwr.methods.configuration import load_config
from pfmsmtrec_flwr.upgrades import IMPLIED, UPGRADES

OLD_SECTIONS = {
    "data": "name train_fraction synthetic",
    "model": "architecture embedding_dim experts specific_experts extraction_levels calibrator_weight expert_layers "
    "tower_layers dropout embedding_dropout template",
    "train": "lr weight_decay embedding_optimizer embedding_lr batch_size min_steps local_epochs max_local_steps "
    "optimizer_state consensus_weight averaging reestimate_batch_norm reestimate_rows device threads mixed_precision",
    "federation": "rounds patience selection smoothing round_timeout node_timeout min_scenarios scenarios "
    "evaluate_consensus reference",
    "aggregation": "schedule tower_steps conflict_radius alpha beta share_lr pull consensus average_global gates "
    "normalization towers output_bias embeddings row_balance personal_embeddings",
    "baselines": "proximal_weight head_epochs mixture mixture_lr attention_step attention_width "
    "inverse_regularization leaves tree_lr",
}
"""Settings of version 0.1 by section."""
OLD = [f"{section}.{key}" for section, keys in OLD_SECTIONS.items() for key in keys.split()]
NEW = {f"{section}.{key}" for section in SECTIONS for key in type(getattr(RunConfig(), section)).model_fields}
OWN = {f"{name}.{key}" for name, method in METHODS.items() for key in method.settings.model_fields}
PAGE = Path(pfmsmtrec_flwr.__file__).resolve().parent.parent / "docs" / "upgrading.md"

changed = pytest.mark.parametrize("old", sorted(UPGRADES))


def line_of(conf: Path | str, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        load_config(str(conf), overrides=overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def expected(old: str, method: str = "") -> str:
    upgrade = UPGRADES[old]
    if not upgrade.new:
        return f"'{old}' was removed in version 0.2: {upgrade.reason}"
    named = [key.removeprefix(f"{method}.") for key in upgrade.new]
    return f"'{old}' is called {' or '.join(repr(key) for key in named)} since version 0.2"


def test_an_old_setting_is_either_known_or_has_a_line() -> None:
    assert set(UPGRADES) == set(OLD) - NEW
    assert {key for upgrade in UPGRADES.values() for key in upgrade.new} <= NEW | OWN
    assert all(bool(upgrade.new) != bool(upgrade.reason) for upgrade in UPGRADES.values())


@changed
def test_on_the_command_line(old: str) -> None:
    assert line_of("synthetic", f"{old}=1") == f"--set: {expected(old)} (docs/upgrading.md)"
    assert expected(old, "fedavg") in line_of("synthetic", f"fedavg.{old}=1")
    section, _, key = old.partition(".")
    assert expected(old) in line_of("synthetic", f"{section}={{{key}: 1}}")


@changed
def test_in_a_file(tmp_path: Path, old: str) -> None:
    section, _, key = old.partition(".")
    path = tmp_path / "old.yaml"
    path.write_text(yaml.safe_dump({"method": "fedavg", section: {key: 1}}))
    assert line_of(path) == f"{path}: {expected(old)} (docs/upgrading.md)"


@changed
def test_under_a_method_and_in_tuned_settings(tmp_path: Path, old: str) -> None:
    path = tmp_path / "tuned.yaml"
    for method in ("pf-msmtrec", "ditto"):
        path.write_text(yaml.safe_dump({"methods": {method: {"train.lr": 0.1, old: 1}}}))
        line = f"{path}: methods.{method}: {expected(old, method)} (docs/upgrading.md)"
        assert line_of(path) == line
        with pytest.raises(UserError) as caught:
            Options(tuned=path).with_tuned(RunConfig())
        assert str(caught.value) == line


def test_the_configuration_of_an_old_run_names_the_first_and_counts_the_others(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({name: dict.fromkeys(keys.split(), 1) for name, keys in OLD_SECTIONS.items()}))
    more = len(UPGRADES) - 1
    assert line_of(path) == (
        f"{path}: {expected('aggregation.schedule')}, and {more} more settings have changed (docs/upgrading.md)"
    )


@pytest.mark.parametrize("where", ["runs/alone/seed0-1", "trials/alone/1", "joining/fedavg/x"])
def test_an_old_comparison_is_not_continued(tmp_path: Path, where: str) -> None:
    (tmp_path / where).mkdir(parents=True)
    (tmp_path / where / "config.yaml").write_text("method: alone\naggregation:\n  pull: 0.5\n")
    with pytest.raises(UserError) as caught:
        prepare_plan(RunConfig(), Options(), tmp_path / "data", tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} holds a comparison of version 0.1: name another --output, or remove it (docs/upgrading.md)"
    )


@pytest.mark.parametrize(("key", "own"), IMPLIED.items())
def test_what_a_method_sets_is_set_by_its_own_setting(tmp_path: Path, key: str, own: str) -> None:
    assert line_of("synthetic", f"{key}=none") == f"--set: '{key}' follows from '{own}': set that instead"
    path = tmp_path / "conf.yaml"
    path.write_text(yaml.safe_dump({"methods": {"pf-msmtrec": {key: "none"}}}))
    short = own.removeprefix("pf-msmtrec.")
    assert line_of(path) == f"{path}: methods.pf-msmtrec: '{key}' follows from '{short}' (docs/upgrading.md)"
    path.write_text(
        find_method("pf-msmtrec").configure(RunConfig()).to_yaml()
    )  # as a run leaves it: it can be read again
    assert load_config(str(path), overrides=[f"{own}={'none' if 'template' in own else 'all'}"])


def test_the_page_lists_what_changed() -> None:
    rows = re.findall(r"^\| `([^|]+)` \| (.+) \|$", PAGE.read_text(), re.MULTILINE)
    assert rows == [
        (old, ", ".join(f"`{key}`" for key in upgrade.new) or f"removed: {upgrade.reason}")
        for old, upgrade in UPGRADES.items()
    ]
