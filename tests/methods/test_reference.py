from __future__ import annotations

from pathlib import Path

import pytest

import pfmsmtrec_flwr
from pfmsmtrec_flwr.methods import METHODS
from pfmsmtrec_flwr.methods.base import Range, Space
from pfmsmtrec_flwr.methods.reference import (
    SettingEntry,
    SettingGroup,
    common_groups,
    method_group,
    settings_markdown,
)

PAGE = Path(pfmsmtrec_flwr.__file__).resolve().parent.parent / "docs" / "settings.md"
GROUPS = [*common_groups(), *(method_group(name) for name in METHODS)]
ENTRIES = [entry for group in GROUPS for entry in group.entries]


def entry(key: str) -> SettingEntry:
    (found,) = (entry for entry in ENTRIES if entry.key == key)
    return found


def test_the_page_is_made_from_the_code() -> None:
    assert PAGE.read_text() == settings_markdown(), "pfmsmtrec settings --markdown > docs/settings.md"


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: str(entry.key))
def test_every_setting_is_described_in_one_sentence(entry: SettingEntry) -> None:
    assert entry.meaning.endswith(".")
    assert entry.meaning[0].isupper()
    assert ". " not in entry.meaning
    assert entry.default


def test_types_and_ranges_are_words() -> None:
    assert entry("seed") == SettingEntry("seed", "whole number", "0", "≥ 0", "Seed of every random draw.")
    assert (entry("model.expert_layers").kind, entry("model.expert_layers").limits) == (
        "list of whole numbers",
        "not empty, each ≥ 1",
    )
    assert entry("model.expert_layers").default == "[64, 32]"
    assert (entry("federation.scenarios").kind, entry("federation.scenarios").limits) == ("list of names", "")
    assert (entry("train.ema_decay").kind, entry("train.ema_decay").limits) == ("number", "≥ 0, < 1")
    assert (entry("federation.tables").kind, entry("federation.tables").limits) == ("choice", "rows, plain, local")
    assert (entry("train.mixed_precision").kind, entry("train.mixed_precision").default) == ("true or false", "false")
    assert (entry("data.synthetic").kind, entry("data.synthetic").default) == ("mapping", "{}")


def test_a_method_says_what_it_fixes_and_what_is_tuned() -> None:
    assert method_group("fedhca2").notes() == [
        "Tuned: conflict_radius in 0.2, 0.4, 0.6; alpha in 0.1, 0.5; beta in 0.1, 0.5; hyper_lr in 0.01, 0.1.",
    ]
    assert [entry.key for entry in method_group("fedprox").entries] == ["fedprox.mu"]
    assert (list(method_group("fedbn").entries), method_group("fedbn").notes()) == ([], [])
    assert (list(method_group("fedavg").entries), method_group("fedavg").notes()) == (
        [],
        ["Fixed: federation.tables = plain, train.reestimate_batch_norm = false."],
    )


def test_a_range_is_shown_by_its_ends() -> None:
    space: Space = {"mu": Range(0.001, 1.0, log=True), "share": Range(0.0, 0.5), "gates": ("local", "federated")}
    group = SettingGroup("a-method", "A method.", [], space=space)
    assert group.notes() == [
        "Tuned: mu from 0.001 to 1.0 (by ratio); share from 0.0 to 0.5; gates in local, federated."
    ]
