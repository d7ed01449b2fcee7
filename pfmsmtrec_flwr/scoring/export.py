"""Saved models as ONNX or `torch.export` files, which run without this package.

The file holds the network from encoded columns to probabilities, calibrated ones if the run calibrates: the curves of
the tasks are in the graph, and their parameters in the metadata too. It has an input for each field, the rows of its
table (n,) int32, or (n, most) for a field of several values, and one for each numeric column, standardised, (n,)
float32. It has an output for each task, the probabilities (n,) float32. `Scorer.inputs` encodes raw rows.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.model.scenarios import OneScenario, SortingModel
from pfmsmtrec_flwr.scoring.curve_layers import curve_layer
from pfmsmtrec_flwr.scoring.floor_model import FloorModel
from pfmsmtrec_flwr.scoring.linear_layers import LinearNetwork
from pfmsmtrec_flwr.scoring.saved_model import DESCRIPTION_NAME, ModelDescription
from pfmsmtrec_flwr.scoring.scenario_scorer import ScenarioScorer
from pfmsmtrec_flwr.training.calibration import Calibration

if TYPE_CHECKING:
    from onnx import GraphProto

ExportFormat = Literal["onnx", "torch"]
OPSET = 18
"""Version of ONNX's operators."""
ENDINGS: dict[ExportFormat, str] = {"onnx": ".onnx", "torch": ".pt2"}
METADATA_NAME = "metadata.json"
"""Name of the metadata in a `torch.export` file."""

_ROWS = 4  # of the example; any number of rows will do afterwards
_EXPORTER = "torch.onnx._internal.exporter._registration"


class NamedNetwork(nn.Module):
    """Network of a scenario with an input for each column and an output for each task, by name.

    Parameters
    ----------
    network
        Network from values (n, C) and numbers (n, N) to log odds (n, T).
    description
        Its description.
    calibration
        Calibration of its predictions; None if the run did not calibrate.
    """

    def __init__(self, network: nn.Module, description: ModelDescription, calibration: Calibration | None) -> None:
        super().__init__()
        self.network = network
        self.tasks = description.spec.tasks
        self.fields = tuple(field.name for field in description.row_fields)
        self.numeric = description.numeric
        self.scenario_value = description.scenario_value
        tasks = {} if calibration is None else calibration.tasks
        curves = (tasks[task].curve if task in tasks else None for task in self.tasks)
        self.curves = nn.ModuleList(nn.Sigmoid() if curve is None else curve_layer(curve) for curve in curves)

    def forward(self, columns: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the probability (n,) of each task."""
        fields = [columns[name] for name in self.fields]
        rows = fields[0].shape[0]
        values = [each if each.dim() > 1 else each.unsqueeze(1) for each in fields]
        if self.scenario_value:
            values.append(torch.full((rows, 1), self.scenario_value, dtype=torch.int32))
        numbers = [columns[name].unsqueeze(1) for name in self.numeric]
        numeric = torch.cat(numbers, dim=1) if numbers else torch.zeros(rows, 0)
        log_odds = self.network(torch.cat(values, dim=1), numeric).unbind(1)
        found = [curve(each) for curve, each in zip(self.curves, log_odds, strict=True)]
        return dict(zip(self.tasks, found, strict=True))


def export_model(folder: Path, output: Path, kind: ExportFormat) -> None:
    """Write a saved model as a file of another format.

    Parameters
    ----------
    folder
        Folder of the saved model, with its encoders.
    output
        File to write; it appears when it is complete.
    kind
        Format.

    Raises
    ------
    UserError
        A package for ONNX is missing, the model is of trees, a task and a column have the same name, or
        the file cannot be written.
    """
    if missing := [name for name in ("onnx", "onnxscript") if kind == "onnx" and find_spec(name) is None]:
        raise UserError(f"ONNX needs {' and '.join(missing)}: pip install 'pfmsmtrec-flwr[onnx]'")
    scorer = ScenarioScorer.load(folder)
    description = scorer.description
    names = [*(field.name for field in description.row_fields), *description.numeric]
    if both := sorted(set(names) & set(description.spec.tasks)):
        raise UserError(f"'{both[0]}' is a column and a task, and an exported model needs names of their own for both")
    network = NamedNetwork(_network(scorer), description, scorer.calibration).eval()
    example = {name: torch.zeros(_ROWS, *shape, dtype=kind_) for name, (shape, kind_) in _columns(description).items()}
    rows = torch.export.Dim("rows")
    program = torch.export.export(network, (example,), dynamic_shapes=({name: {0: rows} for name in example},))
    metadata = _metadata(description, (folder / DESCRIPTION_NAME).read_text(encoding="utf-8"), scorer, kind)
    unfinished = output.with_name(f".{output.stem}.unfinished{output.suffix}")
    try:
        if kind == "torch":
            torch.export.save(program, unfinished, extra_files={METADATA_NAME: json.dumps(metadata, indent=1)})
        else:
            _save_onnx(program, unfinished, names, description.spec.tasks, metadata)
        unfinished.replace(output)
    except (OSError, RuntimeError) as error:
        raise UserError(f"cannot write {output}: {error}") from None
    finally:
        unfinished.unlink(missing_ok=True)


def _network(scorer: ScenarioScorer) -> nn.Module:
    """Return a network from values and numbers to log odds that both formats can hold."""
    model = scorer.model
    if isinstance(model, SortingModel):
        return OneScenario(model, scorer.description.scenario_value)
    return LinearNetwork(model) if isinstance(model, FloorModel) else model


def _columns(description: ModelDescription) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """Return the shape of each column without its rows, and its type."""
    fields = {field.name: ((field.most,) if field.most > 1 else (), torch.int32) for field in description.row_fields}
    numbers: dict[str, tuple[tuple[int, ...], torch.dtype]] = dict.fromkeys(description.numeric, ((), torch.float32))
    return {**fields, **numbers}


def _metadata(description: ModelDescription, text: str, scorer: ScenarioScorer, kind: ExportFormat) -> dict[str, str]:
    moments = scorer.encoder.standardiser
    numeric = {
        name: {"mean": mean, "std": deviation}
        for name, mean, deviation in zip(
            description.numeric, moments.mean.tolist(), moments.deviation.tolist(), strict=True
        )
    }
    opset = {"opset": str(OPSET)} if kind == "onnx" else {}
    calibration = json.dumps(None if scorer.calibration is None else scorer.calibration.model_dump())
    tasks = json.dumps(description.spec.tasks)
    return {"model": text, "numeric": json.dumps(numeric), "tasks": tasks, "calibration": calibration, **opset}


def _save_onnx(
    program: torch.export.ExportedProgram,
    path: Path,
    inputs: list[str],
    tasks: tuple[str, ...],
    metadata: dict[str, str],
) -> None:
    import onnx

    with _quiet():
        made = torch.onnx.export(program, (), opset_version=OPSET, dynamo=True, verbose=False)
    if made is None:
        raise RuntimeError("the exporter returned no model")
    model = made.model_proto
    _rename(model.graph, [*inputs, *tasks])
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "rows"
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    onnx.save_model(model, path)


def _rename(graph: GraphProto, columns: Sequence[str]) -> None:
    """Give inputs and outputs the names of columns and tasks, which no value within the network has then."""
    ends = dict(zip((value.name for value in (*graph.input, *graph.output)), columns, strict=True))

    def renamed(name: str) -> str:
        return ends.get(name, f"network/{name}") if name else ""  # an optional input that is not there

    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = renamed(value.name)
    for node in graph.node:
        node.input[:] = map(renamed, node.input)
        node.output[:] = map(renamed, node.output)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what the exporter says of packages that are not needed."""
    registration = logging.getLogger(_EXPORTER)
    level = registration.level
    registration.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        registration.setLevel(level)
