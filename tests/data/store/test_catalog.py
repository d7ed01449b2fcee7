"""Tables that `data list` and `data show` print."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import written_stores
from rich.console import Console, RenderableType

from pfmsmtrec_flwr.data.store.catalog import dataset_tables, datasets_table
from pfmsmtrec_flwr.data.store.listing import dataset_names
from pfmsmtrec_flwr.data.store.manifest import MISSING_LABEL, SPLITS, Field
from pfmsmtrec_flwr.data.store.writer import StoreWriter
from pfmsmtrec_flwr.errors import UserError


def write(root: Path, scenario: str, local_rows: int, tasks: tuple[str, ...]) -> None:
    with StoreWriter(
        root / "shop" / scenario,
        dataset="shop",
        scenario=scenario,
        fields=[Field("user", local_rows, False), Field("item", 5000, True)],
        numeric=["price"],
        tasks=tasks,
        schema_hash="x",
        users=False,
    ) as writer:
        for split in SPLITS[:2]:
            labels = np.zeros((1200, len(tasks)), dtype=np.uint8)
            labels[:300, 0] = 1
            writer.append(split, categorical=np.zeros((1200, 2), np.int32), numeric=np.zeros((1200, 1)), labels=labels)
        writer.commit()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path, "NL", 10, ("ctr", "ctcvr"))
    write(tmp_path, "ES", 1010, ("ctr",))
    (tmp_path / "empty").mkdir()
    return tmp_path


def lines(shown: RenderableType) -> list[list[str]]:
    console = Console(width=300, record=True, file=Path("/dev/null").open("w"))  # noqa: SIM115
    console.print(shown)
    console.file.close()
    text = console.export_text().replace("┃", "│")
    return [[cell.strip() for cell in line.split("│") if cell.strip()] for line in text.splitlines()]


def test_list(root: Path) -> None:
    assert dataset_names(root) == ["shop"]
    row = next(line for line in lines(datasets_table(root)) if line and line[0] == "shop")
    size = sum(file.stat().st_size for file in root.rglob("*") if file.is_file())
    assert row == ["shop", "ES, NL", "4,800", f"{size / 1000:.1f} kB", str(root / "shop")]


def test_list_of_nothing(tmp_path: Path) -> None:
    assert dataset_names(tmp_path / "none") == []
    assert datasets_table(tmp_path / "none").row_count == 0


def test_show(root: Path) -> None:
    shown = lines(dataset_tables(root, "shop"))
    assert ["scenario", "split", "rows", "ctr", "ctcvr"] in shown
    assert ["ES", "train", "1,200", "300  25.00%", "-"] in shown
    assert ["NL", "validation", "1,200", "300  25.00%", "0   0.00%"] in shown
    assert ["NL", "test", "0", "n/a", "n/a"] in shown
    assert ["user", "local", "10 to 1,010"] in shown
    assert ["item", "federated", "5,000"] in shown
    assert ["numeric columns: 1 (price)"] in shown


def test_show_counts_the_rows_with_a_label(root: Path) -> None:
    with written_stores.writer(root / "shop" / "US", unlabelled=["ctcvr"]) as writer:
        for split in SPLITS:
            own = written_stores.rows(0, 8)
            own["labels"] = np.where([[False, number < 3] for number in range(8)], MISSING_LABEL, own["labels"])
            writer.append(split, **own)
        writer.commit()
    shown = lines(dataset_tables(root, "shop"))
    assert ["US", "train", "8", "4  50.00%", "1  20.00%"] in shown
    assert ["US: ctcvr: 9 rows without a label do not count (train 3, validation 3, test 3)"] in shown


def test_show_of_what_is_not_prepared(root: Path) -> None:
    with pytest.raises(UserError, match=r"no prepared data of 'kuairand' .*prepared: shop.*pfmsmtrec prepare kuairand"):
        dataset_tables(root, "kuairand")
