"""Versions of a store: each is whole, the pointer is swapped in one step, readers go on with what they opened."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import cast

import pytest
from written_stores import rows, writer, written

from pfmsmtrec_flwr.data.store import versions
from pfmsmtrec_flwr.data.store.listing import list_scenarios
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.errors import UserError


def contents(path: Path) -> set[str]:
    return {child.name for child in path.iterdir()}


def test_replacing_keeps_mapped_arrays_of_the_old_store(tmp_path: Path) -> None:
    old = written(tmp_path / "shop" / "NL")
    new = written(tmp_path / "shop" / "NL", first=100)
    assert old.splits["train"].numeric[0, 0] == 0
    assert new.splits["train"].numeric[0, 0] == 25
    assert old.splits["train"].numeric[-1, 0] == 11 / 4
    assert [child.name for child in (tmp_path / "shop").iterdir()] == ["NL"]
    assert contents(new.path) == {"current", "lock", new.version}
    assert not old.folder.exists()


def test_concurrent_commits_leave_one_whole_store(tmp_path: Path) -> None:
    path = tmp_path / "shop" / "NL"
    failures: list[BaseException] = []
    start = threading.Barrier(4)

    def commit(number: int) -> None:
        try:
            with writer(path) as each:
                each.append("train", **rows(number, number + 5))
                start.wait()
                each.commit({"number": number})
        except (UserError, threading.BrokenBarrierError) as error:
            failures.append(error)

    threads = [threading.Thread(target=commit, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    found = ScenarioStore.open(path, verify=True)
    assert found.splits["train"].numeric[0, 0] == cast(int, found.extra["number"]) / 4
    assert [child.name for child in path.parent.iterdir()] == ["NL"]
    assert contents(path) == {"current", "lock", found.version}


def test_the_pointer_file_names_the_folder_of_the_files(tmp_path: Path) -> None:
    store = written(tmp_path / "shop" / "NL")
    assert re.fullmatch(r"version-[0-9a-f]{12}", store.version)
    assert (store.path / "current").read_text() == f"{store.version}\n"
    assert store.folder == store.path / store.version
    assert (store.folder / "manifest.json").is_file()


@pytest.mark.parametrize("step", ["rename", "sync_folder", "write_synced", "replace"])
def test_a_writer_that_is_cut_off_leaves_the_old_version_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = written(tmp_path / "shop" / "NL").path

    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    with writer(path) as each:
        each.append("train", **rows(100, 103))
        with monkeypatch.context() as patched:
            patched.setattr(Path if step in {"rename", "replace"} else versions, step, cut_off)
            with pytest.raises(KeyboardInterrupt):
                each.commit()
    assert len(ScenarioStore.open(path, verify=True).splits["train"]) == 12
    newer = written(path, first=100)
    assert ScenarioStore.open(path, verify=True).splits["train"].numeric[0, 0] == 25
    assert contents(path) == {"current", "lock", newer.version}


def test_a_writer_that_is_cut_off_while_it_removes_the_old_version_leaves_the_new_one_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "shop" / "NL").path

    def cut_off(_: Path) -> None:
        raise KeyboardInterrupt

    with writer(path) as each:
        each.append("train", **rows(100, 103))
        with monkeypatch.context() as patched:
            patched.setattr(versions, "_remove", cut_off)
            with pytest.raises(KeyboardInterrupt):
                each.commit()
    assert len(ScenarioStore.open(path, verify=True).splits["train"]) == 3
    newer = written(path)
    assert contents(path) == {"current", "lock", newer.version}


def test_a_first_version_that_is_cut_off_is_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "shop" / "NL"
    with writer(path) as each, monkeypatch.context() as patched:
        patched.setattr(versions, "write_synced", cut_off)
        with pytest.raises(KeyboardInterrupt):
            each.commit()
    assert list_scenarios(tmp_path, "shop") == []
    with pytest.raises(UserError, match="pfmsmtrec prepare shop --source DIR"):
        ScenarioStore.open(path)
    written(path)
    assert [each.scenario for each in list_scenarios(tmp_path, "shop")] == ["NL"]


def test_a_killed_writer_does_not_hold_the_lock(tmp_path: Path) -> None:
    path = written(tmp_path / "shop" / "NL").path
    code = (
        "import os, sys; from pathlib import Path; from pfmsmtrec_flwr.data.store import versions\n"
        "with versions._locked(Path(sys.argv[1])): os._exit(3)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == 3
    assert written(path, first=100).splits["train"].numeric[0, 0] == 25


@pytest.mark.parametrize("content", [b"", b"../US\n", b"version-0\n", b"\xff"])
def test_a_damaged_pointer_file_is_reported(tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path / "shop" / "NL").path
    (path / "current").write_bytes(content)
    with pytest.raises(UserError, match=r"current is damaged .*prepare the data again"):
        ScenarioStore.open(path)


def test_a_pointer_to_nothing_is_reported(tmp_path: Path) -> None:
    path = written(tmp_path / "shop" / "NL").path
    (path / "current").write_text("version-0123456789ab")
    with pytest.raises(UserError, match=r"cannot read .*version-0123456789ab/manifest\.json .*prepare the data again"):
        ScenarioStore.open(path)


def test_a_store_of_the_first_release_is_read_and_replaced(tmp_path: Path) -> None:
    """It had its files in the scenario's folder, and no pointer file."""
    path = tmp_path / "shop" / "NL"
    path.parent.mkdir()
    written(tmp_path / "other" / "NL").folder.rename(path)
    first = ScenarioStore.open(path, verify=True)
    assert (first.folder, first.version) == (path, "")
    assert [each.path for each in list_scenarios(tmp_path, "shop")] == [path]
    newer = written(path, first=100)
    assert contents(path) == {"current", "lock", newer.version}
    assert ScenarioStore.open(path).splits["train"].numeric[0, 0] == 25
    assert first.splits["train"].numeric[0, 0] == 0
