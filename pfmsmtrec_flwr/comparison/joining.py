"""A scenario that joins later: it starts from the consensus of the others and trains alone on a share of its rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from flwr.app import ArrayRecord, MetricRecord
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from pfmsmtrec_flwr.comparison.jobs import Job, Runner
from pfmsmtrec_flwr.config import FederationSettings, RunConfig
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.experiment import results_of, write_config
from pfmsmtrec_flwr.federation.handshake import Federation
from pfmsmtrec_flwr.federation.inprocess import InProcessGrid, own_client_app, run_identity, simulated_contexts
from pfmsmtrec_flwr.federation.protocol import Stage, Tensors, check_tensors, unpack_tensors
from pfmsmtrec_flwr.federation.server.strategy import ScenarioStrategy
from pfmsmtrec_flwr.federation.server.updates import ScenarioUpdate
from pfmsmtrec_flwr.federation.sharing import PRIVATE, Sharing
from pfmsmtrec_flwr.methods import FederatedMethod, federated_method
from pfmsmtrec_flwr.methods.alone import METHOD as ALONE
from pfmsmtrec_flwr.methods.alone import Alone
from pfmsmtrec_flwr.model import Part
from pfmsmtrec_flwr.results.summary import Joined
from pfmsmtrec_flwr.results.writer import read_results, write_results
from pfmsmtrec_flwr.training.records import RoundRecord, TrainingResult
from pfmsmtrec_flwr.training.selection import Standing, standing_of

CONSENSUS_NAME = "consensus.safetensors"
SHARES = (0.01, 0.05, 0.25, 1.0)
"""Shares of the joining scenario's training rows."""
_PARTS = "parts"


@dataclass(frozen=True, slots=True)
class Follower:
    """One training of the scenario that joins."""

    job: Job
    share: float
    start: Literal["consensus", "scratch"]


@dataclass(frozen=True, slots=True)
class Joining:
    """One method, one scenario left out, one seed.

    Attributes
    ----------
    method, scenario
        Names of the method and of the scenario left out.
    source
        Training of the other scenarios.
    trainings
        Trainings of the scenario alone.
    """

    method: str
    scenario: str
    source: Job
    trainings: tuple[Follower, ...]

    @property
    def followers(self) -> list[Job]:
        """Jobs that can be run now: without a consensus, only those from scratch."""
        return [each.job for each in self.trainings if each.start == "scratch" or self.source.finished]

    def figures(self) -> Iterator[Joined]:
        """Return the test figures of the trainings that have finished."""
        for each in self.trainings:
            if each.job.finished:
                results = read_results(each.job.folder)
                for task, found in results.scenarios[self.scenario].tasks.items():
                    yield Joined(
                        method=self.method,
                        scenario=self.scenario,
                        share=each.share,
                        start=each.start,
                        task=task,
                        seed=results.seed,
                        auc=found.auc,
                        logloss=found.logloss,
                    )


JobMaker = Callable[[RunConfig, Runner | None, str, tuple[str, ...]], Job]
"""Function that makes a job of its configuration, its runner (None: that of the other jobs), a description for the name
of its folder, and further facts that its results depend on."""


def check_joining(scenarios: Sequence[str]) -> None:
    """Check that there is a scenario to join.

    Raises
    ------
    UserError
        There are fewer than two scenarios.
    """
    if len(scenarios) < 2:
        raise UserError(f"got {len(scenarios)} scenario, expected two at least for one to join: leave --join out")


def joinings(config: RunConfig, scenarios: Sequence[str], job_of: JobMaker) -> list[Joining]:
    """Leave each scenario out once.

    The scenario trains under the settings of the method, from the consensus and from scratch: only the start differs.

    Parameters
    ----------
    config
        Configuration of the method's own run.
    scenarios
        Names of all scenarios that take part.
    job_of
        Function that makes the jobs.
    """
    return [_joining(config, scenario, scenarios, job_of) for scenario in scenarios]


def train_keeping(config: RunConfig, *, data: Path, output: Path) -> None:
    """Run a federated method, and keep the consensus of the round with the best mean validation AUC."""
    method = federated_method(config.method)
    keeper = _Keeper()
    strategy = method.strategy(method.configure(config), on_round=keeper.look)
    result = _start(strategy, data, output, keeper)
    keeper.save(output / CONSENSUS_NAME, strategy)
    _write(method, config, result, output)


def train_from(config: RunConfig, *, data: Path, output: Path, start: Path) -> None:
    """Train each scenario alone, from a consensus that `train_keeping` kept."""
    result = _start(Newcomer(ALONE.configure(config), Consensus.load(start)), data, output)
    _write(ALONE, config, result, output)


@dataclass(frozen=True, slots=True)
class Consensus:
    """Parameters that scenarios have in common.

    Attributes
    ----------
    tensors
        Tensors by name.
    parts
        Parts of the model that the tensors belong to.
    """

    tensors: Tensors
    parts: frozenset[Part]

    def save(self, path: Path) -> None:
        """Write the consensus to a file."""
        save_file(self.tensors, path, metadata={_PARTS: json.dumps(sorted(self.parts))})

    @classmethod
    def load(cls, path: Path) -> Consensus:
        """Read a consensus from a file.

        Raises
        ------
        UserError
            The file is missing or damaged.
        """
        try:
            with safe_open(path, framework="pt") as file:
                parts = frozenset(Part(name) for name in json.loads(file.metadata()[_PARTS]))
                return cls({name: file.get_tensor(name) for name in file.keys()}, parts)  # noqa: SIM118 - no mapping
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"no consensus in {path} ({error}): remove its folder, and compare again") from None


class Newcomer(Alone):
    """Training alone from a consensus; parts that it lacks are drawn as usual.

    Parameters
    ----------
    config
        The run's configuration.
    start
        Consensus of the other scenarios.
    """

    def __init__(self, config: RunConfig, start: Consensus) -> None:
        super().__init__(config)
        self.sharing = Sharing(personal=start.parts - PRIVATE)
        self._start = start

    @property
    def has_consensus(self) -> bool:
        """Always false: there is one scenario, and its own parameters travel."""
        return False

    def begin(self, federation: Federation) -> None:
        """Draw the initial parameters, and put the consensus in place of those that it has.

        Raises
        ------
        UserError
            The consensus does not fit the scenario's model.
        """
        super().begin(federation)
        for scenario, own in self.parameters.personal.items():
            known = {name: tensor for name, tensor in self._start.tensors.items() if name in own}
            check_tensors(known, {name: own[name] for name in known}, f"consensus for scenario {scenario}")
            own.update(known)

    def aggregate(self, stage: Stage, updates: Sequence[ScenarioUpdate]) -> None:  # noqa: ARG002 - one stage only
        """Return to every scenario what it sent."""
        for update in updates:
            own = self.parameters.personal[update.scenario]
            own.update(update.end)
            for name, touched in update.rows.items():
                own[name] = own[name].index_copy(0, touched.rows, touched.values)


class _Keeper:
    """Keeps the consensus of the best round by its `Standing`, and of the rounds not measured yet."""

    def __init__(self) -> None:
        self._of_round: dict[int, Tensors] = {}
        self._best: tuple[Standing, Tensors] | None = None

    def take(self, number: int, arrays: ArrayRecord) -> MetricRecord | None:
        """Take the consensus of a round; the strategy calls this before the round is measured."""
        self._of_round[number] = unpack_tensors(arrays)
        return None

    def look(self, record: RoundRecord) -> None:
        """Take the figures of a round."""
        names = record.validation
        standing = standing_of([record.score(name) for name in names], [record.loss(name) for name in names])
        tensors = self._of_round.pop(record.round)
        if self._best is None or standing > self._best[0]:
            self._best = (standing, tensors)

    def save(self, path: Path, strategy: ScenarioStrategy) -> None:
        """Write the best round's consensus."""
        if self._best is None:
            raise TypeError("no round was measured")
        Consensus(self._best[1], strategy.sharing.parts).save(path)


def _joining(config: RunConfig, scenario: str, scenarios: Sequence[str], job_of: JobMaker) -> Joining:
    others = tuple(name for name in scenarios if name != scenario)
    source = job_of(_of_scenarios(config, others), train_keeping, f"without {scenario}", ("keeping",))
    start = partial(train_from, start=source.folder / CONSENSUS_NAME)
    trainings = []
    for share in SHARES:
        own = _alone(config, scenario, share)
        joined = job_of(own, start, f"{scenario} joins {share:g}", ("from", source.digest))
        scratch = job_of(own, None, f"{scenario} from scratch {share:g}", ())
        trainings += [Follower(joined, share, "consensus"), Follower(scratch, share, "scratch")]
    return Joining(config.method, scenario, source, tuple(trainings))


def _of_scenarios(config: RunConfig, names: Sequence[str]) -> RunConfig:
    federation = config.federation.model_copy(update={"scenarios": tuple(names), "min_scenarios": 0})
    return config.model_copy(update={"federation": federation})


def _alone(config: RunConfig, scenario: str, share: float) -> RunConfig:
    """Return the configuration of one scenario alone; settings that only a server reads keep their defaults."""
    data = config.data.model_copy(update={"train_fraction": share * config.data.train_fraction})
    one = _of_scenarios(config, [scenario])
    federation = one.federation.model_copy(update={"tables": FederationSettings().tables})
    return one.model_copy(update={"method": ALONE.name, "data": data, "methods": {}, "federation": federation})


def _start(strategy: ScenarioStrategy, data: Path, output: Path, keeper: _Keeper | None = None) -> TrainingResult:
    """Run a strategy in this process, with all scenarios on one node."""
    run_id = 1
    contexts = simulated_contexts(run_id, 1, {"output": str(output), "data": str(data)})
    grid = InProcessGrid(own_client_app(), contexts)
    with run_identity(run_id):
        return strategy.start(grid, evaluate_fn=None if keeper is None else keeper.take)


def _write(method: FederatedMethod, config: RunConfig, result: TrainingResult, output: Path) -> None:
    write_config(config, output)
    write_results(results_of(method, config, result), output)
