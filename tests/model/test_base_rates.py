from __future__ import annotations

import math

import pytest
import torch
from architectures import make_model, make_rows
from hypothesis import given
from hypothesis import strategies as st

from pfmsmtrec_flwr.model import Part, Slot, output_biases, partition
from pfmsmtrec_flwr.model.build import ARCHITECTURES
from pfmsmtrec_flwr.model.towers import OutputLayer

CLICK, LIKE = (Slot(f"towers.of_task.{task}.4.bias", Part.OUTPUT_BIAS, task, 1) for task in ("click", "like"))
OTHERS = [Slot("towers.of_task.click.4.weight", Part.TOWER, "click", 1), Slot("gate", Part.GATE, "click")]


def test_a_bias_starts_at_the_log_odds_of_its_tasks_rate() -> None:
    biases = output_biases("mmoe", [*OTHERS, CLICK, LIKE], ["like", "share", "click"], [0, 2, 3], [4, 5, 10])
    assert biases.keys() == {CLICK.name, LIKE.name}
    assert biases[CLICK.name].tolist() == pytest.approx([math.log(3.5 / 7.5)])
    assert biases[LIKE.name].tolist() == pytest.approx([math.log(0.5 / 4.5)])
    assert biases[CLICK.name].dtype == torch.float32


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_the_rate_is_within_zero_and_one_and_either_class_is_as_good(positives: int, negatives: int) -> None:
    rows = positives + negatives
    (rate,) = output_biases("mmoe", [CLICK], ["click"], [positives], [rows]).values()
    (turned,) = output_biases("mmoe", [CLICK], ["click"], [negatives], [rows]).values()
    assert float(rate.double().sigmoid()) == pytest.approx((positives + 0.5) / (rows + 1), rel=1e-4)
    assert float(rate) == pytest.approx(-float(turned), abs=1e-6)


def test_steps_of_a_path_start_at_the_rate_among_the_positives_before() -> None:
    slots = [CLICK, LIKE, Slot("share", Part.OUTPUT_BIAS, "share")]
    biases = output_biases("esmm", slots, ["click", "like", "share"], [40, 10, 12], [100, 100, 100])
    odds = [40.5 / 60.5, 10.5 / 30.5, 12.5 / 0.5]  # the last task has positives that the task before has not
    assert [float(bias) for bias in biases.values()] == pytest.approx([math.log(each) for each in odds])


def test_steps_of_a_path_whose_rows_lack_labels_start_at_the_rate_of_those_that_have_them() -> None:
    biases = output_biases("esmm", [CLICK, LIKE], ["click", "like"], [40, 5], [100, 50])
    assert [float(bias) for bias in biases.values()] == pytest.approx([math.log(40.5 / 60.5), math.log(5.5 / 15.5)])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_without_what_the_weights_add_every_architecture_predicts_the_rates(architecture: str) -> None:
    model = make_model(architecture)
    biases = output_biases(architecture, partition(model).values(), ["click", "like"], [400, 80], [1000, 1000])
    model.load_state_dict(model.state_dict() | biases)
    with torch.no_grad():
        for name, layer in model.named_modules():
            if isinstance(layer, OutputLayer) or name.endswith(".output"):
                layer.get_parameter("weight").zero_()
        rates = model.eval()(*make_rows(model.spec)).sigmoid()
    torch.testing.assert_close(rates, torch.tensor([[0.4, 0.08]]).expand_as(rates), atol=1e-3, rtol=0)
