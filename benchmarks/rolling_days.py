"""Run one comparison for several test days, or for several made-up worlds, and put the figures together.

    python benchmarks/rolling_days.py kuairand --source DIR --days 20220501,20220502 --output OUT -- --seeds 5
    python benchmarks/rolling_days.py synthetic --worlds 1,2,3 --output OUT -- --methods alone,fedavg,pf-msmtrec

For each day the rows of later days are left out: the day is the test, the last one before it is for validation, and all
earlier ones are for training. For each world `data.synthetic.seed` is another. Options after ``--`` are those of
`pfmsmtrec compare`, which runs into OUT/NAME; with ``--tune`` all methods are tuned anew for each day. Test users are
then drawn once for all days and scenarios, and the difference to the reference is that of the means over both. The
table is printed and written to OUT/tables. Repeated, the command goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

import pandas as pd

from pfmsmtrec_flwr.cli.entry import app
from pfmsmtrec_flwr.comparison.evidence import Evidence, Source, evidence_of
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.data.prepare.pipeline import prepare
from pfmsmtrec_flwr.data.schema.document import DatasetSchema, load_schema
from pfmsmtrec_flwr.data.schema.split_sections import LastDays
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.methods.configuration import load_config
from pfmsmtrec_flwr.results.bootstrap import Bootstrap
from pfmsmtrec_flwr.results.intervals import BOLD_NOTE, interval_text, p_cell
from pfmsmtrec_flwr.results.rendering import TABLES_NAME, as_markdown, write_tables
from pfmsmtrec_flwr.results.summary import Summary, read_summary
from pfmsmtrec_flwr.results.tables import MISSING, Cell, FigureTable, Group, figure_cell, marked

DATA_NAME = "data"
CHUNK_ROWS = 500_000
DRAWS = 1000


def last_day_schema(schema: DatasetSchema) -> DatasetSchema:
    """Return the schema with the last day of its table as the test, and the one before it for validation.

    Raises
    ------
    UserError
        The schema does not split by day.
    """
    by_date = schema.split.by_date
    if by_date is None:
        raise UserError(f"{schema.name} does not split by day: rolling days need a schema with split.by_date")
    rolled = by_date.model_copy(update={"last_days": LastDays(), "validation": (), "test": ()})
    split = schema.split.model_copy(update={"by_date": rolled})
    return schema.model_copy(update={"split": split, "expected_rows": {}})


def cut_source(schema: DatasetSchema, source: Path, day: str, folder: Path) -> None:
    """Write the files of a data set without the rows of the main table after a day; other files are linked.

    Raises
    ------
    UserError
        The main table lacks the column of days, or has no row of the day.
    """
    assert schema.split.by_date is not None
    column = schema.split.by_date.column
    patterns = [pattern.replace("{scenario}", "*").lower() for pattern in schema.table.files]
    days: set[str] = set()
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        name = path.relative_to(source)
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        if not any(fnmatch(str(name).lower(), pattern) for pattern in patterns):
            target.symlink_to(path.resolve())
            continue
        for number, rows in enumerate(_read(schema, path)):
            if column not in rows:
                raise UserError(f"{path} has no column '{column}', by which {schema.name} is split")
            kept = rows[rows[column].astype(str) <= day]
            days |= set(kept[column].astype(str))
            _append(schema, kept, target, first=number == 0)
    if day not in days:
        raise UserError(f"no row of {schema.name} in {source} is of day {day}: days look like {max(days, default='?')}")


def _read(schema: DatasetSchema, path: Path) -> Iterator[pd.DataFrame]:
    if path.suffix == ".parquet":
        yield pd.read_parquet(path)
        return
    table = schema.table
    names = list(table.header) or None
    yield from pd.read_csv(
        path,
        sep=table.delimiter,
        quotechar=table.quote,
        names=names,
        header=None if names else 0,
        dtype=str,
        keep_default_na=False,
        chunksize=CHUNK_ROWS,
    )


def _append(schema: DatasetSchema, rows: pd.DataFrame, target: Path, *, first: bool) -> None:
    if target.suffix == ".parquet":
        rows.to_parquet(target)
        return
    header = first and not schema.table.header
    rows.to_csv(target, sep=schema.table.delimiter, index=False, header=header, mode="w" if first else "a")


def compared(conf: str, data: Path, output: Path, options: Sequence[str]) -> None:
    """Run `pfmsmtrec compare`.

    Raises
    ------
    UserError
        A run has failed.
    """
    command = ["compare", conf, "--data", str(data), "--output", str(output), *options]
    if app(command, standalone_mode=False):
        raise UserError(f"a run below {output} has failed: see its error above, and repeat the command")


def source_of(name: str, folder: Path, data: Path) -> tuple[Source, Summary]:
    """Return the runs of a finished comparison, and its summary.

    Raises
    ------
    UserError
        There is no summary, or a file is damaged.
    """
    summary = read_summary(folder)
    if summary is None or not summary.runs:
        raise UserError(f"no finished comparison in {folder}")
    config: RunConfig = load_config(str(folder / summary.runs[0].folder / "config.yaml"))
    return Source(name, folder, summary.runs, summary.scenarios, config.data, data), summary


def pooled_table(evidence: Evidence, found: Bootstrap, summaries: dict[str, Summary]) -> FigureTable:
    """Return a row for each variant: its AUC and its difference to the reference over all days, and each day's AUC."""
    first = next(iter(summaries.values()))
    replicates, reference = evidence.replicates, first.reference
    columns: list[list[Cell]] = [[Cell(variant) for variant in replicates.variants]]
    heads = ["method"]
    for task in replicates.tasks:
        everywhere = replicates.counted(task)
        groups = {"": everywhere} | {
            name: tuple(key for key in everywhere if key.startswith(f"{name}/")) for name in summaries
        }
        found_by = [found.difference(variant, reference, task) for variant in replicates.variants]
        for name, among in groups.items():
            cells = []
            for variant in replicates.variants:
                seeds = replicates.seeds(variant, task, among)
                cells.append(figure_cell(float(replicates.mean(variant, task, among, seeds)[0]) if seeds else None))
            leading = () if name else found.leading(task)
            bold = [variant in leading for variant in replicates.variants]
            columns.append(marked(cells, "higher", bold))
            heads.append(f"AUC, {task}{f', {name}' if name else ''}")
            if not name:
                columns.append([Cell("" if each is None else interval_text(each)) for each in found_by])
                columns.append([Cell("") if each is None else p_cell(each.p_holm) for each in found_by])
                heads += [f"difference to {reference}, {task}", f"p (Holm), {task}"]
    smallest = ", ".join(f"{task} {size:.4f}" for task, size in found.smallest.items())
    notes = (
        f"means over {', '.join(summaries)}, their scenarios and seeds; 95 % intervals by {found.draws} draws of "
        f"{found.units} test {found.unit}, once for all",
        "smallest difference that these test rows can show (80 % power at 5 %, median over methods): "
        f"{smallest or MISSING}",
        f"{BOLD_NOTE}; in the means alone",
        *([f"left out, as a run left no predictions: {', '.join(found.missing)}"] if found.missing else []),
    )
    title = f"{first.dataset}: AUC on the test rows of {len(summaries)} comparisons"
    return FigureTable("pooled", title, tuple(heads), 1, (Group("", tuple(zip(*columns, strict=True))),), notes)


def pool(folders: dict[str, tuple[Path, Path]], output: Path, draws: int = DRAWS) -> FigureTable:
    """Put finished comparisons together, and write the table and the intervals.

    Parameters
    ----------
    folders
        Folder of each comparison, and that of its prepared data, by name.
    output
        Folder of ``tables/`` and ``pooled.json``.
    draws
        Number of draws of test users.

    Raises
    ------
    UserError
        A comparison is missing, references differ, or no variant has predictions everywhere.
    """
    read = {name: source_of(name, *own) for name, own in folders.items()}
    summaries = {name: summary for name, (_, summary) in read.items()}
    if len(references := {summary.reference for summary in summaries.values()}) > 1:
        raise UserError(
            f"got comparisons with the references {', '.join(sorted(references))}, expected the same in all"
        )
    evidence = evidence_of([source for source, _ in read.values()], draws)
    if evidence is None:
        raise UserError("no variant has predictions in all comparisons: run them again into a new folder")
    found = evidence.bootstrap(references.pop())
    table = pooled_table(evidence, found, summaries)
    write_tables([table], output / TABLES_NAME)
    (output / "pooled.json").write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return table


def main(arguments: Sequence[str]) -> None:
    """Prepare, compare and pool."""
    own, options = list(arguments), list[str]()
    if "--" in own:
        place = own.index("--")
        own, options = own[:place], own[place + 1 :]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("conf", help="name of a conf file, or its path")
    parser.add_argument("--source", type=Path, help="folder of the data set's own files, for days")
    parser.add_argument("--schema", help="schema of the data set; default: CONF")
    parser.add_argument("--days", default="", help="test days as the table writes them, with commas between")
    parser.add_argument("--worlds", default="", help="seeds of made-up data, with commas between")
    parser.add_argument("--output", type=Path, required=True, help="folder of everything written")
    parser.add_argument("--draws", type=int, default=DRAWS, help="number of draws of test users")
    chosen = parser.parse_args(own)
    if bool(chosen.days) == bool(chosen.worlds) or bool(chosen.days) != bool(chosen.source):
        parser.error("expected either --days with --source, or --worlds")
    output = chosen.output.expanduser().resolve()
    folders = {}
    for name in (name.strip() for name in (chosen.days or chosen.worlds).split(",")):
        folder, data = output / name, output / name / DATA_NAME
        extra = ["--set", f"data.synthetic.seed={name}"] if chosen.worlds else []
        if chosen.days:
            schema = last_day_schema(load_schema(chosen.schema or chosen.conf))
            cut_source(schema, chosen.source.expanduser(), name, folder / "source")
            prepare(schema, folder / "source", data, progress=False)
        compared(chosen.conf, data, folder, [*options, *extra])
        folders[name] = (folder, data)
    print(as_markdown(pool(folders, output, chosen.draws)))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"error: {error}")
