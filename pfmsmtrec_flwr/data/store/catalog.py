"""Tables of the prepared data, for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.filesize import decimal
from rich.table import Table

from pfmsmtrec_flwr.data.store.listing import dataset_names, list_scenarios, prepared_scenarios
from pfmsmtrec_flwr.data.store.manifest import JSON, SPLITS
from pfmsmtrec_flwr.data.store.reader import ScenarioStore, made_up_rows, unlabelled_rows

_SHOWN = 0.0005


def datasets_table(data_root: Path) -> Table:
    """Tabulate every prepared data set: scenarios, rows, size on disk, path."""
    table = Table(title=f"prepared data in {data_root}", title_justify="left")
    for heading in ("data set", "scenarios"):
        table.add_column(heading)
    for heading in ("rows", "on disk"):
        table.add_column(heading, justify="right")
    table.add_column("path", overflow="fold")
    for name in dataset_names(data_root):
        stores = list_scenarios(data_root, name)
        rows = sum(len(split) for store in stores for split in store.splits.values())
        size = sum(store.size_bytes() for store in stores)
        scenarios = ", ".join(store.scenario + ("*" if made_up_rows(store) else "") for store in stores)
        table.add_row(name, scenarios, f"{rows:,}", decimal(size), str(data_root / name))
        if any(map(made_up_rows, stores)):
            table.caption = "* with sampled negatives, see pfmsmtrec data show"
    return table


def dataset_tables(data_root: Path, dataset: str) -> Group:
    """Tabulate one data set: rows and positives of each scenario, split and task; then its fields.

    Raises
    ------
    UserError
        No data set of that name is prepared; the message lists those that are.
    """
    stores = prepared_scenarios(data_root, dataset)
    notes = [
        f"{store.scenario}: {note}"
        for store in stores
        for note in (made_up_rows(store), unlabelled_rows(store))
        if note
    ]
    return Group(_rates(dataset, stores), *notes, _fields(stores), _numeric(stores))


def _rates(dataset: str, stores: list[ScenarioStore]) -> Table:
    tasks = list(dict.fromkeys(task for store in stores for task in store.tasks))
    table = Table(title=f"{dataset}: rows, positives and their rate", title_justify="left")
    table.add_column("scenario")
    table.add_column("split")
    table.add_column("rows", justify="right")
    for task in tasks:
        table.add_column(task, justify="right")
    for store in stores:
        for split in SPLITS:
            pairs = zip(store.positives(split), store.labelled(split), strict=True)
            counts = dict(zip(store.tasks, pairs, strict=True))
            rows = len(store.splits[split])
            cells = [_rate(*counts[task]) if task in counts else "-" for task in tasks]
            table.add_row(store.scenario, split, f"{rows:,}", *cells, end_section=split == SPLITS[-1])
    return table


def _rate(positives: int, rows: int) -> str:
    """Return positives and their share of the rows with a label."""
    return f"{positives:,}  {positives / rows:6.2%}" if rows else "n/a"


def _fields(stores: list[ScenarioStore]) -> Table:
    table = Table(title="categorical fields: rows of their tables", title_justify="left")
    table.add_column("field", no_wrap=True)
    table.add_column("embedding")
    table.add_column("rows", justify="right")
    table.add_column("values, worst scenario")
    fields = {field.name: field for store in stores for field in store.fields}
    for name, field in fields.items():
        sizes = sorted({each.size for store in stores for each in store.fields if each.name == name})
        shown = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
        reports = [report for store in stores if isinstance(report := _encodings(store).get(name), dict)]
        embedding = "federated" if field.federated else "local"
        several = f", mean of up to {field.most}" if field.most > 1 else ""
        table.add_row(name, embedding + several, shown, _encoded(reports))
    return table


def _encodings(store: ScenarioStore) -> dict[str, JSON]:
    encodings = store.extra.get("encodings")
    return encodings if isinstance(encodings, dict) else {}


def _encoded(reports: Sequence[Mapping[str, Any]]) -> str:
    """Describe how a field's values were encoded in the scenario with the worst figures."""
    values, colliding, unknown = (
        max((report[key] for report in reports if key in report), default=0)
        for key in ("values", "colliding", "unknown")
    )
    hashed = f"{values:,}, {colliding:.1%} colliding" if values else ""
    return hashed or (f"{unknown:.1%} unknown" if unknown >= _SHOWN else "")


def _numeric(stores: list[ScenarioStore]) -> str:
    names = dict.fromkeys(name for store in stores for name in store.numeric)
    listed = f" ({', '.join(names)})" if 0 < len(names) <= 12 else ""
    return f"numeric columns: {len(names)}{listed}"
