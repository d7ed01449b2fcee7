"""Raw rows of every public data set, made up in its exact layout, have the scores of the prepared rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import layouts
import numpy as np
import pytest
from numpy.typing import NDArray
from scoring_shop import config

from pfmsmtrec_flwr.data.prepare.pipeline import prepare
from pfmsmtrec_flwr.data.prepare.source_parts import source_parts
from pfmsmtrec_flwr.data.read.sources import SourceFolder
from pfmsmtrec_flwr.data.schema.document import DATASETS_FOLDER, load_schema
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.experiment import run_method
from pfmsmtrec_flwr.results.predictions import read_predictions
from pfmsmtrec_flwr.scoring.saved_model import load_model, predict_prepared
from pfmsmtrec_flwr.scoring.scorer import Scorer

LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "aliexpress": partial(layouts.aliexpress, countries=["NL", "ES"]),
    "aliexpress-raw": partial(layouts.aliexpress_raw, countries=["NL", "ES"]),
    "tenrec": layouts.tenrec,
    "tenrec-ctr": layouts.tenrec_ctr,
    "ali-ccp": layouts.ali_ccp,
    "kuairand": layouts.kuairand,
    "kuairand-1k": partial(layouts.kuairand, version="1k"),
    "movielens-100k": layouts.movielens,
    "movielens-100k-official": layouts.movielens_official,
    "book-crossing": layouts.book_crossing,
}
TOLERANCE = 1e-6

Scores = NDArray[np.float32]


def is_merged_from(rows: Scores, parts: Sequence[Scores]) -> bool:
    """Whether rows are those of the parts, each in its order; a part may have further rows at its end."""
    ways = {(0,) * len(parts)}
    for row in rows:
        ways = {
            (*way[:place], way[place] + 1, *way[place + 1 :])
            for way in ways
            for place, part in enumerate(parts)
            if way[place] < len(part) and np.abs(part[way[place]] - row).max() <= TOLERANCE
        }
    return bool(ways)


def test_the_search_finds_an_order() -> None:
    one, other = (np.array(values, np.float32).reshape(-1, 1) for values in ([0.1, 0.2, 0.1], [0.2, 0.3]))
    for rows, found in (([0.1, 0.2, 0.2, 0.1, 0.3], True), ([0.2, 0.1, 0.3, 0.2], True), ([0.3, 0.1], False)):
        assert is_merged_from(np.array(rows, np.float32).reshape(-1, 1), [one, other]) == found


def test_every_data_set_is_scored_here() -> None:
    assert set(LAYOUTS) == {file.stem for file in DATASETS_FOLDER.glob("*.yaml")}


QUICK = ("aliexpress-raw", "kuairand")


@pytest.mark.parametrize(
    "dataset", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in LAYOUTS]
)
def test_raw_rows_have_the_scores_of_prepared_rows(tmp_path: Path, dataset: str) -> None:
    source = LAYOUTS[dataset](tmp_path / "source")
    schema = load_schema(dataset, negatives=2 if dataset == "tenrec" else None)
    several_files = schema.scenario.names is not None
    scenarios = ["NL", "ES"] if dataset.startswith("aliexpress") else list(schema.scenarios)
    prepare(schema, source, tmp_path / "data", scenarios=scenarios, progress=False)
    run = tmp_path / "run"
    run_method(config("alone", dataset=dataset), data=tmp_path / "data", output=run)
    scorer = Scorer.load(run)
    assert scorer.scenarios == tuple(sorted(scenarios))
    for unit in schema.units(scenarios):
        blocks = [
            block
            for part in source_parts(schema, SourceFolder(source, dataset), unit)
            for block in scorer.score(part.source, source=source, scenario=unit[0] if several_files else None, raw=True)
        ]
        scores = np.concatenate([block.scores for block in blocks])
        check(run, tmp_path / "data" / dataset, unit, scores, scorer.tasks)


def check(run: Path, data: Path, scenarios: Sequence[str], scores: Scores, tasks: Sequence[str]) -> None:
    """Compare the scores of all raw rows of some scenarios with those of the prepared rows."""
    parts: list[Scores] = []
    for name in scenarios:
        store = ScenarioStore.open(data / name)
        model, description = load_model(run / "clients" / "alone" / name)
        assert description.unscorable == ""
        places = [tasks.index(task) for task in store.tasks]
        test = read_predictions(run, name)
        assert test is not None
        for own in (test, *(predict_prepared(model, description, store, split) for split in ("train", "validation"))):
            whole = np.full((len(own), len(tasks)), -1, np.float32)  # a task that the scenario does not have
            whole[:, places] = own
            parts.append(whole)
    scored = scores[~np.isnan(scores).all(axis=1)]
    made_up = data.name == "tenrec" and scenarios[0].endswith("article")
    assert (len(scored) < sum(map(len, parts))) == made_up and len(scored) > 300
    assert len(np.unique(scored.round(5))) > 200
    assert is_merged_from(np.nan_to_num(scored, nan=-1), parts)
