"""The `pfmsmtrec` command: its subcommands, its exit status and its error line."""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn

import typer
from click import ClickException, UsageError
from rich.console import Console
from rich.text import Text

from pfmsmtrec_flwr import __version__
from pfmsmtrec_flwr.cli.compare import compare_command, report_command
from pfmsmtrec_flwr.cli.data import (
    data_check_command,
    data_init_command,
    data_list_command,
    data_schemas_command,
    data_show_command,
    prepare_command,
)
from pfmsmtrec_flwr.cli.deploy import (
    PASSED_ON,
    deploy_bundle_command,
    deploy_check_command,
    deploy_clean_command,
    deploy_init_command,
    deploy_schema_command,
    deploy_superlink_command,
    deploy_supernode_command,
)
from pfmsmtrec_flwr.cli.export import export_command
from pfmsmtrec_flwr.cli.methods import methods_command
from pfmsmtrec_flwr.cli.predict import predict_command
from pfmsmtrec_flwr.cli.privacy import privacy_command
from pfmsmtrec_flwr.cli.results import show_command
from pfmsmtrec_flwr.cli.run import run_command
from pfmsmtrec_flwr.cli.settings import config_command, settings_command
from pfmsmtrec_flwr.errors import UserError

_INTERRUPTED = 130
_PLATFORMS = ("linux", "darwin")  # macOS has all that is needed; nothing was tried there

app = typer.Typer(
    name="pfmsmtrec",
    help="Personalized federated multi-scenario multi-task recommendation (PF-MSMTrec) on Flower.",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(
    help="Draft a schema; list schemas, list and check prepared data sets.", invoke_without_command=True
)
deploy_app = typer.Typer(help="Write, start and check a deployment on several machines.", invoke_without_command=True)

app.command("run")(run_command)
app.command("show")(show_command)
app.command("compare")(compare_command)
app.command("report")(report_command)
app.command("methods")(methods_command)
app.command("settings")(settings_command)
app.command("config")(config_command)
app.command("privacy")(privacy_command)
app.command("prepare")(prepare_command)
app.command("predict")(predict_command)
app.command("export")(export_command)
app.add_typer(data_app, name="data")
data_app.command("init")(data_init_command)
data_app.command("schemas")(data_schemas_command)
data_app.command("check")(data_check_command)
data_app.command("list")(data_list_command)
data_app.command("show")(data_show_command)
app.add_typer(deploy_app, name="deploy")
deploy_app.command("init")(deploy_init_command)
deploy_app.command("bundle")(deploy_bundle_command)
deploy_app.command("schema")(deploy_schema_command)
deploy_app.command("check")(deploy_check_command)
deploy_app.command("clean")(deploy_clean_command)
deploy_app.command("superlink", context_settings=PASSED_ON)(deploy_superlink_command)
deploy_app.command("supernode", context_settings=PASSED_ON)(deploy_supernode_command)


def main() -> None:
    """Run the command line, and leave with its exit status."""
    try:
        _require_platform()
        status = app(prog_name=app.info.name, standalone_mode=False)
    except UserError as error:
        _fail(str(error), 1)
    except ClickException as error:
        command = error.ctx.command_path if isinstance(error, UsageError) and error.ctx else app.info.name
        _fail(f"{error.format_message()} (see {command} --help)", error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        status = _INTERRUPTED
    if status == _INTERRUPTED:  # some versions of typer return the status, others raise
        _fail("interrupted", _INTERRUPTED)
    sys.exit(status if isinstance(status, int) else 0)


def _require_platform() -> None:
    """Refuse platforms without the means of POSIX; Windows Subsystem for Linux is Linux.

    Raises
    ------
    UserError
        The platform has no locks of files (fcntl), no fork server for workers, or no SIGHUP.
    """
    if sys.platform not in _PLATFORMS:
        raise UserError(
            f"pfmsmtrec runs on Linux, and this is {sys.platform}, which lacks POSIX locks and signals: "
            "use Linux, or Windows Subsystem for Linux"
        )


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"pfmsmtrec {__version__}")
        raise typer.Exit


@app.callback()
@data_app.callback()
@deploy_app.callback()
def _common(
    context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Take the options that stand before a command; without a command, print the help."""
    if context.invoked_subcommand is None:
        print(context.get_help())


def _fail(message: str, status: int) -> NoReturn:
    Console(stderr=True).print(Text(f"error: {message}", style="red"), soft_wrap=True)
    sys.exit(status)
