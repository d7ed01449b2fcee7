from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.results.rounds import GrowingLog, MetricsLog, read_metrics


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_round_is_a_line_that_others_can_read_at_once(tmp_path: Path) -> None:
    clock = Clock()
    log = MetricsLog(tmp_path, method="fedavg", rounds=2, clock=clock)
    clock.now += 1.5
    us = {"loss": math.nan, "validation": {"ctr": {"auc": 0.75, "logloss": 0.5}, "ctcvr": {"auc": None}}}
    log.append(1, {"US": us, "NL": {"loss": 0.25, "validation": {"ctr": {"auc": 0.25}}}}, up_bytes=3, down_bytes=4)
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {
        "method": "fedavg",
        "round": 1,
        "rounds": 2,
        "seconds": 1.5,
        "scenarios": {
            "NL": {"loss": 0.25, "validation": {"ctr": {"auc": 0.25, "logloss": None}}},
            "US": {
                "loss": None,
                "validation": {"ctr": {"auc": 0.75, "logloss": 0.5}, "ctcvr": {"auc": None, "logloss": None}},
            },
        },
        "macro": {"ctr": 0.5, "ctcvr": None},
        "up_bytes": 3,
        "down_bytes": 4,
    }


def test_shares_are_written_where_a_method_learns_them(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path, method="pf-msmtrec", rounds=1)
    log.append(1, {"NL": {"validation": {"ctr": {"auc": 0.5}}}}, alpha={"NL": {"alpha": 0.5, "beta": 0.25}})
    assert read_metrics(tmp_path)[0].alpha == {"NL": {"alpha": 0.5, "beta": 0.25}}
    assert read_metrics(tmp_path)[0].macro == {"ctr": 0.5}


def test_attention_is_written_where_a_method_attends(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path, method="pf-msmtrec", rounds=2)
    log.append(1, {}, attention={"ctr": {"scenarios": ("NL", "US"), "weights": [[0.123456, 0.876544], [0.5, 0.5]]}})
    log.append(2, {})
    first, second = read_metrics(tmp_path)
    assert first.attention is not None
    assert first.attention["ctr"].scenarios == ["NL", "US"]
    assert first.attention["ctr"].weights == [[0.12346, 0.87654], [0.5, 0.5]]
    assert second.attention is None
    assert "attention" not in (tmp_path / "metrics.jsonl").read_text().splitlines()[1]


def test_a_line_that_is_being_written_is_not_read(tmp_path: Path) -> None:
    MetricsLog(tmp_path, method="fedavg", rounds=2).append(1, {})
    path = tmp_path / "metrics.jsonl"
    path.write_text(path.read_text() + '{"method": "fed')
    assert [entry.round for entry in read_metrics(tmp_path)] == [1]


def test_a_new_log_starts_afresh(tmp_path: Path) -> None:
    clock = Clock()
    MetricsLog(tmp_path, method="fedavg", rounds=3, clock=clock).append(1, {})
    path = tmp_path / "metrics.jsonl"
    path.write_text(path.read_text() + '{"half a')
    clock.now += 1000
    log = MetricsLog(tmp_path, method="fedavg", rounds=3, clock=clock)
    assert read_metrics(tmp_path) == []
    clock.now += 10
    log.append(1, {})
    assert [(entry.round, entry.seconds) for entry in read_metrics(tmp_path)] == [(1, 10.0)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"method": "fed', r"metrics\.jsonl, line 2 is not valid JSON \(.*\): remove the line, or run again$"),
        (b"", r"line 2 is not valid JSON"),
        (b"\xff\xfe\x00", r"line 2 is not valid JSON"),
        (b'{"method": 1}', r"metrics\.jsonl, line 2: key '"),
        (b"[]", r"metrics\.jsonl, line 2: key '\(document\)': got \[\]"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: bytes, message: str) -> None:
    log = MetricsLog(tmp_path, method="fedavg", rounds=2)
    log.append(1, {})
    log.append(2, {})
    whole = log.path.read_bytes()
    first, second, _ = whole.split(b"\n")
    log.path.write_bytes(b"\n".join([first, line, second, b""]))
    with pytest.raises(UserError, match=message) as caught:
        read_metrics(tmp_path)
    assert "\n" not in str(caught.value)
    log.path.write_bytes(whole)
    assert len(read_metrics(tmp_path)) == 2


def test_a_growing_log_is_read_when_it_has_changed(tmp_path: Path) -> None:
    MetricsLog(tmp_path, method="fedavg", rounds=2).append(1, {})
    growing = GrowingLog(tmp_path)
    assert growing.rounds() == []  # of an earlier run
    log = MetricsLog(tmp_path, method="fedbn", rounds=2)
    for number in (1, 2):
        log.append(number, {})
        assert [(entry.method, entry.round) for entry in growing.rounds()] == [("fedbn", 1), ("fedbn", 2)][:number]
        assert growing.rounds() is growing.rounds()


def test_a_line_names_the_scenarios_that_were_missing_and_none_where_none_was(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path, method="fedavg", rounds=2)
    measured = {"NL": {"validation": {"ctr": {"auc": 0.5}}}}
    log.append(1, measured, missing={"US", "ES"}, unmeasured={"US"})
    log.append(2, measured)
    assert [(line.missing, line.unmeasured) for line in read_metrics(tmp_path)] == [(["ES", "US"], ["US"]), ([], [])]
    assert "missing" not in (tmp_path / "metrics.jsonl").read_text().splitlines()[1]
    assert "unmeasured" not in (tmp_path / "metrics.jsonl").read_text().splitlines()[1]
