"""Commands of a deployment on several machines."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from pfmsmtrec_flwr.cli.options import absolute
from pfmsmtrec_flwr.errors import UserError

PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
"""Settings of a command whose arguments after ``--`` are those of a command of Flower."""


def deploy_init_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write.")],
    scenarios: Annotated[str, typer.Option(metavar="NAMES", help="Scenarios, separated by commas, a site for each.")],
    host: Annotated[str, typer.Option(metavar="NAME", help="Host name or address of the server.")],
    port: Annotated[int, typer.Option(metavar="N", min=1, max=65535, help="Port of the SuperLink.")] = 8000,
    at: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of server/ and sites/ on the machines.", show_default="DIR"),
    ] = None,
    user: Annotated[
        str | None, typer.Option(metavar="NAME", help="Account of the services.", show_default="yours")
    ] = None,
    programs: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the command pfmsmtrec there.", show_default="this one's"),
    ] = None,
) -> None:
    """Write certificates, keys, start scripts, services and the binding of scenarios to keys.

    A second call keeps all keys, and adds the sites of further scenarios.
    """
    from pfmsmtrec_flwr.deploy.initializing import write_deployment
    from pfmsmtrec_flwr.deploy.layout import Deployment

    target = absolute(folder)
    names = tuple(name.strip() for name in scenarios.split(",") if name.strip())
    bin_folder = Path(sys.executable).parent if programs is None else programs
    home = target if at is None else at
    deployment = Deployment(names, host, port, home, user or getpass.getuser(), bin_folder)
    kept = write_deployment(deployment, target)
    console = Console()
    for path in kept:
        console.print(Text(f"kept {path}"), soft_wrap=True)
    console.print(
        Text(f"wrote {target}: server/, sites/{{{','.join(names)}}}/, authority/, compose.yaml"), soft_wrap=True
    )


def deploy_bundle_command() -> None:
    """Print the hash of the app bundle that this installation sends with a run."""
    from pfmsmtrec_flwr.deploy.app_bundle import own_bundle_hash

    print(own_bundle_hash())


def deploy_schema_command(
    schema: Annotated[str, typer.Argument(metavar="NAME|FILE", help="Schema of the data, in datasets/ or a file.")],
    negatives: Annotated[
        int | None, typer.Option(metavar="N", help="Negatives per positive, where `pfmsmtrec prepare` is given them.")
    ] = None,
) -> None:
    """Print the hash of a schema, which the data of all sites must have: `pfmsmtrec deploy check --schema HASH`."""
    from pfmsmtrec_flwr.deploy.expected_schema import expected_schema

    print(expected_schema(schema, negatives))


def deploy_superlink_command(
    context: typer.Context,
    control_from: Annotated[
        str, typer.Option(metavar="NETWORKS", help="Addresses that may start runs, separated by commas.")
    ] = "127.0.0.1",
) -> None:
    """Run `flower-superlink`, with the arguments after `--`; other addresses reach the sites' interface alone."""
    from pfmsmtrec_flwr.deploy.known_flower import known_flower
    from pfmsmtrec_flwr.deploy.networks import admission_from
    from pfmsmtrec_flwr.flower_internals import run_superlink

    known_flower()
    run_superlink(context.args, admission_from(control_from))


def deploy_supernode_command(
    context: typer.Context,
    apps: Annotated[Path, typer.Option(metavar="FILE", help="List of the app bundles that may run here.")],
) -> None:
    """Run `flower-supernode`, with the arguments after `--`; app bundles that are not in the list do not run."""
    from pfmsmtrec_flwr.deploy.app_bundle import bundle_hash, read_approved
    from pfmsmtrec_flwr.deploy.known_flower import known_flower
    from pfmsmtrec_flwr.flower_internals import run_supernode

    known_flower()
    path = absolute(apps)
    read_approved(path)
    run_supernode(context.args, lambda content: bundle_hash(content) in read_approved(path))


def deploy_check_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of one machine: DIR/server or DIR/sites/NL.")],
    conf: Annotated[str, typer.Option(metavar="NAME|FILE", help="Configuration of the run that is planned.")] = "",
    schema: Annotated[
        str, typer.Option(metavar="HASH|NAME|FILE", help="Schema of the run that is planned, or the hash of it.")
    ] = "",
) -> None:
    """Say whether certificate, key, data, limits, app and versions of this machine fit, without starting a run."""
    from pfmsmtrec_flwr.deploy.checking import check_machine
    from pfmsmtrec_flwr.deploy.expected_schema import expected_schema
    from pfmsmtrec_flwr.methods.configuration import load_config

    expected = expected_schema(schema) if schema else ""
    lines = check_machine(absolute(folder), load_config(conf) if conf else None, expected)
    console = Console()
    for line in lines:
        mark = Text("fits  ", style="green") if line.fits else Text("WRONG ", style="red")
        console.print(mark + Text(f"{line.what:12}{line.detail}"), soft_wrap=True)
    if wrong := [line.what for line in lines if not line.fits]:
        raise UserError(f"{', '.join(wrong)} of {folder} would keep this machine from a run")


def deploy_clean_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a site: DIR/sites/NL.")],
    idle_days: Annotated[
        float, typer.Option(metavar="DAYS", help="Age below which nothing of a run is touched, 1 at least.")
    ] = 7.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Name the files, and remove none.")] = False,
) -> None:
    """Remove what ended runs left at a site; finished models stay."""
    from pfmsmtrec_flwr.deploy.cleaning import leftovers

    console = Console()
    found = leftovers(absolute(folder), idle_days)
    for left in found:
        console.print(
            Text(f"{'would remove' if dry_run else 'removed'} {left.path} ({left.size} bytes)"), soft_wrap=True
        )
        if not dry_run:
            left.remove()
    total = sum(left.size for left in found)
    console.print(Text(f"{len(found)} leftovers, {total} bytes"), soft_wrap=True)
