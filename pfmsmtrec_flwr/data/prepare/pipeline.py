"""The steps from the files of a data set to one prepared store per scenario, by streaming.

1. Each file is read once. Before that, the days are read for the rule `last_days`, and the first rows for a form of
   times that the schema does not declare (`clocks`). The derived columns go to disk, scenario by scenario
   (`scenario_rows`).
2. If the schema asks for it, negatives are sampled for tables that hold positive rows only (`negatives`).
3. Vocabularies of local fields and moments of numeric columns are learned on the scenario's training rows
   (`vocabularies`, `moments`).
4. The rows are encoded and written (`encoded_rows`).

A scenario's store depends on its own rows only (and, for the rule `last_days`, on the days in the table), so each site
can prepare its own. An interrupted run continues after the last finished file, if files and schema are unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import pfmsmtrec_flwr
from pfmsmtrec_flwr.data.prepare.checks import (
    check_learned,
    compare_rows,
    report_left_out,
    report_unlabelled,
    warn_of_encodings,
    warn_of_missing_users,
)
from pfmsmtrec_flwr.data.prepare.columns import (
    NOT_FOUND,
    SCENARIO,
    SPLIT,
    WRONG_LABEL,
    Output,
    label_output,
    outputs_of,
)
from pfmsmtrec_flwr.data.prepare.days import day_outputs
from pfmsmtrec_flwr.data.prepare.encoded_rows import encoded_rows, scenario_encoder, store_record, store_writer
from pfmsmtrec_flwr.data.prepare.negatives import add_negatives
from pfmsmtrec_flwr.data.prepare.progress import progress_bar
from pfmsmtrec_flwr.data.prepare.rows import DerivedRows, Reader
from pfmsmtrec_flwr.data.prepare.scenario_rows import (
    TIMES,
    USERS,
    RowsLayout,
    ScenarioRows,
    scenario_arrays,
)
from pfmsmtrec_flwr.data.prepare.source_parts import SourcePart, source_parts
from pfmsmtrec_flwr.data.prepare.splits import (
    TRAIN,
    ByKey,
    ByRow,
    ByUserTime,
    Codes,
    SplitPlan,
    Splitter,
    resolve_split,
)
from pfmsmtrec_flwr.data.prepare.spool import Spool, SpoolWriter, is_spool
from pfmsmtrec_flwr.data.prepare.vocabularies import Learned, learn
from pfmsmtrec_flwr.data.prepare.workspace import Workspace, prepared_before, remember
from pfmsmtrec_flwr.data.read.sources import SourceFolder
from pfmsmtrec_flwr.data.schema.document import DatasetSchema, digest
from pfmsmtrec_flwr.data.store.manifest import MISSING_LABEL, STORE_VERSION
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.data.store.set_aside import set_aside_others
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.log import logger

_VERSION = 1  # version of the derived data; a higher one prepares every data set again


def prepare(
    schema: DatasetSchema,
    source: Path,
    data_root: Path,
    *,
    scenarios: Sequence[str] | None = None,
    progress: bool = True,
) -> list[ScenarioStore]:
    """Read a data set's files and write the stores of its scenarios.

    A scenario that was already prepared from the same files with the same schema is left as it is. Stores of scenarios
    that the schema does not have are moved aside at the end.

    Parameters
    ----------
    schema
        Contents of the files.
    source
        Folder of the files.
    data_root
        Root of the stores, ``<data_root>/<data set>/<scenario>/``. An existing store is replaced.
    scenarios
        Names of the scenarios to prepare; None means all of the schema.
    progress
        Show progress bars if standard error is a terminal.

    Returns
    -------
    The stores, sorted by scenario.

    Raises
    ------
    UserError
        A file or column is missing, a value cannot be read, a scenario is unknown or empty, a split is empty, a task
        has one class in training, or a folder cannot be written. Either all scenarios of the same files are written, or
        none.
    """
    folder = SourceFolder(source, schema.name)
    units = schema.units(_chosen(schema, scenarios))
    _check_files(schema, folder, units)
    stores: list[ScenarioStore] = []
    for unit in units:
        stores += _prepare_unit(schema, folder, data_root, unit, progress)
    set_aside_others(data_root / schema.name, schema.scenarios)
    return sorted(stores, key=lambda store: store.scenario)


def _prepare_unit(
    schema: DatasetSchema, folder: SourceFolder, data_root: Path, unit: Sequence[str], progress: bool
) -> list[ScenarioStore]:
    """Prepare scenarios that come from the same files, except those that are up to date."""
    with Workspace(data_root, schema.name, unit) as workspace:
        written = schema.written_by(unit[0])  # files of several scenarios are written in one way
        reader = Reader(written, source_parts(schema, folder, unit), workspace.path, progress=progress)
        fingerprint = _fingerprint(schema, reader.parts)
        stores = {name: prepared_before(data_root, schema.name, name, fingerprint) for name in unit}
        done = [store for store in stores.values() if store is not None]
        for store in done:
            logger.info("%s: prepared from these files before, left as it is", store.scenario)
        open_scenarios = [name for name, store in stores.items() if store is None]
        if open_scenarios:
            job = _Job(schema, open_scenarios, reader, resolve_split(schema, reader.column), workspace, progress)
            made = job.run(data_root)
            for store in made:
                remember(store, fingerprint)
            done += made
        return done


@dataclass(frozen=True, slots=True)
class _Job:
    """Preparation of scenarios that come from the same files."""

    schema: DatasetSchema
    scenarios: Sequence[str]
    reader: Reader
    plan: SplitPlan
    workspace: Workspace
    progress: bool

    def run(self, data_root: Path) -> list[ScenarioStore]:
        """Read, learn, encode and write; return the stores."""
        spools = self._spool_parts()
        finished = {name: self._finish(name, spools[name]) for name in self.scenarios}
        with ExitStack() as stack:
            writers = {
                name: stack.enter_context(store_writer(self.schema, rows, learned, data_root))
                for name, (rows, learned) in finished.items()
            }
            for name, (rows, learned) in finished.items():
                with progress_bar(f"writing {name}", len(rows), wanted=self.progress, unit="rows") as advance:
                    for split, arrays in encoded_rows(self.schema, rows, learned):
                        writers[name].append(split, **arrays)
                        advance(len(arrays["labels"]))
                writers[name].attach(scenario_encoder(self.schema, rows, learned).save)
            return [
                writers[name].commit(store_record(self.schema, self.plan, *finished[name])) for name in self.scenarios
            ]

    def _spool_parts(self) -> dict[str, list[Spool]]:
        """Return the spools of all files, and read the files that have none."""
        spools: dict[str, list[Spool]] = {name: [] for name in self.scenarios}
        fingerprints: list[str] = []
        for part in self.reader.parts:
            starts = {name: sum(spool.rows for spool in own) for name, own in spools.items()}
            layouts = [RowsLayout.of(self.schema, name).arrays() for name in self.scenarios]
            plan = [self.plan.description, self.scenarios, starts, layouts]
            fingerprints.append(_fingerprint(self.schema, [part], plan))
            folder = self.workspace.part(fingerprints[-1])
            if all(is_spool(folder / name) for name in self.scenarios):
                logger.info("%s: read before, going on behind it", part.source.name)
            else:
                self._spool(part, starts, folder)
            for name in self.scenarios:
                spools[name].append(Spool(folder / name))
        try:
            self.reader.refuse_unmatched()
        except UserError:
            self.workspace.keep_only([])  # the next run must read again to find this error
            raise
        self.workspace.keep_only(fingerprints)
        return spools

    def _spool(self, part: SourcePart, starts: Mapping[str, int], folder: Path) -> None:
        splitter = self.plan.parts[part.split]
        outputs = [*outputs_of(self.schema, self.scenarios, splitter), *day_outputs(self.schema, splitter)]
        layouts = {name: RowsLayout.of(self.schema, name) for name in self.scenarios}
        with ExitStack() as stack:
            writers = {
                name: stack.enter_context(SpoolWriter(folder / name, layouts[name].arrays())) for name in self.scenarios
            }
            dropped = 0
            for rows in self.reader.rows(part, outputs):
                self._check_found(rows, outputs)
                for place, name in enumerate(self.scenarios):
                    mine = _rows_of(rows, place)
                    self._check_labels(name, rows, mine, outputs)
                    count = len(rows) if isinstance(mine, slice) else len(mine)
                    first = starts[name] + writers[name].rows
                    split = _codes(splitter, rows, mine, np.arange(first, first + count))
                    if count:
                        writers[name].append(
                            scenario_arrays(self.schema, name, layouts[name], rows.arrays, mine, split)
                        )
                    dropped -= count
                dropped += len(rows)
            for writer in writers.values():
                writer.finish()
        if dropped:
            logger.info("%s: %d rows of other scenarios left out", part.source.name, dropped)

    def _check_found(self, rows: DerivedRows, outputs: Sequence[Output]) -> None:
        """Refuse rows whose side table has no split, or no scenario unless such rows are dropped."""
        for output in outputs:
            if output.name == SCENARIO and self.schema.scenario.others == "error":
                wrong = rows.arrays[SCENARIO] == NOT_FOUND
            elif output.name == SPLIT:
                wrong = rows.arrays[SPLIT] == NOT_FOUND
                if SCENARIO in rows.arrays:
                    wrong &= rows.arrays[SCENARIO] >= 0
            else:
                continue
            if wrong.any():
                raise rows.error(output, wrong, f"expected one for the {output.name}")

    def _check_labels(
        self, scenario: str, rows: DerivedRows, mine: slice | npt.NDArray[np.int64], outputs: Sequence[Output]
    ) -> None:
        by_name = {output.name: output for output in outputs}
        for task, spec in self.schema.tasks_of(scenario).items():
            labels = rows.arrays[label_output(task)]
            wrong = np.zeros(len(rows), dtype=bool)
            wrong[mine] = labels[mine] == WRONG_LABEL
            if spec.unlabelled == "refuse":
                wrong[mine] |= labels[mine] == MISSING_LABEL
            if wrong.any():
                expected = spec.expected if spec.at_least is None else f"a number, for the label of the task '{task}'"
                missing = labels[np.argmax(wrong)] == MISSING_LABEL
                remedy = f" (or tasks.{task}.unlabelled: skip, where labels may be missing)" if missing else ""
                raise rows.error(by_name[label_output(task)], wrong, f"expected {expected}{remedy}")

    def _finish(self, name: str, spools: Sequence[Spool]) -> tuple[ScenarioRows, Learned]:
        """Sample negatives if the schema asks for them, learn, and check."""
        rows = ScenarioRows(name, RowsLayout.of(self.schema, name), tuple(spools))
        compare_rows(self.schema, name, len(rows))
        splitter = self.plan.parts.get(None)
        if isinstance(splitter, ByUserTime) and len(rows):
            rows = replace(rows, codes=splitter.codes_of_all(rows.whole(USERS), rows.whole(TIMES)))
        spec = self.schema.negatives
        if spec is not None and name in spec.scenarios and spec.per_positive and len(rows):
            with progress_bar(f"negatives {name}", len(rows), wanted=self.progress, unit="rows") as advance:
                rows = add_negatives(spec, rows, self.workspace.path / f"negatives-{name}", advance)
        with progress_bar(f"learning {name}", len(rows), wanted=self.progress, unit="rows") as advance:
            learned = learn(self.schema, rows, advance)
        check_learned(self.schema, name, learned, self.plan)
        warn_of_encodings(name, learned)
        warn_of_missing_users(name, learned)
        report_left_out(self.schema, name, learned)
        report_unlabelled(self.schema, name, learned)
        return rows, learned


def _chosen(schema: DatasetSchema, scenarios: Sequence[str] | None) -> list[str]:
    if scenarios is None:
        return list(schema.scenarios)
    for name in scenarios:
        if name not in schema.scenarios:
            raise UserError(f"scenario '{name}' is unknown to {schema.name}: it has {', '.join(schema.scenarios)}")
    if not scenarios:
        raise UserError(f"no scenario was named: {schema.name} has {', '.join(schema.scenarios)}")
    return sorted(set(scenarios))


def _check_files(schema: DatasetSchema, folder: SourceFolder, units: Sequence[Sequence[str]]) -> None:
    """Refuse missing files before hours are spent on the others."""
    there: list[str] = []
    problem: UserError | None = None
    for unit in units:
        try:
            source_parts(schema, folder, unit)
            there += unit
        except UserError as error:
            problem = problem or error
    if problem is not None:
        only = " ".join(f"--scenario {name}" for name in there)
        raise UserError(f"{problem}; to prepare what is there: {only}" if there else str(problem))


def _fingerprint(schema: DatasetSchema, parts: Sequence[SourcePart], more: Sequence[Any] = ()) -> str:
    """Return a digest of the files, the schema and the version."""
    files = [
        [part.split, part.source.identity(), [[source.identity() for source in side] for side in part.sides]]
        for part in parts
    ]
    version = [_VERSION, STORE_VERSION, pfmsmtrec_flwr.__version__]
    document = schema.model_dump(mode="json")
    for table in (document["table"], *document["joins"]):
        if not table["columns_of"]:
            del table["columns_of"]  # without it a data set has the digest that it had before the key existed
    return digest([version, document, files, *more])


def _rows_of(rows: DerivedRows, place: int) -> slice | npt.NDArray[np.int64]:
    if SCENARIO not in rows.arrays:  # the files hold one scenario
        return slice(None)
    return np.flatnonzero(rows.arrays[SCENARIO] == place)


def _codes(
    splitter: Splitter, rows: DerivedRows, mine: slice | npt.NDArray[np.int64], numbers: npt.NDArray[np.int64]
) -> Codes:
    """Return the splits of a scenario's rows, which have these numbers in it."""
    if isinstance(splitter, ByRow):
        return splitter.codes(numbers)
    if isinstance(splitter, ByUserTime):
        return np.full(len(numbers), TRAIN, dtype=np.int8)  # replaced when all rows of the scenario are known
    codes: Codes = rows.arrays[SPLIT][mine]
    return splitter.drawn(codes, numbers) if isinstance(splitter, ByKey) else codes
