"""Paths of everything that messages bring from the nodes to the server."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping

from flwr.app import Message, RecordDict

from pfmsmtrec_flwr.federation.disclosure import STATISTICS
from pfmsmtrec_flwr.federation.protocol import HELLO
from pfmsmtrec_flwr.model import Slot

Slots = Mapping[str, Mapping[str, Slot]]
"""Part of the model that each tensor belongs to, by scenario and name."""


def disclosed_paths(messages: Iterable[Message], slots: Slots) -> set[tuple[str, str]]:
    """Message type and path of each thing in the nodes' replies; all of a reply is looked at."""
    return {
        (reply.metadata.message_type, path)
        for reply in messages
        for path in _paths(reply.content, reply.metadata.message_type, slots)
    }


def _paths(content: RecordDict, kind: str, slots: Slots) -> Iterator[str]:
    assert not content.metric_records
    if kind == HELLO:
        assert (list(content), list(content.config_records["hello"])) == (["hello"], ["hello"])
        document = json.loads(str(content.config_records["hello"]["hello"]))
        for scenario in document.pop("scenarios"):
            yield from (f"hello/scenarios/{key}" for key in scenario)
        yield from (f"hello/{key}" for key in document)
        return
    for key, record in content.items():
        scenario, _, what = key.partition("/")
        if what == "reply":
            fields = {name: value for name, value in record.items() if name != "reply"}
            yield from fields
            document = json.loads(str(record["reply"]))
            yield from (f"figures/{name}" for name in document.pop("figures"))
            yield from document
        elif what in ("parameters", "scales"):
            own = slots[scenario]
            yield from (f"{what}/{STATISTICS if own[name].statistic else own[name].part}" for name in record)
        else:  # draws, rows of a table
            yield from (f"{what}/{name}" for name in record)
