from __future__ import annotations

from pathlib import Path

import pytest
from federated import Tiny
from flwr.app import Context, RecordDict

from pfmsmtrec_flwr.config import DataSettings, RunConfig
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.hosting import hosted_scenarios, open_hosted_scenario, open_scenario

MADE_UP = RunConfig(data=DataSettings(synthetic={"train_rows": {"A": 100, "B": 300, "C": 200, "D": 300}, "ctr": 0.3}))


def simulated(partition: int, partitions: int, data: Path = Path("/nowhere")) -> Context:
    node: dict[str, str | int | float] = {"partition-id": partition, "num-partitions": partitions}
    return Context(run_id=1, node_id=9, node_config=dict(node), state=RecordDict(), run_config={"data": str(data)})


def deployed(data: Path, **node: str) -> Context:
    return Context(
        run_id=1,
        node_id=9,
        node_config={"data": str(data), **node},
        state=RecordDict(),
        run_config={"data": "/servers"},
    )


@pytest.mark.parametrize(
    ("partitions", "placed"),
    [
        (1, [["A", "B", "C", "D"]]),
        (2, [["B", "C"], ["A", "D"]]),  # by size: B, D, C, A
        (3, [["A", "B"], ["D"], ["C"]]),
        (4, [["B"], ["D"], ["C"], ["A"]]),
        (6, [["B"], ["D"], ["C"], ["A"], [], []]),
    ],
)
def test_scenarios_are_dealt_out_largest_first(partitions: int, placed: list[list[str]]) -> None:
    found = [hosted_scenarios(MADE_UP, simulated(partition, partitions)) for partition in range(partitions)]
    assert found == placed


def test_only_scenarios_that_take_part_are_dealt_out(tiny: Tiny) -> None:
    config = tiny.config(federation__scenarios=["US", "ES"])
    assert [hosted_scenarios(config, simulated(number, 2, tiny.root)) for number in (0, 1)] == [["ES"], ["US"]]
    with pytest.raises(UserError, match=r"^scenario XX is not in this data set, which has ES, FR, NL, US$"):
        hosted_scenarios(tiny.config(federation__scenarios=["XX"]), simulated(0, 2, tiny.root))


def test_a_deployed_node_says_what_it_hosts(tiny: Tiny) -> None:
    config = tiny.config(federation__scenarios=[])
    assert hosted_scenarios(config, deployed(tiny.root, scenarios="US, ES,")) == ["ES", "US"]
    assert hosted_scenarios(config, deployed(tiny.root)) == ["ES", "FR", "NL", "US"]
    assert hosted_scenarios(tiny.config(), deployed(tiny.root, scenarios="US,ES")) == ["US"]
    both = deployed(tiny.root, scenarios="US,XX")
    assert hosted_scenarios(config, both) == ["US", "XX"]
    assert open_hosted_scenario(config, both, "US").scenario == "US"
    with pytest.raises(UserError, match=r"^scenario XX is not in .*, which has ES, FR, NL, US$"):
        open_hosted_scenario(config, both, "XX")


def test_made_up_scenarios_are_made_when_they_are_opened(tmp_path: Path) -> None:
    store = open_scenario(MADE_UP, simulated(0, 1, tmp_path), "A")
    assert len(store.splits["train"]) == 100
    assert store.path.is_relative_to(tmp_path)


def test_names_from_the_server_cannot_lead_out_of_the_data(tiny: Tiny) -> None:
    config = tiny.config()
    with pytest.raises(UserError, match="expected letters"):
        open_scenario(config, deployed(tiny.root / "tiny" / "NL"), "../US")
    with pytest.raises(UserError, match="expected letters"):
        hosted_scenarios(tiny.config(data__name="../tiny"), deployed(tiny.root / "tiny"))
    with pytest.raises(UserError, match=r"^no prepared data at "):
        open_scenario(config, deployed(tiny.root), "XX")
