from __future__ import annotations

from pathlib import Path

import pytest
import torch
from compared import Direct, Fake, job_of
from federated import RecordingGrid, Tiny, same
from flwr.app import ArrayRecord
from safetensors.torch import load_file

from pfmsmtrec_flwr.comparison.jobs import Job, JobStage, Runner, digest_of
from pfmsmtrec_flwr.comparison.joining import (
    CONSENSUS_NAME,
    SHARES,
    Consensus,
    Newcomer,
    check_joining,
    joinings,
    train_from,
    train_keeping,
)
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.inprocess import run_identity, simulated_contexts
from pfmsmtrec_flwr.federation.protocol import unpack_tensors
from pfmsmtrec_flwr.federation.sharing import PRIVATE, names_of
from pfmsmtrec_flwr.methods import federated_method
from pfmsmtrec_flwr.model import Part, build_model, output_biases, partition
from pfmsmtrec_flwr.results.writer import read_results

OTHERS = ["ES", "FR", "NL"]


@pytest.fixture(scope="module")
def kept(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Trainings of the scenarios without US, by method."""
    folders = {}
    for method in ("fedavg", "pf-msmtrec"):
        folders[method] = tmp_path_factory.mktemp(method)
        config = tiny.config(method, federation__scenarios=OTHERS, federation__rounds=3)
        train_keeping(config, data=tiny.root, output=folders[method])
    return folders


def newcomer(tiny: Tiny, start: Consensus, output: Path) -> tuple[dict[str, torch.Tensor], RecordingGrid]:
    """Train US alone from a consensus; return its model and what travelled."""
    from client_app import app

    grid = RecordingGrid(app, simulated_contexts(7, 1, {"output": str(output), "data": str(tiny.root)}))
    with run_identity(7):
        Newcomer(tiny.config("alone", federation__scenarios=["US"]), start).start(grid)
    return load_file(output / "clients" / "alone" / "US" / "model.safetensors"), grid


def test_the_consensus_of_the_best_round_is_kept(tiny: Tiny, kept: dict[str, Path]) -> None:
    fedavg = federated_method("fedavg")
    config = fedavg.configure(tiny.config("fedavg", federation__scenarios=OTHERS, federation__rounds=3))
    seen: dict[int, dict[str, torch.Tensor]] = {}

    def take(number: int, arrays: ArrayRecord) -> None:
        seen[number] = unpack_tensors(arrays)

    from client_app import app

    run_config = {"output": str(kept["fedavg"] / "again"), "data": str(tiny.root)}
    grid = RecordingGrid(app, simulated_contexts(7, 1, run_config))
    with run_identity(7):
        result = fedavg.strategy(config).start(grid, evaluate_fn=take)
    scores = {record.round: sum(record.score(name) or 0 for name in OTHERS) for record in result.rounds}
    best = max(scores, key=lambda number: scores[number])
    consensus = Consensus.load(kept["fedavg"] / CONSENSUS_NAME)
    assert same({"x": consensus.tensors}, {"x": seen[best]})
    assert len({tuple(tensors["gates.of_task.click.weight"].flatten().tolist()) for tensors in seen.values()}) == 3


def test_what_is_kept_is_what_the_method_shares(kept: dict[str, Path]) -> None:
    fedavg = Consensus.load(kept["fedavg"] / CONSENSUS_NAME)
    ours = Consensus.load(kept["pf-msmtrec"] / CONSENSUS_NAME)
    assert fedavg.parts == frozenset(Part) - PRIVATE
    assert {Part.EXPERT, Part.TOWER} <= ours.parts
    assert not ours.parts & {Part.NORMALIZATION, Part.TOWER_NORMALIZATION, Part.LOCAL_EMBEDDING, Part.GATE}
    assert not any("local_embeddings" in name for name in fedavg.tensors)
    results = read_results(kept["fedavg"])
    assert (results.method, list(results.scenarios)) == ("fedavg", OTHERS)


@pytest.mark.parametrize("method", ["fedavg", "pf-msmtrec"])
def test_the_scenario_starts_from_the_consensus(tiny: Tiny, kept: dict[str, Path], tmp_path: Path, method: str) -> None:
    from pfmsmtrec_flwr.federation.protocol import TRAIN, unpack_orders

    start = Consensus.load(kept[method] / CONSENSUS_NAME)
    model, grid = newcomer(tiny, start, tmp_path)
    first = next(message for message in grid.sent if message.metadata.message_type == TRAIN)
    _, incoming, _ = unpack_orders(first.content)
    given = incoming.common | incoming.personal["US"]
    assert given.keys() == start.tensors.keys()
    assert all(torch.equal(given[name], tensor) for name, tensor in start.tensors.items())
    scratch = tiny.trained(tiny.config("alone", federation__scenarios=["US"])).models["US"]
    assert not same({"US": model}, {"US": scratch})


def test_starting_from_the_usual_start_is_training_alone(tiny: Tiny, tmp_path: Path) -> None:
    from pfmsmtrec_flwr.data.store.reader import ScenarioStore
    from pfmsmtrec_flwr.training.description import model_spec

    config = tiny.config("alone", federation__scenarios=["US"])
    store = ScenarioStore.open(tiny.root / "tiny" / "US")
    drawn = build_model(model_spec(store), config.model, config.seed)
    slots = partition(drawn)
    biases = output_biases("mmoe", slots.values(), store.tasks, store.positives("train"), [48, 48])
    parts = frozenset(Part) - PRIVATE
    tensors = {name: (drawn.state_dict() | biases)[name].clone() for name in names_of(slots, parts)}
    model, _ = newcomer(tiny, Consensus(tensors, parts), tmp_path)
    assert same({"US": model}, {"US": tiny.trained(config).models["US"]})


def test_a_joined_run_leaves_results(tiny: Tiny, kept: dict[str, Path], tmp_path: Path) -> None:
    config = tiny.config("alone", federation__scenarios=["US"], data__train_fraction=0.5, federation__rounds=1)
    train_from(config, data=tiny.root, output=tmp_path, start=kept["fedavg"] / CONSENSUS_NAME)
    results = read_results(tmp_path)
    assert (results.method, results.family, results.rounds) == ("alone", "alone", 1)
    assert list(results.scenarios["US"].tasks) == ["click", "like"]
    assert (tmp_path / "config.yaml").is_file()


def test_a_consensus_that_does_not_fit_is_told(tiny: Tiny, kept: dict[str, Path], tmp_path: Path) -> None:
    start = Consensus.load(kept["fedavg"] / CONSENSUS_NAME)
    name = "gates.of_task.click.weight"
    wrong = Consensus(start.tensors | {name: torch.zeros(3, 3)}, start.parts)
    with pytest.raises(UserError, match=rf"^consensus for scenario US: .*{name}"):
        newcomer(tiny, wrong, tmp_path)
    with pytest.raises(UserError, match=r"^no consensus in .*none\.safetensors .*: remove its folder"):
        Consensus.load(tmp_path / "none.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"broken")
    with pytest.raises(UserError, match=r"^no consensus in .*broken\.safetensors"):
        Consensus.load(tmp_path / "broken.safetensors")


def test_every_scenario_is_left_out_once_and_joins_with_every_share(tmp_path: Path) -> None:
    fake = Fake(tmp_path / "journal")

    def make(config: RunConfig, run: Runner | None, what: str, more: tuple[str, ...]) -> Job:
        digest = digest_of(config, "rows", *more)
        return Job(
            name="fedavg",
            stage=JobStage.JOIN,
            config=config,
            digest=digest,
            folder=tmp_path / what / digest[:8],
            data=tmp_path,
            run=run or fake,
        )

    config = RunConfig(method="fedavg").with_settings(
        {"train.lr": 0.5, "pf-msmtrec.regularization": 0.1, "data.train_fraction": 0.5, "federation.min_scenarios": 3},
        "test",
    )
    made = joinings(config, ["A", "B", "C"], make)
    assert [joining.scenario for joining in made] == ["A", "B", "C"]
    joining = made[1]
    assert (joining.source.config.federation.scenarios, joining.source.config.federation.min_scenarios) == (
        ("A", "C"),
        0,
    )
    assert joining.source.run is train_keeping
    assert [(each.share, each.start) for each in joining.trainings] == [
        (share, start) for share in SHARES for start in ("consensus", "scratch")
    ]
    for joined, scratch in zip(joining.trainings[::2], joining.trainings[1::2], strict=True):
        assert joined.job.config == scratch.job.config  # nothing but the start differs
        assert joined.job.digest != scratch.job.digest
        assert scratch.job.config.method == "alone"
        assert scratch.job.config.federation.scenarios == ("B",)
        assert scratch.job.config.data.train_fraction == 0.5 * scratch.share
        assert scratch.job.config.train.lr == 0.5
    # from scratch it is the same run for every method with these settings of model and training
    other = joinings(config.model_copy(update={"method": "fedbn"}), ["A", "B", "C"], make)[1]
    pairs = zip(joining.trainings, other.trainings, strict=True)
    assert [one.job.digest == same_.job.digest for one, same_ in pairs] == [False, True] * 4


def test_without_a_consensus_only_training_from_scratch_goes_on(tmp_path: Path) -> None:
    fake = Fake(tmp_path / "journal", fails=("fedavg",))

    def make(config: RunConfig, run: Runner | None, what: str, more: tuple[str, ...]) -> Job:  # noqa: ARG001
        name = f"{what}-{len(more)}"
        return job_of(tmp_path / name, config, fake)

    joining = joinings(RunConfig(method="fedavg"), ["A", "B"], make)[0]
    assert [job.folder.name for job in joining.followers] == [f"A from scratch {share:g}-0" for share in SHARES]
    for job in joining.followers:
        Direct().submit(job.run, job.config, data=tmp_path, output=_made(job.folder))
    figures = list(joining.figures())
    assert [(each.share, each.start, each.auc) for each in figures] == [(share, "scratch", 0.6) for share in SHARES]
    (joining.source.folder).mkdir()
    (joining.source.folder / "results.json").write_text("{}")
    assert len(joining.followers) == 2 * len(SHARES)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_one_scenario_cannot_join() -> None:
    check_joining(["A", "B"])
    with pytest.raises(UserError, match=r"^got 1 scenario, expected two at least"):
        check_joining(["A"])
