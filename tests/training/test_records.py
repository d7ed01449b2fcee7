from __future__ import annotations

from pfmsmtrec_flwr.training.records import RoundRecord, TaskValidation


def test_the_cost_of_an_unused_round_is_added_and_nothing_else() -> None:
    record = RoundRecord(2, losses={"NL": 0.5}, up_bytes=10, down_bytes=20, train_seconds=1.5, aggregate_seconds=0.25)
    unused = RoundRecord(3, losses={"NL": 0.4}, up_bytes=1, down_bytes=2, train_seconds=0.5, aggregate_seconds=4.0)
    record.add_cost(unused)
    assert record == RoundRecord(
        2, losses={"NL": 0.5}, up_bytes=11, down_bytes=22, train_seconds=2.0, aggregate_seconds=0.25
    )


def test_a_score_is_the_mean_over_the_tasks_that_have_an_auc() -> None:
    record = RoundRecord(1)
    record.validation = {
        "NL": {"ctr": TaskValidation(0.75, 0.1), "ctcvr": TaskValidation(None, 0.1)},
        "US": {"ctr": TaskValidation(None, 0.1)},
    }
    assert (record.score("NL"), record.score("US")) == (0.75, None)
    assert (record.loss("NL"), record.loss("US")) == (0.1, 0.1)
