"""Read the output folder of a comparison, or of a run, into a study."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.report.settings import changed_settings
from pfmsmtrec_flwr.report.study import LoggedRun, LoggedVariant, Study
from pfmsmtrec_flwr.results.frame import FAMILIES
from pfmsmtrec_flwr.results.rounds import read_metrics
from pfmsmtrec_flwr.results.schema import RESULTS_NAME
from pfmsmtrec_flwr.results.summary import read_summary
from pfmsmtrec_flwr.results.writer import read_results

RUNS_NAME = "runs"
_SEED_FOLDERS = "*/seed*"


def read_study(folder: Path) -> Study:
    """Read all finished runs.

    Parameters
    ----------
    folder
        Folder of a comparison, with ``runs/VARIANT/seedS-HASH8``, of which those that its ``summary.json`` counts are
        read; or folder of a run, with its reference methods in folders below.

    Raises
    ------
    UserError
        There is no finished run, a file is damaged, two runs have the same variant and seed, or the data sets differ.
    """
    found = _compared(folder) or _single(folder)
    finished = [(name, path) for name, path in found if (path / RESULTS_NAME).is_file()]
    if not finished:
        raise UserError(
            f"no {RESULTS_NAME} in {folder}: give the output folder of `pfmsmtrec compare`, or of a run that has ended"
        )
    variants = _variants(finished)
    datasets = sorted({run.results.dataset for variant in variants for run in variant.runs})
    if len(datasets) > 1:
        raise UserError(f"{folder} holds runs on the data sets {', '.join(datasets)}: a report is about one of them")
    last = max((path / RESULTS_NAME).stat().st_mtime for _, path in finished)
    unfinished = tuple(f"{name} {path.name}" for name, path in found if not (path / RESULTS_NAME).is_file())
    day, summary = datetime.fromtimestamp(last, UTC).date(), read_summary(folder)
    own = "" if _compared(folder) else found[0][0]
    return Study(datasets[0], variants, day, unfinished, summary, own)


def _compared(folder: Path) -> list[tuple[str, Path]]:
    """Return variant and folder of each run of a comparison: those that its summary counts, and begun ones.

    The folder may also hold runs of earlier settings. Without a summary, all runs count.
    """
    paths = sorted(path for path in (folder / RUNS_NAME).glob(_SEED_FOLDERS) if path.is_dir())
    summary = read_summary(folder)
    if summary is not None:
        counted = [folder / run.folder for run in summary.runs]
        places = {_place(path) for path in counted}
        begun = [path for path in paths if not (path / RESULTS_NAME).is_file() and _place(path) not in places]
        paths = [*counted, *begun]
    return [(path.parent.name, path) for path in paths]


def _place(path: Path) -> tuple[str, str]:
    """Return variant and seed from the names of a run's folder."""
    return path.parent.name, path.name.partition("-")[0]


def _single(folder: Path) -> list[tuple[str, Path]]:
    if not (folder / RESULTS_NAME).is_file():
        return []
    results = read_results(folder)
    return [(results.method, folder), *((name, folder / name) for name in results.reference)]


def _variants(finished: Sequence[tuple[str, Path]]) -> tuple[LoggedVariant, ...]:
    runs: dict[str, dict[int, LoggedRun]] = {}
    places: dict[tuple[str, int], Path] = {}
    for name, path in finished:
        run = LoggedRun(read_results(path), tuple(read_metrics(path)))
        seed = run.results.seed
        if seed in runs.setdefault(name, {}):
            raise UserError(
                f"{places[name, seed]} and {path} are two runs of {name} with seed {seed}: "
                "remove the one that is not meant"
            )
        runs[name][seed] = run
        places[name, seed] = path
    variants = []
    for name, own in runs.items():
        settings = changed_settings(places[name, min(own)], own[min(own)].results.method)
        variants.append(LoggedVariant(name, tuple(own[seed] for seed in sorted(own)), settings))
    return tuple(sorted(variants, key=lambda variant: (FAMILIES.index(variant.family), variant.name)))
