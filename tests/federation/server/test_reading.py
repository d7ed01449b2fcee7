from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.protocol import Order, Reply, Stage, pack_replies
from pfmsmtrec_flwr.federation.server.expected_reply import ExpectedReply
from pfmsmtrec_flwr.federation.server.figure_ranges import FigureRanges
from pfmsmtrec_flwr.federation.server.reading import Records, read_reply

ORDER = Order("{}", "fedavg", 3, 5, Stage.ALL)


def records(reply: Reply) -> Records:
    return {key.partition("/")[2]: record for key, record in pack_replies(ORDER, {"B": reply}).items()}


@pytest.mark.parametrize(
    ("drawn", "draws", "said"),
    [
        ({"click": [0.5, math.nan], "like": [0.0, 1.0]}, 2, ""),
        ({}, 0, ""),
        ({}, 2, "the record draws is missing"),
        ({"click": [0.5, 0.5]}, 2, "got no record of draws for click, like"),
        ({"click": [0.5], "like": [0.5]}, 2, "the draws of click are not 2 numbers"),
        ({"click": [0.5], "like": [0.5]}, 0, "the record draws is unknown"),
        ({"click": [1.0, 0.0], "like": [0.5, 1.5]}, 2, "the draws of like reach from 0.5 to 1.5, no AUC does"),
        ({"click": [1.0, 0.0], "like": [-math.inf, 1.0]}, 2, "the draws of like reach from -inf to 1, no AUC does"),
    ],
)
def test_draws_are_of_each_task_and_as_many_as_ordered(drawn: dict[str, Any], draws: int, said: str) -> None:
    reply = Reply(draws={task: np.array(auc, dtype=np.float32) for task, auc in drawn.items()})
    expected = ExpectedReply(
        "B", ORDER, FigureRanges({}), draws=dict.fromkeys(("click", "like"), draws) if draws else {}
    )
    with pytest.raises(UserError, match=f"^scenario B: {said}") if said else nullcontext():
        read = read_reply(records(reply), expected)
        assert {task: auc.dtype for task, auc in read.draws.items()} == dict.fromkeys(drawn, np.dtype(np.float32))
