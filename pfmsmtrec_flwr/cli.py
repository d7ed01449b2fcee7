"""The `pfmsmtrec` command."""

from __future__ import annotations

import logging
import os
import shlex
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from click import ClickException
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pfmsmtrec_flwr import __version__
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.log import logger

if TYPE_CHECKING:  # what computes is imported by the command that needs it: `--help` answers at once
    from pfmsmtrec_flwr.comparison.planning import Plan
    from pfmsmtrec_flwr.config import RunConfig
    from pfmsmtrec_flwr.results.progress import Display

DATA_FOLDER = Path("~/.pfmsmtrec/data")
RUNS_FOLDER = Path("runs")
COMPARISONS_FOLDER = Path("compare")
CONFIG_NAME = "config.yaml"
SYNTHETIC = "synthetic"
INLINE_LOG_NAME = "inline.log"

_INTERRUPTED = 130
_INLINE_POLL_SECONDS = 0.5

app = typer.Typer(
    name="pfmsmtrec",
    help="Personalized federated multi-scenario multi-task recommendation (PF-MSMTrec) on Flower.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Say what data is prepared.", no_args_is_help=True)
app.add_typer(data_app, name="data")


class Engine(StrEnum):
    """What carries the messages between server and clients."""

    FLOWER = "flower"
    INLINE = "inline"


DataOption = Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder of prepared data.")]


def main() -> None:
    """Run the command line, and leave with its exit status."""
    try:
        status = app(standalone_mode=False)
    except UserError as error:
        _fail(str(error), 1)
    except ClickException as error:
        _fail(f"{error.format_message()} (see pfmsmtrec --help)", error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        status = _INTERRUPTED
    if status == _INTERRUPTED:  # some versions of typer return it, others raise
        _fail("interrupted", _INTERRUPTED)
    sys.exit(status if isinstance(status, int) else 0)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"pfmsmtrec {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Options that stand before a command."""


@app.command()
def run(
    conf: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="A file conf/NAME.yaml, or the path of a YAML file.")
    ] = "synthetic",
    method: Annotated[str, typer.Option(metavar="NAME", help="Method, see `pfmsmtrec methods`.")] = "",
    seed: Annotated[int | None, typer.Option(metavar="N", min=0, help="Seed of every random draw.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, such as train.lr=0.002; repeatable."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the results.", show_default="./runs/CONF-METHOD-seedN-TIME"),
    ] = None,
    data: DataOption = DATA_FOLDER,
    engine: Annotated[
        Engine, typer.Option(help="Flower's simulation engine, or all clients in this process.")
    ] = Engine.FLOWER,
    num_supernodes: Annotated[int, typer.Option(metavar="N", min=1, help="Nodes that host the scenarios.")] = 2,
    cpus_per_client: Annotated[
        float | None, typer.Option(metavar="X", help="CPUs that a client takes.", show_default="its train.threads")
    ] = None,
    gpus_per_client: Annotated[
        float | None,
        typer.Option(metavar="X", help="Share of a GPU that a client takes.", show_default="an equal share"),
    ] = None,
) -> None:
    """Train a method, and print the table of its test figures."""
    from pfmsmtrec_flwr.config import load_config

    config = load_config(conf, method=method, seed=-1 if seed is None else seed, overrides=settings or ())
    _check_methods(config, engine)
    data = _absolute(data)
    _check_data(config, data)
    folder = _absolute(output if output is not None else RUNS_FOLDER / _run_name(conf, config))
    _make_output(folder, config)
    console = Console()
    console.print(Text(f"{config.method} on {config.data.name}, results in {folder}"), soft_wrap=True)
    if engine is Engine.INLINE:
        _run_inline(config, data, folder, num_supernodes, console)
    else:
        cpus = cpus_per_client if cpus_per_client is not None else min(config.train.threads, os.cpu_count() or 1)
        gpus = 0.0 if gpus_per_client is None and config.train.device == "cpu" else gpus_per_client
        _run_on_flower(config, data, folder, num_supernodes, cpus, gpus, console)
    _print_table(folder, console)
    console.print(Text(f"results: {folder}"), soft_wrap=True)


@app.command()
def show(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Output folder of a run that has finished.")],
    markdown: Annotated[bool, typer.Option("--markdown", help="As Markdown, for a README.")] = False,
) -> None:
    """Print the table of a finished run again."""
    if markdown:
        from pfmsmtrec_flwr.results import table

        print(table.markdown(table.Comparison.load(_absolute(folder))))
    else:
        _print_table(_absolute(folder), Console())


@app.command()
def compare(
    conf: Annotated[str, typer.Argument(metavar="CONF", help="A file conf/NAME.yaml, or the path of a YAML file.")],
    methods: Annotated[
        str,
        typer.Option(
            metavar="LIST", help="Methods with commas between, or all.", show_default="CONF's method and its references"
        ),
    ] = "",
    seeds: Annotated[int, typer.Option(metavar="N", min=1, help="Seeds, from that of CONF on.")] = 5,
    ablations: Annotated[bool, typer.Option("--ablations", help="Also pf-msmtrec with each switch turned.")] = False,
    tune: Annotated[int, typer.Option(metavar="N", min=0, help="Settings to try for each method; 0: none.")] = 0,
    tuned: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Settings of single methods, such as a tuned.yaml.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of all methods; repeatable."),
    ] = None,
    data: DataOption = DATA_FOLDER,
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the results.", show_default="./compare/CONF")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Runs at once.", show_default="processors")
    ] = None,
    reference: Annotated[
        str,
        typer.Option(
            metavar="METHOD", help="What the others are tested against.", show_default="pf-msmtrec, or the first"
        ),
    ] = "",
    join: Annotated[
        bool, typer.Option("--join", help="Also leave each scenario out, and let it join with a share of its rows.")
    ] = False,
    keep_models: Annotated[bool, typer.Option("--keep-models", help="Keep the scenarios' models.")] = False,
) -> int:
    """Run methods side by side with several seeds, tuned if wished, and tabulate and test what comes out."""
    from pfmsmtrec_flwr.comparison.harness import prepare_plan
    from pfmsmtrec_flwr.comparison.planning import Options
    from pfmsmtrec_flwr.config import load_config

    overrides = tuple(settings or ())
    config = load_config(conf, overrides=overrides)
    data = _absolute(data)
    _check_data(config, data)
    folder = _absolute(output if output is not None else COMPARISONS_FOLDER / Path(conf).stem)
    options = Options(
        methods=methods,
        seeds=seeds,
        reference=reference,
        ablations=ablations,
        trials=tune,
        tuned=tuned,
        pinned=frozenset(override.partition("=")[0].strip() for override in overrides),
        join=join,
        keep_models=keep_models,
    )
    return _compare(prepare_plan(config, options, data, folder), jobs or os.cpu_count() or 1, folder)


@app.command()
def report(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Output folder of a comparison, or of a run that has finished.")
    ],
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The page.", show_default="DIR/report.html")
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the pictures.", show_default="DIR/figures")
    ] = None,
    formats: Annotated[
        str, typer.Option("--format", metavar="LIST", help="Formats of the pictures: svg, png, pdf.")
    ] = "svg,png",
) -> None:
    """Draw finished runs: one page, and each of its pictures and tables as a file."""
    from pfmsmtrec_flwr.report import write_report

    source = _absolute(folder)
    page = write_report(
        source,
        _absolute(output) if output is not None else source / "report.html",
        _absolute(figures) if figures is not None else source / "figures",
        [name.strip() for name in formats.split(",")],
    )
    Console().print(Text(f"report: {page}"), soft_wrap=True)


@app.command()
def methods() -> None:
    """List the methods that can be run."""
    from pfmsmtrec_flwr.methods import METHODS

    table = Table(box=None, pad_edge=False)
    for heading in ("method", "family", "what it does", "source"):
        table.add_column(heading)
    for name, method in METHODS.items():
        table.add_row(*(Text(part) for part in (name, method.family, method.summary, method.source)))
    Console().print(table)


@app.command()
def prepare(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A file datasets/NAME.yaml, or the path of a YAML file.")],
    source: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the data set's own files.")],
    data: DataOption = DATA_FOLDER,
    scenario: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Prepare this scenario only; repeatable.")
    ] = None,
    negatives: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Rows made up per row, where a table holds positive rows only and a schema allows."
        ),
    ] = None,
) -> None:
    """Turn a data set's own files into a prepared store for each scenario."""
    from pfmsmtrec_flwr.data.prepare.pipeline import prepare as prepare_stores
    from pfmsmtrec_flwr.data.schema.document import load_schema
    from pfmsmtrec_flwr.log import log_to_stderr

    log_to_stderr()
    root = _absolute(data)
    schema = load_schema(name, negatives=negatives)
    stores = prepare_stores(schema, _absolute(source), root, scenarios=scenario or None, progress=True)
    console = Console()
    for store in stores:
        rows = ", ".join(f"{len(split):,} {which}" for which, split in store.splits.items())
        console.print(Text(f"{store.dataset} {store.scenario}: {rows}"), soft_wrap=True)
    console.print(Text(f"prepared in {root}"), soft_wrap=True)


@data_app.command("init")
def data_init(
    table: Annotated[
        Path, typer.Argument(metavar="TABLE", help="A CSV or Parquet file, or a folder whose files are one table.")
    ],
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The schema to write.", show_default="./NAME.yaml")
    ] = None,
    name: Annotated[str, typer.Option(metavar="NAME", help="Name of the data set.", show_default="the table's")] = "",
) -> None:
    """Write a first schema for a table of your own, for you to correct."""
    from pfmsmtrec_flwr.data.draft import document as drafting

    source = _absolute(table)
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


@data_app.command("list")
def data_list(data: DataOption = DATA_FOLDER) -> None:
    """List the prepared data sets."""
    from pfmsmtrec_flwr.data.store import catalog

    Console().print(catalog.datasets_table(_absolute(data)))


@data_app.command("show")
def data_show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a prepared data set.")],
    data: DataOption = DATA_FOLDER,
) -> None:
    """Print a prepared data set's rows, rates and fields."""
    from pfmsmtrec_flwr.data.store import catalog

    Console().print(catalog.dataset_tables(_absolute(data), name))


def _run_on_flower(
    config: RunConfig,
    data: Path,
    folder: Path,
    num_supernodes: int,
    cpus_per_client: float,
    gpus_per_client: float | None,
    console: Console,
) -> None:
    from pfmsmtrec_flwr.launch.engine import LOG_NAME, app_folder, run_on_flower, started

    log = folder / LOG_NAME
    log.unlink(missing_ok=True)

    def phase() -> str:
        return "waiting for clients" if started(log) else "starting Flower"

    # The configuration as it was checked, not the options that led to it: nothing is left to be read differently.
    run_config = {"conf": str(folder / CONFIG_NAME), "output": str(folder), "data": str(data)}
    with _display(config, folder, console, phase) as display:
        run_on_flower(
            app_folder(),
            run_config,
            num_supernodes=num_supernodes,
            cpus_per_client=cpus_per_client,
            gpus_per_client=gpus_per_client,
            output=folder,
            on_poll=display.update,
        )


def _run_inline(config: RunConfig, data: Path, folder: Path, num_supernodes: int, console: Console) -> None:
    from pfmsmtrec_flwr.experiment import run_inline

    with _logged(folder), _display(config, folder, console, lambda: "starting") as display, _polled(display):
        run_inline(config, data=data, output=folder, num_supernodes=num_supernodes)


def _compare(plan: Plan, jobs: int, folder: Path) -> int:
    """Do what is left of a plan, print its tables, and return the exit status."""
    from pfmsmtrec_flwr.comparison import tables
    from pfmsmtrec_flwr.comparison.display import Display
    from pfmsmtrec_flwr.comparison.harness import compare
    from pfmsmtrec_flwr.comparison.workers import workers

    console = Console()
    try:
        with Display(console) as display, workers(jobs) as executor:
            comparison = compare(plan, executor, jobs, display.update)
    except KeyboardInterrupt:
        said = f"what has finished is kept in {folder}: the same command goes on from there"
        console.print(Text(said), soft_wrap=True)
        raise
    for table in tables.tables(comparison.summary):
        if console.is_terminal:
            console.print(tables.rich_table(table))
        else:  # a file or a pipe is as wide as need be
            print(f"{tables.text(table)}\n", flush=True)
    console.print(Text(f"results: {folder}"), soft_wrap=True)
    for failed in comparison.failures:
        problem = Text(f"error: {failed.job.name}, {failed.job.folder}: {failed.problem}", style="red")
        Console(stderr=True).print(problem, soft_wrap=True)
    return 1 if comparison.failures else 0


@contextmanager
def _display(config: RunConfig, folder: Path, console: Console, phase: Callable[[], str]) -> Iterator[Display]:
    from pfmsmtrec_flwr.results.progress import Display, RunWatch

    references = [name for name in config.federation.reference if name != config.method]
    with Display(RunWatch(folder, config.method, references, opening=phase), console) as display:
        yield display


@contextmanager
def _logged(folder: Path) -> Iterator[None]:
    """Send the project's log lines to a file, where they do not cross the display."""
    handler = logging.FileHandler(folder / INLINE_LOG_NAME, mode="w", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()


@contextmanager
def _polled(display: Display) -> Iterator[None]:
    """Keep the display up to date from a thread, while this one computes."""
    ended = threading.Event()

    def poll() -> None:
        while not ended.wait(_INLINE_POLL_SECONDS):
            display.update()

    poller = threading.Thread(target=poll, name="progress", daemon=True)
    poller.start()
    try:
        yield
    finally:
        ended.set()
        poller.join()
    display.update()


def _check_methods(config: RunConfig, engine: Engine) -> None:
    """Refuse methods that the engine cannot run, before anything starts."""
    from pfmsmtrec_flwr.methods import federated_method, find_method

    for name in (config.method, *config.federation.reference):
        (find_method if engine is Engine.INLINE else federated_method)(name)


def _check_data(config: RunConfig, data: Path) -> None:
    """Refuse data that is not prepared, before anything starts."""
    from pfmsmtrec_flwr.data.store.store import list_scenarios

    name = config.data.name
    if name == SYNTHETIC:  # makes itself
        return
    known = [store.scenario for store in list_scenarios(data, name)]
    if not known:
        raise UserError(f"no data '{name}' is prepared in {data}: `pfmsmtrec prepare {name} --source DIR` does that")
    if missing := [scenario for scenario in config.federation.scenarios if scenario not in known]:
        raise UserError(f"data '{name}' has no scenario '{missing[0]}': federation.scenarios may be {', '.join(known)}")


def _make_output(folder: Path, config: RunConfig) -> None:
    if (folder / "results.json").exists():
        raise UserError(f"{folder} holds the results of a run already: give another --output, or remove it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG_NAME).write_text(config.to_yaml(), encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}") from None


def _print_table(folder: Path, console: Console) -> None:
    from pfmsmtrec_flwr.results import table

    comparison = table.Comparison.load(folder)
    if console.is_terminal:
        console.print(table.rich_table(comparison))
    else:  # a file or a pipe is as wide as need be
        print(f"{table.title(comparison)}\n\n{table.text(comparison)}\n", flush=True)


def _run_name(conf: str, config: RunConfig) -> str:
    return f"{Path(conf).stem}-{config.method}-seed{config.seed}-{datetime.now():%Y%m%d-%H%M%S}"


def _absolute(path: Path) -> Path:
    return path.expanduser().resolve()


def _fail(message: str, status: int) -> NoReturn:
    Console(stderr=True).print(Text(f"error: {message}", style="red"), soft_wrap=True)
    sys.exit(status)
