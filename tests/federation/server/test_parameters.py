from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from federated import Tiny
from replies import NODES, TABLE, aggregate, described, strategy_of

from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate
from pfmsmtrec_flwr.aggregation.personal_tables import PersonalTable
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.handshake import Federation
from pfmsmtrec_flwr.federation.held_tensors import HeldTensors
from pfmsmtrec_flwr.federation.resume.checkpoints import Checkpoint, CheckpointFolder
from pfmsmtrec_flwr.federation.server.parameters import Parameters
from pfmsmtrec_flwr.federation.sharing import Sharing
from pfmsmtrec_flwr.methods import federated_method
from pfmsmtrec_flwr.model import Part, Slot

pytestmark = pytest.mark.usefixtures("flower_run")

BIAS = "towers.of_task.click.4.bias"
LIKE = "towers.of_task.like.4.bias"


def test_names_that_scenarios_share_start_alike(tiny: Tiny) -> None:
    strategy = strategy_of(tiny.config())
    personal = strategy.parameters.personal
    for key, tensor in personal["A"].items():
        assert torch.equal(tensor, personal["B"][key])
        assert tensor.data_ptr() != personal["B"][key].data_ptr()
        torch.testing.assert_close(strategy.consensus()[key], tensor)


def test_a_common_output_bias_starts_at_the_rate_over_all_scenarios(tiny: Tiny) -> None:
    strategy = federated_method("fedavg").strategy(tiny.config("fedavg"))
    tasks = {"A": ("click", "like"), "B": ("click",), "C": ("like", "click")}
    strategy.begin(Federation({name: described(name, *own) for name, own in tasks.items()}, NODES))
    common = strategy.parameters.common
    assert common[BIAS].tolist() == pytest.approx([math.log(17.5 / 83.5)])  # 17 of 100
    assert common[LIKE].tolist() == pytest.approx([math.log(16.5 / 74.5)])  # 16 of the 90 that have the task


def test_a_personal_output_bias_starts_at_the_scenarios_own_rate(tiny: Tiny) -> None:
    personal = strategy_of(tiny.config(pf_msmtrec__output_bias="federated")).parameters.personal
    odds = {"A": 10.5 / 20.5, "B": 1.5 / 9.5, "C": 6.5 / 54.5}
    assert {name: float(own[BIAS]) for name, own in personal.items()} == pytest.approx(
        {name: math.log(each) for name, each in odds.items()}
    )
    assert all(BIAS not in own for own in strategy_of(tiny.config()).parameters.personal.values())


@pytest.mark.parametrize(
    ("architecture", "levels", "part", "refused"),
    [
        ("single-task", 1, Part.FEDERATED_EMBEDDING, True),
        ("aitm", 1, Part.FEDERATED_EMBEDDING, False),
        ("aitm", 1, Part.EXPERT, True),
        ("aitm", 1, Part.TOWER, False),
        ("ple", 1, Part.EXPERT, True),
        ("ple", 1, Part.GATE, False),
        ("ple", 2, Part.GATE, True),
        ("mmoe", 1, Part.GATE, False),
        ("mmoe", 1, Part.EXPERT_TASK, True),
        ("shared-bottom", 1, Part.EXPERT, False),
    ],
)
@pytest.mark.parametrize("personal", [False, True])
@pytest.mark.parametrize("tasks", [("click", "share"), ("like", "click")], ids=["another", "turned"])
def test_what_has_an_axis_of_tasks_is_shared_by_equal_tasks_alone(
    tiny: Tiny, architecture: str, levels: int, part: Part, refused: bool, personal: bool, tasks: tuple[str, ...]
) -> None:
    model = {"model__architecture": architecture, "model__experts": 3, "model__extraction_levels": levels}
    config = tiny.config("alone", model__expert_layers=(6, 4), **model)
    config = config.with_settings({"model.template": "additive"}, "test")
    shared = frozenset({part})
    for own in (("click", "like"), tasks):
        strategy = federated_method("alone").strategy(config)
        strategy.sharing = Sharing(personal=shared) if personal else Sharing(common=shared)
        federation = Federation({"A": described("A", "click", "like"), "B": described("B", *own)}, NODES)
        if refused and own == tasks:
            with pytest.raises(UserError, match=rf"A has the tasks click, like and B has {', '.join(own)}: set "):
                strategy.begin(federation)
        else:
            strategy.begin(federation)


def test_the_mean_of_personal_parameters_is_over_those_that_have_them_by_rows() -> None:
    tower, table = Slot("tower", Part.TOWER), Slot("table", Part.FEDERATED_EMBEDDING)
    both = {"tower": tower, "table": table}
    parameters = Parameters(
        common={"gate": torch.ones(1)},
        personal={
            "A": {"tower": torch.tensor([1.0]), "table": torch.tensor([4.0])},
            "B": {"tower": torch.tensor([5.0])},
            "C": {},
        },
        slots={"A": both, "B": both, "C": both},
    )
    rows = {"A": 30, "B": 10, "C": 60}
    means = parameters.personal_mean(rows)
    assert {name: mean.tolist() for name, mean in means.items()} == {"tower": [2.0], "table": [4.0]}
    assert parameters.of("B").keys() == {"gate", "tower"}
    assert parameters.of("stranger").keys() == {"gate"}


@pytest.mark.parametrize("whole", [False, True], ids=["as it is kept now", "with whole tables, as it was kept before"])
def test_parameters_go_on_from_a_checkpoint(tiny: Tiny, tmp_path: Path, whole: bool) -> None:
    first, second = (strategy_of(tiny.config()) for _ in range(2))
    aggregate(first)
    state = first.parameters.state_dict()
    if whole:
        personal = {name: dict(own) for name, own in first.parameters.personal.items()}
        state = {"common": state["common"], "personal": personal}
    else:
        assert TABLE not in [
            *state["common"],
            *(name for name, own in state["personal"]["A"].items() if own is not None),
        ]
    folder = CheckpointFolder(tmp_path)
    folder.write(Checkpoint(1, state), {})
    read = folder.newest()
    assert read is not None
    second.parameters.load_state_dict(read.state)
    assert second.parameters.tables[TABLE].kept_rows < 3 * 5
    for strategy in (first, second):
        for name, own in second.parameters.personal.items():
            assert list(own) == list(strategy.parameters.personal[name])
            for key, value in strategy.parameters.personal[name].items():
                assert torch.equal(own[key], value)


@pytest.mark.parametrize("held", [True, False])
def test_tables_are_averaged_whether_they_are_held_together_or_not(held: bool) -> None:
    tables = {"table": PersonalTable.of((name, torch.zeros(3, 1)) for name in "AB")} if held else {}
    own = {name: HeldTensors(name, {"table": None if held else torch.zeros(3, 1)}, tables) for name in "AB"}
    parameters = Parameters(personal=own, tables=tables)
    one = torch.ones(1, dtype=torch.int64)
    updates = {name: RowUpdate(one, torch.tensor([[value]]), one) for name, value in (("A", 2.0), ("B", 6.0))}
    parameters.average_own_tables("table", updates, torch.tensor([[1.0, 1.0], [0.0, 1.0]]))
    assert {name: each["table"].flatten().tolist() for name, each in own.items()} == {
        "A": [0.0, 4.0, 0.0],
        "B": [0.0, 6.0, 0.0],
    }
    assert parameters.personal_mean({"A": 3, "B": 1})["table"].flatten().tolist() == [0.0, 4.5, 0.0]
