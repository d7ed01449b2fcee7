"""The commands that compare methods and draw the outcome."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from pfmsmtrec_flwr.cli.options import DATA_FOLDER, DataOption, absolute, check_data
from pfmsmtrec_flwr.cli.results import print_tables
from pfmsmtrec_flwr.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pfmsmtrec_flwr.comparison.planning import ComparisonPlan
    from pfmsmtrec_flwr.results.tables import FigureTable

COMPARISONS_FOLDER = Path("compare")


def compare_command(
    conf: Annotated[str, typer.Argument(metavar="CONF", help="Name of a file conf/NAME.yaml, or path of a YAML file.")],
    methods: Annotated[
        str,
        typer.Option(
            metavar="LIST",
            help="Names of methods, separated by commas, or all.",
            show_default="CONF's method and its references",
        ),
    ] = "",
    seeds: Annotated[
        int, typer.Option(metavar="N", min=1, help="Number of seeds, counted up from the seed of CONF.")
    ] = 5,
    ablations: Annotated[
        bool, typer.Option("--ablations", help="Add pf-msmtrec with each of its switches turned.")
    ] = False,
    tune: Annotated[
        int, typer.Option(metavar="N", min=0, help="Number of trials for each method; 0 does not tune.")
    ] = 0,
    tune_seeds: Annotated[int, typer.Option(metavar="N", min=1, help="Number of seeds of each trial.")] = 2,
    tune_on: Annotated[
        str,
        typer.Option(
            metavar="LIST",
            help="Data sets of the trials, or seeds of made-up worlds, separated by commas.",
            show_default="CONF's data set, or another world",
        ),
    ] = "",
    tune_only: Annotated[bool, typer.Option("--tune-only", help="End after the tuning.")] = False,
    tuned: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File with settings of single methods, such as tuned.yaml.")
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
        int | None, typer.Option(metavar="N", min=1, help="Number of runs at once.", show_default="processors")
    ] = None,
    reference: Annotated[
        str,
        typer.Option(
            metavar="METHOD", help="Method that the others are tested against.", show_default="pf-msmtrec, or the first"
        ),
    ] = "",
    join: Annotated[
        bool,
        typer.Option("--join", help="Leave each scenario out as well, and let it join later with a share of its rows."),
    ] = False,
    keep_models: Annotated[bool, typer.Option("--keep-models", help="Keep the models of the scenarios.")] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Replace runs and trials that other code of the package has made.")
    ] = False,
    draws: Annotated[
        int, typer.Option(metavar="N", min=0, help="Number of draws of test users for the intervals; 0 computes none.")
    ] = 1000,
    start_from: Annotated[Path | None, typer.Option(hidden=True, help="Refused: all runs start anew.")] = None,
) -> int:
    """Run methods side by side with several seeds, tune them if asked to, and tabulate and test the figures."""
    if start_from is not None:
        raise UserError("a comparison starts all its runs anew: --start-from is for pfmsmtrec run")
    from pfmsmtrec_flwr.comparison.harness import prepare_plan
    from pfmsmtrec_flwr.comparison.request import Options
    from pfmsmtrec_flwr.methods.configuration import load_config
    from pfmsmtrec_flwr.results.folders import claimed

    overrides = tuple(settings or ())
    config = load_config(conf, overrides=overrides)
    data = absolute(data)
    check_data(config, data)
    folder = absolute(output if output is not None else COMPARISONS_FOLDER / Path(conf).stem)
    options = Options(
        methods=methods,
        seeds=seeds,
        reference=reference,
        ablations=ablations,
        trials=tune,
        tune_seeds=tune_seeds,
        tune_on=tuple(name.strip() for name in tune_on.split(",") if name.strip()),
        tune_only=tune_only,
        tuned=tuned,
        pinned=frozenset(override.partition("=")[0].strip() for override in overrides),
        join=join,
        keep_models=keep_models,
        fresh=fresh,
        draws=draws,
    )
    plan = prepare_plan(config, options, data, folder)
    with claimed(folder):
        return _compare(plan, jobs or os.cpu_count() or 1, folder)


def report_command(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Output folder of a comparison, or of a run that has finished.")
    ],
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File of the page.", show_default="DIR/report.html")
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the pictures.", show_default="DIR/figures")
    ] = None,
    formats: Annotated[
        str, typer.Option("--format", metavar="LIST", help="Formats of the pictures: svg, png, pdf.")
    ] = "svg,png",
) -> None:
    """Draw finished runs: one page, with each picture and table as a file too."""
    from pfmsmtrec_flwr.report import write_report

    source = absolute(folder)
    page = write_report(
        source,
        absolute(output) if output is not None else source / "report.html",
        absolute(figures) if figures is not None else source / "figures",
        [name.strip() for name in formats.split(",")],
    )
    Console().print(Text(f"report: {page}"), soft_wrap=True)


def _compare(plan: ComparisonPlan, jobs: int, folder: Path) -> int:
    """Do what is left of a plan, print its tables, and return the exit status."""
    from pfmsmtrec_flwr.comparison.choices import TUNED_NAME
    from pfmsmtrec_flwr.comparison.display import ScheduleDisplay
    from pfmsmtrec_flwr.comparison.harness import compare, tune_methods
    from pfmsmtrec_flwr.comparison.workers import workers
    from pfmsmtrec_flwr.results.compact import compact_tables

    console = Console()
    tables: Iterable[FigureTable] = ()
    try:
        with ScheduleDisplay(console) as display, workers(jobs) as executor:
            if plan.request.options.tune_only:
                failures = tune_methods(plan, executor, jobs, display.update)
            else:
                comparison = compare(plan, executor, jobs, display.update)
                tables, failures = compact_tables(comparison.summary), comparison.failures
    except KeyboardInterrupt:
        said = f"what has finished is kept in {folder}: the same command goes on from there"
        console.print(Text(said), soft_wrap=True)
        raise
    print_tables(tables, console)
    if plan.request.options.tune_only:
        outcome = f"tuned: {folder / TUNED_NAME}"
    else:
        outcome = f"more: pfmsmtrec show {folder} --wide, or pfmsmtrec report {folder}\nresults: {folder}"
    console.print(Text(outcome), soft_wrap=True)
    for failed in failures:
        problem = Text(f"error: {failed.job.name}, {failed.job.folder}: {failed.problem}", style="red")
        Console(stderr=True).print(problem, soft_wrap=True)
    return 1 if failures else 0
