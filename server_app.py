"""Flower ServerApp: configuration, strategy, results, and a line at the end that says where they lie."""

from __future__ import annotations

import shlex

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.experiment import CONFIG_NAME, run_experiment
from pfmsmtrec_flwr.federation.locations import RESUME_KEY, START_KEY, output_folder
from pfmsmtrec_flwr.federation.prompt_grid import PromptGrid
from pfmsmtrec_flwr.flower_internals import look_soon_for_objects
from pfmsmtrec_flwr.log import log_to_stderr, logger
from pfmsmtrec_flwr.methods.configuration import load_config

log_to_stderr()
app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the experiment that the run config describes; the last log line says how it ended, as Flower's do not."""
    look_soon_for_objects()
    options = context.run_config
    try:
        output = output_folder(context)
        resume = bool(options.get(RESUME_KEY, ""))
        config = load_config(
            str(output / CONFIG_NAME) if resume else str(options["conf"]),
            method=str(options["method"]),
            seed=int(options["seed"]),
            overrides=_words(str(options["set"])),
        )
        start, data = str(options.get(START_KEY, "")), str(options.get("data", ""))
        run_experiment(PromptGrid(grid), config, output, start, data=data, resume=resume)
    except Exception as error:
        logger.error("RUN FAILED: %s: %s", type(error).__name__, " ".join(str(error).split()))
        raise
    logger.info("RUN COMPLETE: results in %s", output)


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UserError(f"set is {text!r}, expected KEY=VALUE separated by spaces ({error})") from None
