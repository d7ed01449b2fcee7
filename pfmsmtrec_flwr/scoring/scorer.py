"""Raw rows to probabilities, by the saved models of one or several scenarios.

The rows are read, joined, encoded and standardised by the functions that prepare a data set, with the vocabularies,
means and deviations of the training rows. So a row has the score that it has as a test row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import pandas as pd

from pfmsmtrec_flwr.data.prepare.columns import SCENARIO, Output, feature_outputs, scenario_output
from pfmsmtrec_flwr.data.prepare.rows import DerivedRows, Reader
from pfmsmtrec_flwr.data.read.chunks import Chunk
from pfmsmtrec_flwr.data.read.sources import SourceFile
from pfmsmtrec_flwr.data.schema.document import DatasetSchema
from pfmsmtrec_flwr.data.schema.scenario_section import ScenarioSection
from pfmsmtrec_flwr.data.schema.values import Scalar
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.scoring.model_folders import model_folders
from pfmsmtrec_flwr.scoring.raw_tables import Frame, RawTable, table_in_memory
from pfmsmtrec_flwr.scoring.scenario_scorer import ScenarioScorer

NAMES_COLUMN = "scenario"
"""Column with the names of scenarios, for data sets whose scenarios have files of their own."""


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
    schema
        Schema of the data set.

    Raises
    ------
    UserError
        The models have different schemas.

    Examples
    --------
    `Scorer.load` reads what a run has saved, and `predict` takes a pandas frame or an Arrow table::

        scorer = Scorer.load("runs/first")
        probabilities = scorer.predict(pd.read_csv("new.csv"))  # a column for each task
    """

    def __init__(self, models: Mapping[str, ScenarioScorer]) -> None:
        self._models = dict(sorted(models.items()))
        self.scenarios = tuple(self._models)
        first = self._models[self.scenarios[0]]
        self.schema: DatasetSchema = first.encoder.schema
        for name, model in self._models.items():
            if model.encoder.schema != self.schema:
                raise UserError(
                    f"the models of {self.scenarios[0]} and {name} have different schemas, so one table cannot be read "
                    "for both: score them one by one"
                )
        named = {task for model in self._models.values() for task in model.tasks}
        self.tasks = tuple(task for task in self.schema.tasks if task in named)

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

    def predict(self, rows: Frame, *, source: Path | str | None = None, scenario: str | None = None) -> pd.DataFrame:
        """Return the probability of each task for each row.

        Parameters
        ----------
        rows
            Frame with the columns of the data set's own table, in any order. Labels are not needed.
        source
            Folder of the side tables; None: the rows have the columns of side tables too.
        scenario
            Scenario of all rows. None: that of the only model, or the scenario that each row names.

        Returns
        -------
        pandas.DataFrame
            float32, a row for each row and a column for each task, with the index of a pandas frame. A row has no
            score where its scenario has no model or no such task, or where an inner join finds nothing.

        Raises
        ------
        UserError
            A column is missing, a value cannot be read, or a scenario is unknown.
        """
        table = table_in_memory(rows)
        folder = None if source is None else Path(source).expanduser()
        blocks = [each.scores for each in self.score(table, source=folder, scenario=scenario, progress=False)]
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
        progress: bool = True,
    ) -> Iterator[ScoredRows]:
        """Yield the rows of a table in their order, block by block, with their scores.

        Parameters
        ----------
        rows
            Table of raw rows.
        keep
            Columns that the chunks have too.
        source, scenario
            Side tables and scenario, as of `predict`.
        progress
            Show a progress bar if standard error is a terminal.

        Raises
        ------
        UserError
            As of `predict`.
        """
        models = self._chosen(scenario)
        table = RawTable.of(self.schema, rows, source, next(iter(models)) if len(models) == 1 else "")
        outputs = feature_outputs(table.schema, list(models))
        if scenario is None and (router := self._router(table)) is not None:
            outputs = [router, *outputs]
        table.require(outputs, f"the model of {', '.join(models)}", len(self.schema.joins))
        table.require_kept(keep)
        numbers = {output.column for output in outputs if output.number}
        more = [name for name in keep if name not in numbers]
        unscored = rows_read = 0
        with TemporaryDirectory(prefix="pfmsmtrec-") as workspace:
            reader = Reader(table.schema, [table.part], Path(workspace), progress=progress)
            for derived in reader.rows(table.part, outputs, more):
                scored = self._scored(derived, models)
                rows_read += len(scored.scores)
                unscored += int(np.isnan(scored.scores).all(axis=1).sum())
                yield scored
            _report_unmatched(reader)
        if unscored:
            logger.warning(
                "%s of %s rows have no score: their scenario is none of %s, or an inner join finds nothing",
                f"{unscored:,}",
                f"{rows_read:,}",
                ", ".join(models),
            )

    def _chosen(self, scenario: str | None) -> dict[str, ScenarioScorer]:
        if scenario is None:
            return self._models
        if scenario not in self._models:
            raise UserError(f"no model of scenario '{scenario}': there are {', '.join(self.scenarios)}")
        return {scenario: self._models[scenario]}

    def _router(self, table: RawTable) -> Output | None:
        """Return the output of each row's scenario; None if all rows belong to the only model."""
        column = self.schema.scenario.column
        if column in table.known:
            return scenario_output(table.schema, self.scenarios, column)
        if len(self.scenarios) == 1:
            return None
        if column is not None:
            raise UserError(
                f"{table.part.source}: no column '{column}', which says the scenario of a row; it has "
                f"{', '.join(table.names)}: add it, or name the scenario of all rows with --scenario"
            )
        if NAMES_COLUMN not in table.names:
            raise UserError(
                f"{table.part.source}: there are models of {', '.join(self.scenarios)}: name the scenario of all rows "
                f"with --scenario, or add a column '{NAMES_COLUMN}' with the names"
            )
        names: dict[Scalar, str] = {name: name for name in self.schema.scenarios}
        section = ScenarioSection(column=NAMES_COLUMN, values=names)
        return scenario_output(table.schema.model_copy(update={"scenario": section}), self.scenarios, NAMES_COLUMN)

    def _scored(self, derived: DerivedRows, models: Mapping[str, ScenarioScorer]) -> ScoredRows:
        scores = np.full((len(derived.chunk), len(self.tasks)), np.nan, np.float32)
        origin = np.arange(len(derived.chunk)) if derived.origin is None else derived.origin
        if (origin[1:] == origin[:-1]).any():
            raise UserError(
                f"{derived.chunk.source}: a row has several matches in a side table, expected one score for each row"
            )
        routed = derived.arrays.get(SCENARIO)
        for number, (name, model) in enumerate(models.items()):
            place = self.scenarios.index(name) if routed is not None else number
            mine = np.arange(len(derived)) if routed is None else np.flatnonzero(routed == place)
            columns = np.array([self.tasks.index(task) for task in model.tasks])
            scores[np.ix_(origin[mine], columns)] = model.score(derived.arrays, mine)
        return ScoredRows(derived.chunk, scores)


def _report_unmatched(reader: Reader) -> None:
    """Log the rows without a match in side tables; new rows may all be of unknown users."""
    try:
        reader.refuse_unmatched()
    except UserError as error:
        logger.warning("%s", error)
