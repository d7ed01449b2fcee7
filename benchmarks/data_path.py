"""Speed and memory of reading, preparing, opening and training, measured on made-up tables.

    python benchmarks/data_path.py reading --rows 2000000 --repeats 5
    python benchmarks/data_path.py scale --rows 500000
    python benchmarks/data_path.py memory --rows 10000000
    python benchmarks/data_path.py join --rows 4000000

The tables have the layout of AliExpress. Each measurement is a process of its own, so that none finds memory that
another one has warmed. Ways that are compared take turns within one run, and the ratio of their medians counts:
machines differ, and are noisy.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

CODES = (10, 4, 7, 2, 21, 7, 50, 8, 7, 2, 2, 2, 2, 2, 2, 2)
ROWS_AT_A_TIME = 250_000
USER_CATEGORIES, USER_NUMBERS = 9, 23
RAW_ITEM_CATEGORIES = (19, 34, 35, 36, 40, 41, 42)


def impressions(rows: int, seed: int, first_page: int) -> dict[str, np.ndarray]:
    """Make some consecutive rows of the preprocessed layout, fifteen items on a page."""
    draw = np.random.default_rng(seed)
    columns: dict[str, np.ndarray] = {"search_id": first_page + np.arange(rows) // 15}
    for number, codes in enumerate(CODES, start=1):
        columns[f"categorical_{number}"] = draw.integers(0, codes, rows)
    for number in range(1, 64):
        columns[f"numerical_{number}"] = np.round(draw.random(rows), 6) * (draw.random(rows) > 0.4)
    columns["click"] = (draw.random(rows) < 0.03).astype(np.int64)
    columns["conversion"] = columns["click"] * (draw.random(rows) < 0.1)
    return columns


def write_preprocessed(folder: Path, rows: int) -> Path:
    """Write train.csv with `rows` rows and a small test.csv of one country; return the source folder."""
    own = folder / "AliExpress_NL"
    own.mkdir(parents=True)
    for seed, (name, count) in enumerate({"train": rows, "test": 10_000}.items()):
        with (own / f"{name}.csv").open("wb") as file:
            for start in range(0, count, ROWS_AT_A_TIME):
                size = min(ROWS_AT_A_TIME, count - start)
                table = pa.table(impressions(size, seed * 10**6 + start, start // 15))
                options = pacsv.WriteOptions(include_header=start == 0, quoting_style="none")
                pacsv.write_csv(table, file, options)
    return folder


def write_raw(folder: Path, rows: int) -> Path:
    """Write the four zipped tables of one country; return the source folder."""
    folder.mkdir(parents=True)
    for seed, (part, count) in enumerate({"train": rows, "test": 10_000}.items()):
        for side in ("user", "item"):
            path = folder / f"nl_{side}_{part}.zip"
            with (
                zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
                archive.open(f"{path.stem}.csv", "w", force_zip64=True) as file,
            ):
                for start in range(0, count, ROWS_AT_A_TIME):
                    size = min(ROWS_AT_A_TIME, count - start)
                    made = impressions(size, seed * 10**6 + start, start // 15)
                    options = pacsv.WriteOptions(include_header=False, quoting_style="none")
                    pacsv.write_csv(raw_table(made, side), file, options)
    return folder


def raw_table(made: dict[str, np.ndarray], side: str) -> pa.Table:
    """Return the columns of one raw table, in its order."""
    categories = [made[f"categorical_{number}"] for number in range(1, 17)]
    numbers = [made[f"numerical_{number}"] for number in range(1, 64)]
    if side == "user":
        own = [made["search_id"], *categories[:7], *numbers[:USER_NUMBERS], *categories[7:USER_CATEGORIES]]
        pages = np.unique(made["search_id"], return_index=True)[1]
        return pa.table([column[pages] for column in own], names=[str(place) for place in range(1, 34)])
    own = [made["search_id"]]
    rest, places = iter(numbers[USER_NUMBERS:]), iter(categories[USER_CATEGORIES:])
    own += [next(places) if column in RAW_ITEM_CATEGORIES else next(rest) for column in range(2, 49)]
    own.append(made["click"] + made["conversion"])
    return pa.table(own, names=[str(place) for place in range(1, 50)])


# Measurements, each in a process of its own ----------------------------------------------------------------------


def read_with_pandas(source: Path) -> int:
    """Read with pandas, as most code does: the reference."""
    import pandas as pd

    return len(pd.read_csv(source / "AliExpress_NL" / "train.csv").to_numpy())


def read_columns(source: Path) -> int:
    """Parse the same file into columns."""
    from pfmsmtrec_flwr.data.read.blocks import ColumnSelection, ignore
    from pfmsmtrec_flwr.data.read.sources import SourceFolder
    from pfmsmtrec_flwr.data.read.tables import column_names, read_blocks
    from pfmsmtrec_flwr.data.schema.document import load_schema

    schema = load_schema("aliexpress")
    (file,) = SourceFolder(source, "aliexpress").find("AliExpress_NL/train.csv")
    names = column_names(file, schema.table)
    numbers = tuple(name for name in names if name.startswith("numerical"))
    columns = ColumnSelection(tuple(name for name in names if name not in numbers), numbers)
    return sum(block.rows.num_rows for block in read_blocks(file, schema.table, columns, ignore))


def read_derived(source: Path) -> int:
    """Read the same file as `prepare` does: into rows of embedding tables, hashes, numbers and labels."""
    from pfmsmtrec_flwr.data.prepare.columns import outputs_of
    from pfmsmtrec_flwr.data.prepare.rows import Reader
    from pfmsmtrec_flwr.data.prepare.source_parts import source_parts
    from pfmsmtrec_flwr.data.prepare.splits import resolve_split
    from pfmsmtrec_flwr.data.read.sources import SourceFolder
    from pfmsmtrec_flwr.data.schema.document import load_schema

    schema = load_schema("aliexpress")
    parts = source_parts(schema, SourceFolder(source, "aliexpress"), ["NL"])
    reader = Reader(schema, parts, source, progress=False)
    part = reader.parts[0]
    outputs = outputs_of(schema, ["NL"], resolve_split(schema, reader.column).parts[part.split])
    return sum(map(len, reader.rows(part, outputs)))


def prepare_store(source: Path, dataset: str = "aliexpress") -> int:
    """Prepare the whole store, the small test file included."""
    from pfmsmtrec_flwr.data.prepare.pipeline import prepare
    from pfmsmtrec_flwr.data.schema.document import load_schema

    (store,) = prepare(load_schema(dataset), source, source / "data", scenarios=["NL"], progress=False)
    return sum(map(len, store.splits.values()))


def prepare_joined(source: Path) -> int:
    """Prepare from the raw, zipped tables."""
    return prepare_store(source, "aliexpress-raw")


def open_store(source: Path) -> int:
    """Open the prepared store."""
    from pfmsmtrec_flwr.data.store.reader import ScenarioStore

    started = time.perf_counter()
    store = ScenarioStore.open(source / "data" / "aliexpress" / "NL")
    note(opened_ms=1000 * (time.perf_counter() - started))
    return len(store.splits["train"])


def go_through_batches(source: Path) -> int:
    """Go through the shuffled training rows once, as training does."""
    from pfmsmtrec_flwr.data.batches import batches
    from pfmsmtrec_flwr.data.store.reader import ScenarioStore

    train = ScenarioStore.open(source / "data" / "aliexpress" / "NL").splits["train"]
    rows, most = 0, 0
    for batch in batches(train, 2048, generator=np.random.default_rng(0)):
        rows += len(batch)
        most = max(most, own_memory()) if rows % (2048 * 64) == 0 else most
    note(own_mb=most / 1e6, mapped_mb=sum(file.stat().st_size for file in train_files(source)) / 1e6)
    return rows


def train_files(source: Path) -> list[Path]:
    """Return the files of the training rows."""
    return sorted((source / "data" / "aliexpress" / "NL").glob("*/train.*"))


MEASURED: dict[str, Callable[[Path], int]] = {
    function.__name__: function
    for function in (
        *(read_with_pandas, read_columns, read_derived, prepare_store, prepare_joined),
        *(open_store, go_through_batches),
    )
}


def note(**figures: float) -> None:
    """Print figures for the caller of this process."""
    print(json.dumps(figures), flush=True)


def own_memory() -> int:
    """Return the bytes of this process that are not files mapped into it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def run_one(name: str, source: Path) -> None:
    """Measure one thing in this process."""
    import pandas  # noqa: F401 - its import is no part of what is measured

    import pfmsmtrec_flwr.data.prepare.pipeline  # noqa: F401

    started = time.perf_counter()
    rows = MEASURED[name](source)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    note(rows=rows, seconds=seconds, peak_mb=peak)


def measure(function: Callable[[Path], int], source: Path) -> dict[str, float]:
    """Measure one thing in a new process."""
    command = [sys.executable, __file__, "one", "--name", function.__name__, "--source", str(source)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, float] = {}
    for line in done.stdout.splitlines():
        figures |= json.loads(line)
    return figures


# The commands --------------------------------------------------------------------------------------------------------


def compare_reading(folder: Path, rows: int, repeats: int) -> None:
    """Print rows per second of four ways to read one file, and their ratio to pandas'."""
    source = write_preprocessed(folder / "source", rows)
    size = (source / "AliExpress_NL" / "train.csv").stat().st_size
    functions = (read_with_pandas, read_columns, read_derived, prepare_store)
    taken: dict[str, list[float]] = {function.__name__: [] for function in functions}
    peaks: dict[str, float] = {}
    for _ in range(repeats):
        for function in functions:
            subprocess.run(["rm", "-rf", str(source / "data")], check=True)
            figures = measure(function, source)
            taken[function.__name__].append(figures["seconds"])
            peaks[function.__name__] = figures["peak_mb"]
    reference = median(taken["read_with_pandas"])
    print(f"{rows:,} rows, {size / 1e6:,.0f} MB, {pa.cpu_count()} threads, {repeats} turns")
    for name, seconds in taken.items():
        print(
            f"{name:18} {rows / median(seconds):10,.0f} rows/s  {reference / median(seconds):5.2f} x pandas  "
            f"{min(seconds):6.2f} to {max(seconds):6.2f} s  peak {peaks[name]:6,.0f} MB"
        )


def compare_sizes(folder: Path, rows: int) -> None:
    """Print the time that preparing takes for tables of one, two and four times as many rows."""
    for factor in (1, 2, 4):
        source = write_preprocessed(folder / f"source-{factor}", factor * rows)
        figures = measure(prepare_store, source)
        each = 1e6 * figures["seconds"] / (factor * rows)
        print(
            f"{factor * rows:10,} rows  {figures['seconds']:7.2f} s  {each:5.2f} us a row  {figures['peak_mb']:,.0f} MB"
        )


def measure_memory(folder: Path, rows: int) -> None:
    """Print the memory that preparing, opening and training on a large table take."""
    source = write_preprocessed(folder / "source", rows)
    size = (source / "AliExpress_NL" / "train.csv").stat().st_size / 1e6
    prepared = measure(prepare_store, source)
    times = size / prepared["peak_mb"]
    print(
        f"prepare: {rows:,} rows, {size:,.0f} MB of text, {prepared['seconds']:.0f} s, "
        f"peak {prepared['peak_mb']:,.0f} MB, the file is {times:.1f} times as large"
    )
    opened = [measure(open_store, source)["opened_ms"] for _ in range(5)]
    print(f"open: {median(opened):.1f} ms (median of 5 processes)")
    trained = measure(go_through_batches, source)
    print(
        f"one pass over {trained['rows']:,.0f} rows in batches: {trained['seconds']:.0f} s, "
        f"at most {trained['own_mb']:,.0f} MB of its own, libraries included; "
        f"the rows take {trained['mapped_mb']:,.0f} MB"
    )


def measure_join(folder: Path, rows: int) -> None:
    """Print time and memory of preparing from the raw, zipped layout."""
    source = write_raw(folder / "source", rows)
    size = sum(path.stat().st_size for path in source.glob("*_train.zip")) / 1e6
    figures = measure(prepare_joined, source)
    print(
        f"join: {rows:,} items on {rows // 15:,} pages, {size:,.0f} MB zipped, {figures['seconds']:.0f} s, "
        f"{rows / figures['seconds']:,.0f} rows/s, peak {figures['peak_mb']:,.0f} MB"
    )


def main() -> None:
    """Read the command line, and measure in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["reading", "scale", "memory", "join", "one"])
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--work", type=Path, default=None, help="folder for the tables, some gigabytes")
    parser.add_argument("--name", choices=list(MEASURED), help=argparse.SUPPRESS)
    parser.add_argument("--source", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.command == "one":
        run_one(options.name, options.source)
        return
    with TemporaryDirectory(dir=options.work) as folder:
        if options.command == "reading":
            compare_reading(Path(folder), options.rows, options.repeats)
        elif options.command == "scale":
            compare_sizes(Path(folder), options.rows)
        elif options.command == "memory":
            measure_memory(Path(folder), options.rows)
        else:
            measure_join(Path(folder), options.rows)


if __name__ == "__main__":
    main()
