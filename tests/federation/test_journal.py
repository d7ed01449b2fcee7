"""The journal that a site keeps of its scenarios' answers."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from federated import Tiny
from flwr.app import Context, RecordDict

from pfmsmtrec_flwr.federation.journal import JOURNAL_NAME, note_replies
from pfmsmtrec_flwr.federation.node import answer
from pfmsmtrec_flwr.federation.protocol import Incoming, Order, Reply, Stage, pack_orders
from pfmsmtrec_flwr.methods import client_of
from pfmsmtrec_flwr.model import Part

ORDER = Order("{}", "fedper", round=3, exchange=4, stage=Stage.TOWERS)


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / JOURNAL_NAME).read_text().splitlines()]


def test_a_line_for_each_answer(tmp_path: Path) -> None:
    folders = {"NL": tmp_path / "NL", "ES": tmp_path / "ES"}
    note_replies(folders, ORDER, {"NL": Reply({"loss.ctr": 0.5}), "ES": Reply(error="no rows")})
    (tmp_path / "NL" / "model.safetensors").touch()
    note_replies({"NL": folders["NL"]}, ORDER, {"NL": Reply({"test.ctr.auc": 0.7})})
    first, last = lines_of(folders["NL"])
    assert first.pop("time") <= last.pop("time")
    told = {"scenario": "NL", "method": "fedper", "round": 3, "exchange": 4, "stage": "towers", "error": ""}
    assert first == {**told, "figures": {"loss.ctr": 0.5}}
    assert last == {**told, "figures": {"test.ctr.auc": 0.7}, "model": str(folders["NL"])}
    (failed,) = lines_of(folders["ES"])
    assert (failed["error"], failed["figures"]) == ("no rows", {})
    assert stat.S_IMODE((folders["ES"] / JOURNAL_NAME).stat().st_mode) == 0o600


def test_a_journal_that_cannot_be_written_costs_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "NL").touch()
    note_replies({"NL": tmp_path / "NL"}, ORDER, {"NL": Reply()})
    assert "scenario NL: its journal was not written: " in caplog.text


@pytest.mark.parametrize("deployed", [True, False])
def test_only_a_deployed_node_keeps_one_and_for_its_own_scenarios(tiny: Tiny, tmp_path: Path, deployed: bool) -> None:
    config = tiny.config(federation__scenarios=[])
    own = {"data": str(tiny.root), "state": str(tmp_path), "scenarios": "US"}
    node = own if deployed else {"partition-id": 0, "num-partitions": 1}
    run: dict[str, Any] = {} if deployed else {"data": str(tiny.root), "output": str(tmp_path)}
    context = Context(run_id=1, node_id=2, node_config=dict(node), state=RecordDict(), run_config=run)
    content = pack_orders(
        Order(config.model_dump_json(), config.method, 1, 1, parts=(Part.EXPERT,)), Incoming({}, {}), ["US", "XX"]
    )
    answer(content, context, client_of, lambda *_: Reply({"loss.ctr": 0.5}))
    journals = [path.parent.name for path in tmp_path.rglob(JOURNAL_NAME)]
    assert journals == (["US"] if deployed else [])
