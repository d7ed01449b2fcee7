"""Made-up rows: items that the user has no row for, in the split of the row they were made for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pfmsmtrec_flwr.data.encode.encoders import NO_HASH
from pfmsmtrec_flwr.data.prepare import scenario_rows
from pfmsmtrec_flwr.data.prepare.columns import UNKNOWN
from pfmsmtrec_flwr.data.prepare.negatives import add_negatives
from pfmsmtrec_flwr.data.prepare.scenario_rows import RowsLayout, ScenarioRows
from pfmsmtrec_flwr.data.prepare.spool import SpoolWriter
from pfmsmtrec_flwr.data.read.blocks import ignore
from pfmsmtrec_flwr.data.schema.task_sections import NegativesSection
from pfmsmtrec_flwr.data.store.manifest import NO_USER

LAYOUT = RowsLayout(("ctr", "like"), ("kind", "age"), ("item", "tag"), ("price", "weight"), users=True)
Rows = dict[str, np.ndarray]


def spec(per_positive: int = 2, **changes: Any) -> NegativesSection:
    document = {"task": "ctr", "scenarios": ["NL"], "item": "item", "item_features": ["kind", "price"]}
    return NegativesSection.model_validate(document | {"per_positive": per_positive} | changes)


def user_item_rows(pairs: list[tuple[int, int]], split: list[int] | None = None, ctr: list[int] | None = None) -> Rows:
    """Return rows of a user and an item each; the other columns are functions of these two."""
    users, items = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    rows = len(users)
    clicks = np.ones(rows, dtype=np.uint8) if ctr is None else np.array(ctr, dtype=np.uint8)
    return {
        "split": np.zeros(rows, dtype=np.int8) if split is None else np.array(split, dtype=np.int8),
        "labels": np.stack([clicks, np.ones_like(clicks)], axis=1),
        "rows": np.stack([items % 7 + 1, users % 5 + 1], axis=1).astype(np.int32),
        "hashes": np.stack([items, users + 100], axis=1).astype(np.uint64),
        "numbers": np.stack([items / 2, users / 2], axis=1),
        "users": users,
    }


def scenario(folder: Path, parts: list[Rows]) -> ScenarioRows:
    spools = []
    for place, part in enumerate(parts):
        with SpoolWriter(folder / f"part-{place}", LAYOUT.arrays()) as writer:
            writer.append(part)
            spools.append(writer.finish())
    return ScenarioRows("NL", LAYOUT, tuple(spools))


def made_up(folder: Path, parts: list[Rows], rule: NegativesSection) -> Rows:
    rows = scenario(folder, parts)
    found = add_negatives(rule, rows, folder / "negatives", ignore)
    assert found.spools == rows.spools
    assert found.made_up is not None
    return {name: found.made_up.column(name) for name in LAYOUT.arrays()}


PAIRS = [(user, (user * 5 + step) % 40 + 1) for user in range(30) for step in range(6)]


def test_new_items_of_the_same_user_with_the_items_own_features(tmp_path: Path) -> None:
    split = [row % 3 for row in range(len(PAIRS))]
    parts = [user_item_rows(PAIRS[:100], split[:100]), user_item_rows(PAIRS[100:], split[100:])]
    made = made_up(tmp_path, parts, spec())
    assert len(made["users"]) == 2 * len(PAIRS)
    np.testing.assert_array_equal(made["users"], np.repeat([user for user, _ in PAIRS], 2))
    np.testing.assert_array_equal(made["split"], np.repeat(split, 2))
    assert not made["labels"].any()
    items = made["hashes"][:, 0].astype(np.int64)
    assert not {*zip(made["users"].tolist(), items.tolist(), strict=True)} & {*PAIRS}
    assert set(items) == {item for _, item in PAIRS}
    np.testing.assert_array_equal(made["rows"][:, 0], items % 7 + 1)
    np.testing.assert_array_equal(made["numbers"][:, 0], items / 2)
    np.testing.assert_array_equal(made["rows"][:, 1], made["users"] % 5 + 1)
    np.testing.assert_array_equal(made["hashes"][:, 1], made["users"].astype(np.uint64) + 100)
    np.testing.assert_array_equal(made["numbers"][:, 1], made["users"] / 2)


def test_an_items_features_are_those_of_its_first_row(tmp_path: Path) -> None:
    rows = user_item_rows([(1, 10), (1, 10), (2, 20)])
    rows["numbers"][:, 0] = [5.0, 6.0, 7.0]
    made = made_up(tmp_path, [rows], spec(1))
    assert made["hashes"][:, 0].tolist() == [20, 20, 10]
    assert made["numbers"][:, 0].tolist() == [7.0, 7.0, 5.0]


def test_only_positive_rows_have_some_made(tmp_path: Path) -> None:
    made = made_up(tmp_path, [user_item_rows([(1, 10), (2, 20), (3, 30)], ctr=[0, 1, 0])], spec(4))
    assert made["users"].tolist() == [2] * 4
    assert set(made["hashes"][:, 0]) <= {10, 30}


def test_a_user_with_every_item_gets_none(tmp_path: Path) -> None:
    made = made_up(tmp_path, [user_item_rows([(1, 10), (1, 20), (2, 10)])], spec(3))
    assert made["users"].tolist() == [2] * 3
    assert made["hashes"][:, 0].tolist() == [20] * 3


def test_items_of_other_splits_are_not_drawn_either(tmp_path: Path) -> None:
    made = made_up(tmp_path, [user_item_rows([(1, 10), (1, 20), (2, 30)], split=[0, 2, 1])], spec(5))
    assert set(made["hashes"][made["users"] == 1, 0]) == {30}


@pytest.mark.parametrize(("item", "array", "column", "none"), [("item", "hashes", 0, NO_HASH), ("kind", "rows", 0, 0)])
def test_missing_and_unknown_items_are_not_drawn(tmp_path: Path, item: str, array: str, column: int, none: int) -> None:
    rows = user_item_rows([(1, 1), (2, 2), (3, 3), (4, 4)])
    rows[array][:2, column] = [none, none if array == "hashes" else UNKNOWN]
    made = made_up(tmp_path, [rows], spec(3, item=item, item_features=[]))
    assert len(made["users"]) == 12
    assert set(made[array][:, column]) == set(rows[array][2:, column])


def test_no_item_is_known(tmp_path: Path) -> None:
    rows = user_item_rows([(1, 1), (2, 2)])
    rows["hashes"][:, 0] = NO_HASH
    assert len(made_up(tmp_path, [rows], spec())["users"]) == 0


def test_rows_without_a_user(tmp_path: Path) -> None:
    made = made_up(tmp_path, [user_item_rows([(NO_USER, 10), (1, 20)])], spec(1))
    assert made["users"].tolist() == [NO_USER, 1]
    assert made["hashes"][:, 0].tolist() == [20, 10]


def test_the_same_each_time_and_another_for_another_seed(tmp_path: Path) -> None:
    drawn = [
        made_up(tmp_path / name, [user_item_rows(PAIRS)], spec(seed=seed))["hashes"][:, 0].tolist()
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]


def test_blocks_draw_differently_and_progress_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenario_rows, "BLOCK_ROWS", 50)
    pairs = [(0, 1)] * 100 + [(1, item) for item in range(2, 900)]
    reported: list[int] = []
    rows = scenario(tmp_path, [user_item_rows(pairs, ctr=[1] * 100 + [0] * 898)])
    found = add_negatives(spec(1), rows, tmp_path / "negatives", reported.append)
    assert found.made_up is not None
    items = found.made_up.column("hashes")[:, 0].tolist()
    assert len(items) == 100
    assert items[:50] != items[50:]
    assert reported == [50] * 19 + [48]
