"""Raw rows to probabilities, by the saved models of one or several scenarios.

The rows are read, joined, encoded and standardised by the functions that prepare a data set, with the vocabularies,
means and deviations of the training rows. So a row has the score that it has as a test row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from pfmsmtrec_flwr.data.prepare.columns import SCENARIO, Output, feature_outputs
from pfmsmtrec_flwr.data.prepare.rows import DerivedRows
from pfmsmtrec_flwr.data.read.chunks import Chunk
from pfmsmtrec_flwr.data.read.memory_tables import MemoryTable
from pfmsmtrec_flwr.data.read.sources import SourceFile
from pfmsmtrec_flwr.data.schema.document import DatasetSchema
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.scoring.model_folders import model_folders
from pfmsmtrec_flwr.scoring.raw_tables import Frame, RawTable, table_in_memory
from pfmsmtrec_flwr.scoring.routes import columns_to_read, scenario_route
from pfmsmtrec_flwr.scoring.scenario_scorer import ScenarioScorer
from pfmsmtrec_flwr.scoring.unknown_values import UnknownValues


@dataclass(frozen=True, slots=True)
class ScoredRows:
    """Consecutive rows with their scores.

    Attributes
    ----------
    chunk
        Rows, with the columns that were read.
    scores
        Probabilities (n, T) of the tasks of all models; not-a-number where a row has no score.
    """

    chunk: Chunk
    scores: npt.NDArray[np.float32]


class Scorer:
    """Models of one or several scenarios, which score raw rows.

    Parameters
    ----------
    models
        Model of each scenario, with its encoders.

    Attributes
    ----------
    scenarios
        Names of the scenarios, sorted.
    tasks
        Tasks of all models, in the order of the columns of the scores.

    Examples
    --------
    `Scorer.load` reads what a run has saved, and `predict` takes a pandas frame or an Arrow table::

        scorer = Scorer.load("runs/first")
        probabilities = scorer.predict(pd.read_csv("new.csv"))  # a column for each task
    """

    def __init__(self, models: Mapping[str, ScenarioScorer]) -> None:
        self._models = dict(sorted(models.items()))
        self.scenarios = tuple(self._models)
        named = {task for model in self._models.values() for task in model.tasks}
        schemas = [model.encoder.schema for model in self._models.values()]
        self.tasks = tuple(dict.fromkeys(task for schema in schemas for task in schema.tasks if task in named))

    @classmethod
    def load(cls, folder: Path | str) -> Scorer:
        """Load saved models.

        Parameters
        ----------
        folder
            Folder of one model, such as ``clients/METHOD/SCENARIO``, or output folder of a run, which stands for the
            models of all its scenarios.

        Raises
        ------
        UserError
            There is no model, a file is damaged, or a model cannot score raw rows.
        """
        found = [ScenarioScorer.load(each) for each in model_folders(Path(folder).expanduser())]
        return cls({each.description.scenario: each for each in found})

    def predict(
        self, rows: Frame, *, source: Path | str | None = None, scenario: str | None = None, raw: bool = False
    ) -> pd.DataFrame:
        """Return the probability of each task for each row.

        Parameters
        ----------
        rows
            Frame with the columns of the data set's own table, in any order. Labels are not needed.
        source
            Folder of the side tables; None: the rows have the columns of side tables too.
        scenario
            Scenario of all rows. None: that of the only model, or the scenario that each row names.
        raw
            Return the probabilities before calibration.

        Returns
        -------
        pandas.DataFrame
            float32, a row for each row and a column for each task, with the index of a pandas frame. A row has no
            score where its scenario has no model or no such task, or where an inner join finds nothing.

        Raises
        ------
        UserError
            A column is missing, a value cannot be read, a scenario is unknown, or rows of several scenarios are to be
            scored by models of different schemas.
        """
        table = self._in_memory(rows, scenario)
        folder = None if source is None else Path(source).expanduser()
        blocks = [each.scores for each in self.score(table, source=folder, scenario=scenario, raw=raw, progress=False)]
        scores = np.concatenate([*blocks, np.empty((0, len(self.tasks)), np.float32)])
        index = rows.index if isinstance(rows, pd.DataFrame) else None
        return pd.DataFrame(scores, columns=list(self.tasks), index=index)

    def score(
        self,
        rows: SourceFile,
        *,
        keep: Sequence[str] = (),
        source: Path | None = None,
        scenario: str | None = None,
        raw: bool = False,
        progress: bool = True,
    ) -> Iterator[ScoredRows]:
        """Yield the rows of a table in their order, block by block, with their scores.

        Parameters
        ----------
        rows
            Table of raw rows.
        keep
            Columns that the chunks have too.
        source, scenario, raw
            Side tables, scenario and kind of scores, as of `predict`.
        progress
            Show a progress bar if standard error is a terminal.

        Raises
        ------
        UserError
            As of `predict`.
        """
        models = self._chosen(scenario)
        table, outputs = self._table(rows, source, models)
        if scenario is None and (route := scenario_route(_schema_of(models), table, self.scenarios)) is not None:
            outputs = [route, *outputs]
        table.require_kept(keep)
        unscored = rows_read = 0
        unknown = UnknownValues(table.schema, models)
        for derived in table.rows(outputs, keep, progress=progress):
            scored = _scored(derived, models, self.scenarios, self.tasks, raw)
            rows_read += len(scored.scores)
            unscored += int(np.isnan(scored.scores).all(axis=1).sum())
            unknown.add(derived)
            yield scored
        unknown.warn()
        if unscored:
            logger.warning(
                "%s of %s rows have no score: their scenario is none of %s, or an inner join finds nothing",
                f"{unscored:,}",
                f"{rows_read:,}",
                ", ".join(models),
            )

    def inputs(
        self, rows: Frame, *, source: Path | str | None = None, scenario: str | None = None
    ) -> dict[str, npt.NDArray[np.int32] | npt.NDArray[np.float32]]:
        """Return the inputs of an exported model by name; see `pfmsmtrec_flwr.scoring.export`.

        Parameters
        ----------
        rows, source
            Rows and side tables, as of `predict`.
        scenario
            Scenario of all rows; None: that of the only model.

        Returns
        -------
        dict
            Field to the rows of its table (n,) int32, or (n, most) for a field of several values. Numeric column to its
            standardised numbers (n,) float32. Rows that an inner join drops are left out.

        Raises
        ------
        UserError
            As of `predict`, or there are several models.
        """
        if scenario is None and len(self.scenarios) > 1:
            raise UserError(f"there are models of {', '.join(self.scenarios)}: name the scenario of all rows")
        models = self._chosen(scenario)
        (model,) = models.values()
        folder = None if source is None else Path(source).expanduser()
        table, outputs = self._table(self._in_memory(rows, scenario), folder, models)
        blocks = [model.named_inputs(each.arrays) for each in table.rows(outputs, progress=False)]
        if not blocks:
            blocks = [model.no_inputs()]
        return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}

    def _chosen(self, scenario: str | None) -> dict[str, ScenarioScorer]:
        if scenario is None:
            return self._models
        if scenario not in self._models:
            raise UserError(f"no model of scenario '{scenario}': there are {', '.join(self.scenarios)}")
        return {scenario: self._models[scenario]}

    def _table(
        self, rows: SourceFile, source: Path | None, models: Mapping[str, ScenarioScorer]
    ) -> tuple[RawTable, list[Output]]:
        """Return a table that has all columns for these models, and the outputs that they need."""
        schema = _schema_of(models)
        table = RawTable.of(schema, rows, source, next(iter(models)) if len(models) == 1 else "")
        outputs = feature_outputs(table.schema, list(models))
        table.require(outputs, f"the model of {', '.join(models)}", side_tables=len(schema.joins))
        return table, outputs

    def _in_memory(self, rows: Frame, scenario: str | None) -> MemoryTable:
        return table_in_memory(rows, columns_to_read(_schema_of(self._chosen(scenario))))


def _schema_of(models: Mapping[str, ScenarioScorer]) -> DatasetSchema:
    """Return the schema by which rows of all these scenarios are read."""
    (first, schema), *others = ((name, model.encoder.schema.written_by(name)) for name, model in models.items())
    for name, other in others:
        if other != schema:
            raise UserError(
                f"the models of {first} and {name} have different schemas, or table.columns_of, so one table cannot be "
                "read for both: score the rows of one scenario at a time, and name it with --scenario"
            )
    return schema


def _scored(
    derived: DerivedRows,
    models: Mapping[str, ScenarioScorer],
    scenarios: Sequence[str],
    tasks: Sequence[str],
    raw: bool,
) -> ScoredRows:
    """Return the scores of rows, by the models of their scenarios."""
    scores = np.full((len(derived.chunk), len(tasks)), np.nan, np.float32)
    origin = np.arange(len(derived.chunk)) if derived.origin is None else derived.origin
    if (origin[1:] == origin[:-1]).any():
        raise UserError(
            f"{derived.chunk.source}: a row has several matches in a side table, expected one score for each row"
        )
    routed = derived.arrays.get(SCENARIO)
    for name, model in models.items():
        place = scenarios.index(name)
        mine = np.arange(len(derived)) if routed is None else np.flatnonzero(routed == place)
        columns = np.array([tasks.index(task) for task in model.tasks])
        scores[np.ix_(origin[mine], columns)] = model.score(derived.arrays, mine, raw=raw)
    return ScoredRows(derived.chunk, scores)
