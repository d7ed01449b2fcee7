from __future__ import annotations

import pytest
from flwr.app import Error, Message, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from pfmsmtrec_flwr.federation.reasons import (
    LONGEST_REASON,
    failure_reason,
    readable_reason,
    reason_for_server,
    without_paths,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no data of 'x' in /srv/ann/data: prepare", "no data of 'x' in [path]: prepare"),
        ('File "/usr/lib/my python/x.py", line 3', 'File "[path]", line 3'),
        ("[Errno 28] No space left: '/a/b c/d'", "[Errno 28] No space left: '[path]'"),
        ("~/data/NL.csv, ~ann/x and C:\\Users\\ann\\x.csv", "[path], [path] and [path]"),
        ("\\\\server\\share\\x is gone", "[path] is gone"),
        ("half is 1/2, key train/lr, click/like of 3 / 4", "half is 1/2, key train/lr, click/like of 3 / 4"),
        ("state=/var/lib/x", "state=[path]"),
    ],
)
def test_paths_of_a_node_are_left_out(text: str, expected: str) -> None:
    assert without_paths(text) == expected
    assert reason_for_server(text, keep_paths=False) == expected
    assert reason_for_server(text, keep_paths=True) == text


@given(st.text(max_size=2000))
def test_a_reason_is_one_short_printable_line(text: str) -> None:
    line = readable_reason(text)
    assert line.isprintable()
    assert len(line) <= LONGEST_REASON
    assert readable_reason(line) == line


@pytest.mark.usefixtures("flower_run")
def test_flowers_own_errors_are_read_alike() -> None:
    asked = Message(RecordDict(), 5, "train.local")
    raised = Message(Error(2, "OSError: '/srv/ann/x'\n\x1b[31mfull"), reply_to=asked)
    assert failure_reason(raised) == "OSError: '[path]' [31mfull"
    assert failure_reason(Message(Error(8, ""), reply_to=asked)) == "error 8"
