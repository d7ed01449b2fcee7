"""Files of raw rows to files of scores: rows keep their order and the columns asked for."""

from __future__ import annotations

import gzip
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from modes import open_to_others
from scoring_shop import TASKS, impressions, trained_shop

from pfmsmtrec_flwr.data.read import csv_pieces, parquet_tables
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.scoring.score_files import score_file
from pfmsmtrec_flwr.scoring.scorer import Scorer


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    return Scorer.load(trained_shop(tmp_path_factory.mktemp("shop")))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    impressions(500).drop(columns=["click", "buy"]).to_csv(tmp_path / "new.csv", index=False)
    return tmp_path / "new.csv"


def read(path: Path) -> pd.DataFrame:
    return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)


def test_any_form_has_the_scores_of_the_frame(
    scorer: Scorer, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = pd.read_csv(log)
    expected = scorer.predict(frame)
    frame.to_parquet(tmp_path / "new.parquet")
    with gzip.open(tmp_path / "new.csv.gz", "wb") as stream:
        stream.write(log.read_bytes())
    monkeypatch.setattr(csv_pieces, "PIECE_BYTES", 5_000)  # many pieces and blocks
    monkeypatch.setattr(parquet_tables, "PARQUET_ROWS", 64)
    for name in ("new.csv", "new.parquet", "new.csv.gz"):
        for ending in (".csv", ".parquet"):
            output = tmp_path / f"scores{ending}"
            assert score_file(scorer, tmp_path / name, output, keep=["row", "user", "price"]) == 500
            scores = read(output)
            assert list(scores.columns) == ["row", "user", "price", *TASKS]
            assert scores[["row", "price"]].equals(frame[["row", "price"]])
            assert scores.user.astype(int).equals(frame.user)
            np.testing.assert_allclose(scores[TASKS], expected, atol=1e-6)
    assert sorted(file.name for file in tmp_path.glob("*score*")) == ["scores.csv", "scores.parquet"]


def test_kept_columns_are_as_written(scorer: Scorer, tmp_path: Path) -> None:
    frame = impressions(3).assign(row=pd.Series(["007", 'a "b", c', None]), country="NL")
    frame.to_csv(tmp_path / "new.csv", index=False)
    score_file(scorer, tmp_path / "new.csv", tmp_path / "scores.csv", keep=["row"])
    assert pd.read_csv(tmp_path / "scores.csv", dtype=str).row.tolist()[:2] == ["007", 'a "b", c']
    assert (tmp_path / "scores.csv").read_text().splitlines()[3].startswith(",0.")
    ids = pa.array([2**60 + 1, 2**60 + 2, 5])
    rows = pa.Table.from_pandas(frame, preserve_index=False).append_column("id", ids)
    pq.write_table(rows, tmp_path / "new.parquet")
    score_file(scorer, tmp_path / "new.parquet", tmp_path / "scores.parquet", keep=["id"])
    assert pq.read_table(tmp_path / "scores.parquet").column("id").to_pylist() == ids.to_pylist()
    rows = rows.drop(["tags"]).append_column("tags", pa.array([["a", "b"], [], ["c"]]))
    pq.write_table(rows, tmp_path / "new.parquet")
    score_file(scorer, tmp_path / "new.parquet", tmp_path / "scores.parquet", keep=["tags"])
    assert pq.read_table(tmp_path / "scores.parquet").column("tags").to_pylist() == ["a|b", None, "c"]


def test_a_score_that_does_not_exist_is_empty(scorer: Scorer, tmp_path: Path) -> None:
    impressions(2).assign(country=["US", "NL"]).to_csv(tmp_path / "new.csv", index=False)
    for ending in (".csv", ".parquet"):
        score_file(scorer, tmp_path / "new.csv", tmp_path / f"scores{ending}")
    assert (tmp_path / "scores.csv").read_text().splitlines()[1] == ","
    assert pq.read_table(tmp_path / "scores.parquet").column("ctr").null_count == 1


def test_the_key_of_a_folder_is_a_column(scorer: Scorer, tmp_path: Path) -> None:
    frame = impressions(50).assign(country="NL")
    (tmp_path / "country=NL").mkdir()
    frame.drop(columns="country").to_csv(tmp_path / "country=NL" / "new.csv", index=False)
    score_file(scorer, tmp_path / "country=NL" / "new.csv", tmp_path / "scores.csv", keep=["country"])
    found = read(tmp_path / "scores.csv")
    assert (found.country == "NL").all()
    np.testing.assert_allclose(found[TASKS], scorer.predict(frame)[TASKS], atol=1e-6)


def test_without_rows_there_is_a_header(scorer: Scorer, tmp_path: Path) -> None:
    impressions(2).iloc[:0].to_csv(tmp_path / "new.csv", index=False)
    assert score_file(scorer, tmp_path / "new.csv", tmp_path / "scores.csv", keep=["row"]) == 0
    assert (tmp_path / "scores.csv").read_text() == '"row","ctr","ctcvr"\n'
    assert open_to_others(tmp_path / "scores.csv") == []


def test_standard_output_is_csv_and_stays_open(
    scorer: Scorer, log: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    for _ in range(2):
        assert score_file(scorer, log, None, keep=["row"]) == 500
        printed = capfdbinary.readouterr().out.decode().splitlines()
        assert printed[0] == '"row","ctr","ctcvr"' and printed[1].startswith('"r0",') and len(printed) == 501


@pytest.mark.parametrize(
    ("name", "output", "keep", "message"),
    [
        (".", "scores.csv", [], r" is a folder: give a table of raw rows, CSV or Parquet"),
        ("/dev/null", "scores.csv", [], r"^/dev/null is a pipe or device, which cannot be read twice: give a table"),
        ("none.csv", "scores.csv", [], r"no file .*none\.csv: give a table of raw rows, CSV or Parquet"),
        ("new.json", "scores.csv", [], r"new\.json: got the ending '\.json', expected \.csv, \.csv\.gz or \.parquet"),
        ("new.csv", "scores.txt", [], r"--output .*scores\.txt: got the ending '\.txt', expected \.csv or \.parquet"),
        ("new.csv", "new.csv", [], r"the scores would replace the rows in .*new\.csv"),
        ("new.csv", "no/scores.csv", [], r"cannot write .*no/scores\.csv: No such file or directory"),
        ("new.csv", "scores.csv", ["ctr"], r"the scores have a column 'ctr', the task: rename the column"),
        ("new.csv", "scores.csv", ["id"], r"new\.csv: no column 'id' to keep; it has row, country, "),
    ],
)
def test_what_cannot_be_done_is_one_line(
    scorer: Scorer, log: Path, name: str, output: str, keep: list[str], message: str
) -> None:
    (log.parent / "new.json").write_text("{}")
    before = log.read_bytes()
    with pytest.raises(UserError, match=message):
        score_file(scorer, log.parent / name, log.parent / output, keep=keep)
    assert log.read_bytes() == before
    assert sorted(file.name for file in log.parent.iterdir()) == ["new.csv", "new.json"]


def test_a_wrong_value_names_file_line_and_column_and_leaves_no_file(scorer: Scorer, log: Path) -> None:
    lines = log.read_text().splitlines()
    cells = lines[300].split(",")
    cells[lines[0].split(",").index("price")] = "dear"
    lines[300] = ",".join(cells)
    log.write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match=r"new\.csv, line 301, column 'price': got 'dear', expected a number"):
        score_file(scorer, log, log.parent / "scores.csv")
    assert [file.name for file in log.parent.iterdir()] == ["new.csv"]


def test_a_full_disk_and_another_delimiter_are_one_line(
    scorer: Scorer, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Path("/dev/full").open("wb", buffering=0) as full, monkeypatch.context() as patch:
        patch.setattr("sys.stdout", SimpleNamespace(buffer=full))
        with pytest.raises(UserError, match=r"^cannot write the scores: .*No space left on device"):
            score_file(scorer, log, None)
    pd.read_csv(log).to_csv(log, index=False, sep=";")
    with pytest.raises(UserError, match=r"new\.csv, line 1: got one column, .* separated by ';', expected ','"):
        score_file(scorer, log, None)
