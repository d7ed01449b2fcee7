"""The command that trains a method, over Flower's engine or in this process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.text import Text

from pfmsmtrec_flwr.cli.options import (
    DATA_FOLDER,
    DataOption,
    MethodOption,
    SeedOption,
    SettingsOption,
    absolute,
    check_data,
    method_name,
)
from pfmsmtrec_flwr.cli.results import print_run_table
from pfmsmtrec_flwr.cli.watch import logged_to, polled, watched
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.tracking import TrackerName, check_tracker

if TYPE_CHECKING:
    from pfmsmtrec_flwr.config import RunConfig

DEFAULT_CONF = "synthetic"
RUNS_FOLDER = Path("runs")
CONFIG_NAME = "config.yaml"
INLINE_LOG_NAME = "inline.log"

Engine = Literal["flower", "inline"]


def run_command(
    conf: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Name of a file conf/NAME.yaml, or path of a YAML file.",
            show_default=DEFAULT_CONF,
        ),
    ] = None,
    method: MethodOption = "",
    seed: SeedOption = None,
    settings: SettingsOption = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the results.", show_default="./runs/CONF-METHOD-seedN-TIME"),
    ] = None,
    data: DataOption = DATA_FOLDER,
    engine: Annotated[
        Engine, typer.Option(help="Flower's simulation engine, or all clients in this process (inline).")
    ] = "flower",
    num_supernodes: Annotated[
        int, typer.Option(metavar="N", min=1, help="Number of nodes that host the scenarios.")
    ] = 2,
    cpus_per_client: Annotated[
        float | None,
        typer.Option(metavar="X", help="Number of CPUs that a client takes.", show_default="its train.threads"),
    ] = None,
    gpus_per_client: Annotated[
        float | None,
        typer.Option(metavar="X", help="Share of a GPU that a client takes.", show_default="an equal share"),
    ] = None,
    start_from: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Output folder of an earlier run, from whose models the scenarios start.",
            show_default="none",
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN", help="Output folder of a run that was broken off, which goes on.", show_default="none"
        ),
    ] = None,
    track: Annotated[
        TrackerName | None, typer.Option(help="Experiment tracker that follows the run.", show_default="none")
    ] = None,
) -> None:
    """Train a method, and print the table of its test figures."""
    from pfmsmtrec_flwr.methods.configuration import load_config
    from pfmsmtrec_flwr.results.folders import claimed, unused

    if resume is not None:
        conf, output, data, start_from = _broken_off(absolute(resume), conf, output, data, start_from)
    conf = conf or DEFAULT_CONF
    config = load_config(conf, method=method_name(method), seed=-1 if seed is None else seed, overrides=settings or ())
    name = _check_methods(config, engine)
    data = absolute(data)
    check_data(config, data)
    if track is not None:
        check_tracker(track)
    start, remarks = _check_start(config, data, start_from)
    _check_machine(config, cpus_per_client or 1, gpus_per_client)
    folder = unused(absolute(RUNS_FOLDER / _run_name(conf, name, config.seed))) if output is None else absolute(output)
    console = Console()
    with claimed(folder), _resumable(folder, console):
        if resume is None:
            _begin(folder, config)
        for line in (f"{name} on {config.data.name}, results in {folder}", *remarks):
            console.print(Text(line), soft_wrap=True)
        if engine == "inline":
            _run_inline(config, data, folder, num_supernodes, console, track, start, resume is not None)
        else:
            resources = (cpus_per_client, gpus_per_client)
            _run_on_flower(config, data, folder, num_supernodes, resources, console, track, start, resume is not None)
    print_run_table(folder, console)
    console.print(Text(f"results: {folder}"), soft_wrap=True)


def _run_on_flower(
    config: RunConfig,
    data: Path,
    folder: Path,
    num_supernodes: int,
    resources: tuple[float | None, float | None],
    console: Console,
    track: TrackerName | None,
    start: str,
    resume: bool,
) -> None:
    from pfmsmtrec_flwr.launch.app import app_folder
    from pfmsmtrec_flwr.launch.engine import run_on_flower
    from pfmsmtrec_flwr.launch.run_log import LOG_NAME, FlowerLog

    cpus, gpus = resources
    log = FlowerLog(folder / LOG_NAME)
    log.path.unlink(missing_ok=True)

    def phase() -> str:
        return "waiting for clients" if log.run_id else "starting Flower"

    # Flower gets the checked configuration as a file, so that no option can be read differently a second time.
    run_config = {"conf": str(folder / CONFIG_NAME), "output": str(folder), "data": str(data)}
    run_config |= {"start-from": start} if start else {}
    run_config |= {"resume": str(folder)} if resume else {}
    with watched(config, folder, console, phase, track) as update:
        run_on_flower(
            app_folder(),
            run_config,
            num_supernodes=num_supernodes,
            cpus_per_client=min(config.train.threads, os.cpu_count() or 1) if cpus is None else cpus,
            gpus_per_client=0.0 if gpus is None and config.train.device == "cpu" else gpus,
            output=folder,
            on_poll=update,
        )


def _run_inline(
    config: RunConfig,
    data: Path,
    folder: Path,
    num_supernodes: int,
    console: Console,
    track: TrackerName | None,
    start: str,
    resume: bool,
) -> None:
    from pfmsmtrec_flwr.experiment import run_inline

    with (
        logged_to(folder / INLINE_LOG_NAME),
        watched(config, folder, console, lambda: "starting", track) as update,
        polled(update),
    ):
        run_inline(config, data=data, output=folder, num_supernodes=num_supernodes, start_from=start, resume=resume)


def _check_methods(config: RunConfig, engine: Engine) -> str:
    """Refuse methods that the engine cannot run, before the run starts; return the name of the configured one."""
    from pfmsmtrec_flwr.methods import federated_method
    from pfmsmtrec_flwr.methods.configuration import methods_of

    methods = methods_of(config)
    for method in methods if engine == "flower" else ():
        federated_method(method.file or method.name)
    return methods[0].name


def _check_start(config: RunConfig, data: Path, run: Path | None) -> tuple[str, list[str]]:
    """Refuse earlier models that cannot start the run, before it starts; return their run, and what to say of them."""
    if run is None:
        return "", []
    from pfmsmtrec_flwr.methods.starting import check_start

    folder = absolute(run)
    return str(folder), check_start(config, data, folder)


def _check_machine(config: RunConfig, cpus_per_client: float, gpus_per_client: float | None) -> None:
    """Refuse devices that this machine lacks, before a run starts."""
    from pfmsmtrec_flwr.launch.resources import check_resources

    check_resources(cpus_per_client, gpus_per_client)
    if config.train.device not in ("auto", "cpu"):
        from pfmsmtrec_flwr.training.devices import resolve_device  # imports torch, which takes seconds

        resolve_device(config.train.device)


def _begin(folder: Path, config: RunConfig) -> None:
    """Write the configuration into the folder of a run, which must hold no results and no checkpoints yet."""
    from pfmsmtrec_flwr.federation.resume.run_checkpoints import refuse_broken_off
    from pfmsmtrec_flwr.methods.configuration import complete

    if (folder / "results.json").exists():
        raise UserError(f"{folder} holds the results of a run already: name another --output, or remove it")
    refuse_broken_off(folder)
    try:
        (folder / CONFIG_NAME).write_text(complete(config).to_yaml(), encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}") from None


def _broken_off(
    run: Path, conf: str | None, output: Path | None, data: Path, start_from: Path | None
) -> tuple[str, Path, Path, Path | None]:
    """Return configuration, output, data and earlier run with which a run that was broken off goes on."""
    from pfmsmtrec_flwr.federation.resume.run_checkpoints import read_beginning

    begun = read_beginning(run)
    if conf is not None:
        raise UserError(f"--resume goes on with the run's own {run / CONFIG_NAME}: leave out --conf")
    if output is not None and absolute(output) != run:
        raise UserError(f"--resume goes on in the run's own folder {run}: leave out --output")
    if data == DATA_FOLDER and begun.data:
        data = Path(begun.data)
    if start_from is None and begun.start_from:
        start_from = Path(begun.start_from)
    return str(run / CONFIG_NAME), run, data, start_from


@contextmanager
def _resumable(folder: Path, console: Console) -> Iterator[None]:
    """Say how to go on with a run that is broken off."""
    try:
        yield
    except BaseException:
        from pfmsmtrec_flwr.federation.resume.run_checkpoints import is_broken_off

        if is_broken_off(folder):
            console.print(Text(f"broken off: pfmsmtrec run --resume {folder} goes on"), soft_wrap=True)
        raise


def _run_name(conf: str, method: str, seed: int) -> str:
    return f"{Path(conf).stem}-{method}-seed{seed}-{datetime.now():%Y%m%d-%H%M%S}"
