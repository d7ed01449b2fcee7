"""Files and folders that only their owner may read, whatever the umask is."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from modes import open_to_others

from pfmsmtrec_flwr.private_files import make_private, open_private


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_modes(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        make_private(tmp_path / "above/rows")
        with open_private(tmp_path / "above/rows/file") as stream:
            stream.write(b"1")
        (tmp_path / "above/rows/other").write_text("2")
    finally:
        os.umask(before)
    assert open_to_others(tmp_path / "above/rows") == ["rows/other"]
    assert stat.S_IMODE((tmp_path / "above/rows/file").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "above").stat().st_mode) == 0o777 & ~umask


def test_a_folder_that_was_opened_to_a_group_stays_open(tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows").chmod(0o750)
    make_private(tmp_path / "rows")
    assert open_to_others(tmp_path / "rows") == ["rows"]
