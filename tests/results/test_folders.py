from __future__ import annotations

import errno
from pathlib import Path

import pytest

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.results.folders import claimed, unused


def test_a_folder_has_one_holder_and_no_file_more(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "run"
    with claimed(folder):
        assert list(folder.iterdir()) == []
        message = r"^another process writes its results to .*/run: name another --output"
        with pytest.raises(UserError, match=message), claimed(folder):
            pass
    with claimed(folder):
        pass


def test_a_file_system_without_locks_is_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr("pfmsmtrec_flwr.results.folders.fcntl.flock", flock)
    with caplog.at_level("WARNING", logger="pfmsmtrec"), claimed(tmp_path / "run"):
        assert (tmp_path / "run").is_dir()
    assert caplog.messages == [
        f"{tmp_path / 'run'} cannot be locked: start no second run that writes its results there"
    ]


def test_an_unused_folder_is_made_beside_those_that_are_there(tmp_path: Path) -> None:
    made = [unused(tmp_path / "run").name for _ in range(3)]
    assert made == ["run", "run-2", "run-3"]
    assert sorted(path.name for path in tmp_path.iterdir()) == made


def test_folders_that_cannot_be_made_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for make in (lambda path: claimed(path).__enter__(), unused):
        with pytest.raises(UserError, match=r"^cannot write to .*/file/run: "):
            make(tmp_path / "file" / "run")
