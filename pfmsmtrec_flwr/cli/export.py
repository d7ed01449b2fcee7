"""The command that writes saved models in formats of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.text import Text

from pfmsmtrec_flwr.cli.options import absolute
from pfmsmtrec_flwr.errors import UserError


def export_command(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL_DIR",
            help="Folder of one model, or output folder of a run, for the models of all its scenarios.",
        ),
    ],
    kind: Annotated[Literal["onnx", "torch"], typer.Option("--format", help="ONNX, or the format of torch.export.")],
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="File to write, for one model.", show_default="model.onnx or model.pt2 in MODEL_DIR"
        ),
    ] = None,
) -> None:
    """Write the network of a saved model for programs without this package."""
    from pfmsmtrec_flwr.scoring.export import ENDINGS, export_model
    from pfmsmtrec_flwr.scoring.model_folders import model_folders

    folders = model_folders(absolute(model))
    if output is not None and len(folders) > 1:
        raise UserError(f"--output is for one model, and {model} has {len(folders)}: give the folder of one of them")
    for folder in folders:
        target = folder / f"model{ENDINGS[kind]}" if output is None else absolute(output)
        export_model(folder, target, kind)
        Console().print(Text(f"wrote {target}"), soft_wrap=True)
