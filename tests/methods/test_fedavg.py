from __future__ import annotations

import torch
from federated import Tiny
from flwr.app import MetricRecord, RecordDict
from flwr.serverapp.strategy.strategy_utils import aggregate_arrayrecords

from pfmsmtrec_flwr.federation.protocol import TRAIN, pack_tensors, unpack_replies, unpack_tensors


def test_the_mean_is_the_one_that_flower_takes(tiny: Tiny) -> None:
    run = tiny.trained(tiny.config("fedavg", federation__rounds=1, federation__scenarios=[]))
    records, examples = [], []
    for message in run.grid.replies:
        if message.metadata.message_type != TRAIN:
            continue
        for reply in unpack_replies(message.content).values():
            examples.append(reply.figures["examples"])
            count = MetricRecord({"num-examples": examples[-1]})
            records.append(RecordDict({"arrays": pack_tensors(reply.parameters), "metrics": count}))
    assert sorted(examples) == [48, 64, 80, 96]
    theirs = unpack_tensors(aggregate_arrayrecords(records, "num-examples"))
    ours = run.strategy.parameters.common
    assert ours.keys() - theirs.keys() == {"federated_embeddings.weight"}
    for name, value in theirs.items():
        expected = value if ours[name].is_floating_point() else value.round()  # a counter of batches stays one
        torch.testing.assert_close(ours[name].to(value.dtype), expected, rtol=1e-5, atol=1e-7)
