"""Flower ServerApp: configuration, strategy, results."""

from __future__ import annotations

import shlex

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.experiment import run_experiment
from pfmsmtrec_flwr.federation.locations import output_folder
from pfmsmtrec_flwr.log import log_to_stderr, logger
from pfmsmtrec_flwr.methods.configuration import load_config

log_to_stderr()
app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the experiment that the run config describes."""
    options = context.run_config
    try:
        config = load_config(
            str(options["conf"]),
            method=str(options["method"]),
            seed=int(options["seed"]),
            overrides=_words(str(options["set"])),
        )
        run_experiment(grid, config, output_folder(context))
    except UserError as error:
        logger.error("UserError: %s", error)
        raise


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UserError(f"set is {text!r}, expected KEY=VALUE separated by spaces ({error})") from None
