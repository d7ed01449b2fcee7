"""The command that scores raw rows with saved models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pfmsmtrec_flwr.cli.options import absolute


def predict_command(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL_DIR",
            help="Output folder of a run, for the models of all its scenarios, or folder of one model.",
        ),
    ],
    rows: Annotated[Path, typer.Argument(metavar="ROWS", help="CSV or Parquet file with raw rows; labels not needed.")],
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="File of the scores, .csv or .parquet.", show_default="CSV on standard output"
        ),
    ] = None,
    keep: Annotated[
        str, typer.Option(metavar="COLUMNS", help="Columns of the rows to write beside the scores, such as a,b.")
    ] = "",
    source: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the side tables.", show_default="the rows have their columns"),
    ] = None,
    scenario: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Scenario of all rows.", show_default="the one that each row names"),
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Write the probabilities before calibration.")] = False,
) -> None:
    """Score raw rows: the probability of each task, in the order of the rows."""
    from pfmsmtrec_flwr.log import log_to_stderr, logger
    from pfmsmtrec_flwr.scoring.score_files import score_file
    from pfmsmtrec_flwr.scoring.scorer import Scorer

    log_to_stderr()
    scorer = Scorer.load(absolute(model))
    target = None if output is None else absolute(output)
    names = list(dict.fromkeys(name for name in map(str.strip, keep.split(",")) if name))
    tables = None if source is None else absolute(source)
    count = score_file(scorer, absolute(rows), target, keep=names, source=tables, scenario=scenario, raw=raw)
    logger.info("%s rows scored for %s%s", f"{count:,}", ", ".join(scorer.tasks), f" in {target}" if target else "")
