from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from federated import Tiny
from written_stores import written

from pfmsmtrec_flwr.config import DataSettings, FederationSettings, RunConfig
from pfmsmtrec_flwr.data.prepare.pipeline import prepare
from pfmsmtrec_flwr.data.rules import split_rule_of
from pfmsmtrec_flwr.data.scenarios import chosen_scenarios, known_scenarios, open_checked_store, open_store
from pfmsmtrec_flwr.data.schema.document import DatasetSchema
from pfmsmtrec_flwr.data.store import reader
from pfmsmtrec_flwr.data.store.manifest import MISSING_LABEL, file_checksum
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.validation import parse

MADE_UP = DataSettings(synthetic={"train_rows": {"A": 100, "B": 300, "C": 200, "D": 300}, "ctr": 0.3})


def test_the_rows_of_known_scenarios(tiny: Tiny) -> None:
    assert known_scenarios(DataSettings(name="tiny"), tiny.root) == {"ES": 80, "FR": 64, "NL": 96, "US": 48}
    assert known_scenarios(MADE_UP, tiny.root) == {"A": 100, "B": 300, "C": 200, "D": 300}
    with pytest.raises(UserError, match=r"^no prepared data of 'other' in .*: run `pfmsmtrec prepare other"):
        known_scenarios(DataSettings(name="other"), tiny.root)


def bought(folder: Path, split: dict[str, Any], scenarios: list[str] | None = None, names: str = "NL DE") -> None:
    source = folder / "source"
    source.mkdir(exist_ok=True)
    lines = [
        f"{name},{row % 30},{row % 41},{row % 7},{(row + row // 7) % 2}" for row in range(200) for name in names.split()
    ]
    (source / "log.csv").write_text("\n".join(["country,user,page,item,click", *lines]) + "\n")
    document = {
        "name": "shop",
        "title": "Shop",
        "licence": "ours",
        "url": "none",
        "table": {"files": ["log.csv"]},
        "scenario": {"column": "country", "values": {name: name for name in names.split()}},
        "tasks": {"ctr": "click"},
        "users": "user",
        "split": split,
        "fields": {"item": {"identity": {"size": 8}, "embedding": "federated"}},
    }
    prepare(parse(DatasetSchema, document, "shop.yaml"), source, folder / "data", scenarios=scenarios, progress=False)


RANDOM = {"random": {"validation": 0.2, "test": 0.2}}
SHOP = RunConfig(data=DataSettings(name="shop"))


def test_scenarios_of_two_splits_are_refused_until_all_are_prepared_alike(tmp_path: Path) -> None:
    bought(tmp_path, RANDOM)
    assert set(chosen_scenarios(SHOP, tmp_path / "data")) == {"NL", "DE"}
    bought(tmp_path, {"by_user": {"validation": 0.2, "test": 0.2}}, scenarios=["NL"])
    with pytest.raises(UserError, match="scenarios DE and NL were prepared under different split rules"):
        chosen_scenarios(SHOP, tmp_path / "data")
    alone = SHOP.model_copy(update={"federation": FederationSettings(scenarios=("NL",))})
    assert set(chosen_scenarios(alone, tmp_path / "data")) == {"NL"}
    bought(tmp_path, {"by_user": {"validation": 0.2, "test": 0.2}})
    assert set(chosen_scenarios(SHOP, tmp_path / "data")) == {"NL", "DE"}


def test_sites_agree_on_the_split_whatever_their_columns_are_called(tmp_path: Path) -> None:
    told = []
    for key in ("user", "page", None):
        bought(tmp_path, {"random": {"validation": 0.2, "test": 0.2} | ({"key": key} if key else {})})
        told.append(split_rule_of(open_store(SHOP.data, tmp_path / "data", "NL")))
    assert told[0] == told[1] == "{random: {validation: 0.2, test: 0.2, seed: 0, key: '...'}}"
    assert told[2] == "{random: {validation: 0.2, test: 0.2, seed: 0}}"
    assert split_rule_of(open_checked_store(MADE_UP, tmp_path, "A")) == ""


def test_a_scenario_that_left_the_schema_takes_no_part(tmp_path: Path) -> None:
    bought(tmp_path, RANDOM, names="NL DE FR")
    bought(tmp_path, RANDOM, names="NL DE", scenarios=["NL"])
    assert set(chosen_scenarios(SHOP, tmp_path / "data")) == {"NL", "DE"}
    assert (tmp_path / "data/shop/.set-aside/FR/current").is_file()


def flip(store: ScenarioStore, name: str, value: int) -> None:
    content = bytearray((store.folder / name).read_bytes())
    content[0] = value
    (store.folder / name).write_bytes(content)


def test_a_flipped_value_is_found_once_in_a_process_or_not_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = written(tmp_path / "shop" / "NL")
    read: list[Path] = []

    def counted(file: Path) -> str:
        read.append(file)
        return file_checksum(file)

    monkeypatch.setattr(reader, "file_checksum", counted)
    for _ in range(3):
        assert open_checked_store(SHOP.data, tmp_path, "NL").version == store.version
    assert len(read) == len(list(store.folder.glob("*.bin")))
    damaged = written(tmp_path / "shop" / "NL", first=100)
    flip(damaged, "train.categorical.bin", 1)
    open_checked_store(DataSettings(name="shop", verify=False), tmp_path, "NL")
    with pytest.raises(UserError, match=r"train\.categorical\.bin: its checksum differs .* `pfmsmtrec prepare shop"):
        open_checked_store(SHOP.data, tmp_path, "NL")


@pytest.mark.parametrize("label", [2, MISSING_LABEL])
def test_a_label_of_neither_class_is_refused_without_checksums_too(tmp_path: Path, label: int) -> None:
    flip(written(tmp_path / "shop" / "NL"), "validation.labels.bin", label)
    with pytest.raises(UserError, match=rf"validation\.labels\.bin: got the label {label}, expected 0 or 1"):
        open_checked_store(DataSettings(name="shop", verify=False), tmp_path, "NL")


def test_damaged_made_up_rows_are_made_again(tmp_path: Path) -> None:
    store = open_checked_store(MADE_UP, tmp_path, "A")
    before = (store.folder / "train.categorical.bin").read_bytes()
    flip(store, "train.categorical.bin", before[0] ^ 1)
    again = open_checked_store(MADE_UP, tmp_path, "A")
    assert (again.folder / "train.categorical.bin").read_bytes() == before
