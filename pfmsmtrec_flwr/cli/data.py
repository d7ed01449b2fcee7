"""The commands that prepare data sets and list the prepared ones."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pfmsmtrec_flwr.cli.options import DATA_FOLDER, DataOption, absolute

_SHOWN_FINDINGS = 10


def prepare_command(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of a file datasets/NAME.yaml, or path of a YAML file.")
    ],
    source: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the data set's own files.")],
    data: DataOption = DATA_FOLDER,
    scenario: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Prepare this scenario only; repeatable.")
    ] = None,
    negatives: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Number of negative rows made up per row; for tables of positive rows, if the schema allows.",
        ),
    ] = None,
) -> None:
    """Turn a data set's own files into a prepared store for each scenario."""
    from pfmsmtrec_flwr.data.check.checking import check_stores
    from pfmsmtrec_flwr.data.check.findings import findings_table, summary_of
    from pfmsmtrec_flwr.data.prepare.pipeline import prepare as prepare_stores
    from pfmsmtrec_flwr.data.schema.document import load_schema
    from pfmsmtrec_flwr.data.store.versions import current_version
    from pfmsmtrec_flwr.log import log_to_stderr

    log_to_stderr()
    root = absolute(data)
    schema = load_schema(name, negatives=negatives)
    before = {name: current_version(root / schema.name / name) for name in schema.scenarios}
    stores = prepare_stores(schema, absolute(source), root, scenarios=scenario or None, progress=True)
    console = Console()
    for store in stores:
        rows = ", ".join(f"{len(split):,} {which}" for which, split in store.splits.items())
        console.print(Text(f"{store.dataset} {store.scenario}: {rows}"), soft_wrap=True)
    console.print(Text(f"prepared in {root}"), soft_wrap=True)
    findings = check_stores([store for store in stores if store.version != before[store.scenario]])
    if findings:
        title = f"check of {schema.name}: {summary_of(findings)}"
        Console(stderr=True).print(findings_table(findings, title, _SHOWN_FINDINGS))


def data_init_command(
    table: Annotated[
        Path, typer.Argument(metavar="TABLE", help="A CSV or Parquet file, or a folder whose files are one table.")
    ],
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File of the schema to write.", show_default="./NAME.yaml")
    ] = None,
    name: Annotated[str, typer.Option(metavar="NAME", help="Name of the data set.", show_default="the table's")] = "",
) -> None:
    """Draft a schema for a table of your own, to be corrected by you."""
    from pfmsmtrec_flwr.data.draft import draft as drafting

    source = absolute(table)
    path = drafting.schema_path(source, output, name)
    draft = drafting.draft(source, name)
    draft.write(path)
    console = Console()
    for line in (
        f"looked at {draft.rows:,} rows: {draft.summary()}",
        f"wrote {path}",
        "next: read and correct every line of it, then",
        f"  pfmsmtrec prepare {shlex.quote(str(path))} --source {shlex.quote(str(draft.source))}",
    ):
        console.print(Text(line), soft_wrap=True)


def data_schemas_command() -> None:
    """List the data sets that `pfmsmtrec prepare` knows by name."""
    from pfmsmtrec_flwr.data.schema.document import known_schemas, load_schema
    from pfmsmtrec_flwr.plugins import OWN_PACKAGE

    schemas = known_schemas()
    table = Table(box=None, pad_edge=False)
    for heading in ("data set", "title", "package"):
        table.add_column(heading)
    for name in schemas:
        table.add_row(*(Text(part) for part in (name, load_schema(name).title, schemas.package(name) or OWN_PACKAGE)))
    Console().print(table)


def data_check_command(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME|SCHEMA", help="Name of a prepared data set, or path of its schema's YAML file."),
    ],
    data: DataOption = DATA_FOLDER,
) -> None:
    """Look for leaks in a prepared data set; the exit status is 1 if there is one."""
    from pfmsmtrec_flwr.data.check.checking import check_dataset
    from pfmsmtrec_flwr.data.check.findings import findings_table, summary_of
    from pfmsmtrec_flwr.data.schema.document import load_schema

    dataset = load_schema(name).name if name.endswith((".yaml", ".yml")) else name
    findings = check_dataset(absolute(data), dataset)
    title = f"check of {dataset}: {summary_of(findings)}"
    Console().print(findings_table(findings, title) if findings else title)
    if any(finding.leak for finding in findings):
        raise typer.Exit(1)


def data_list_command(data: DataOption = DATA_FOLDER) -> None:
    """List the prepared data sets."""
    from pfmsmtrec_flwr.data.store import catalog

    Console().print(catalog.datasets_table(absolute(data)))


def data_show_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a prepared data set.")],
    data: DataOption = DATA_FOLDER,
) -> None:
    """Print a prepared data set's rows, rates and fields."""
    from pfmsmtrec_flwr.data.store import catalog

    Console().print(catalog.dataset_tables(absolute(data), name))
