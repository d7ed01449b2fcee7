"""The Strategy that Flower sees and that a method subclasses: scenarios, not nodes, are its clients."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, cast

import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy
from torch import Tensor

from pfmsmtrec_flwr.aggregation.averages import average, robust_rows
from pfmsmtrec_flwr.aggregation.consensus import mixture_weights
from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate, average_rows, average_tables
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.client.client import TOWER_STEPS
from pfmsmtrec_flwr.federation.handshake import Federation
from pfmsmtrec_flwr.federation.protocol import (
    TEST,
    TRAIN,
    VALIDATE,
    Incoming,
    Order,
    Stage,
    Tensors,
)
from pfmsmtrec_flwr.federation.resume.checkpoints import CheckpointFolder
from pfmsmtrec_flwr.federation.roll_call import RollCall
from pfmsmtrec_flwr.federation.server.admission import Admission
from pfmsmtrec_flwr.federation.server.exchange import messages_to_nodes
from pfmsmtrec_flwr.federation.server.figures import note_losses, note_validation
from pfmsmtrec_flwr.federation.server.influence import bound_updates
from pfmsmtrec_flwr.federation.server.kept_consensus import KeptConsensus
from pfmsmtrec_flwr.federation.server.parameters import Parameters, initial_parameters
from pfmsmtrec_flwr.federation.server.result import FederationResult
from pfmsmtrec_flwr.federation.server.rounds import EvaluateFunction
from pfmsmtrec_flwr.federation.server.stale_rows import StaleRows
from pfmsmtrec_flwr.federation.server.training_progress import TrainingProgress
from pfmsmtrec_flwr.federation.server.updates import ScenarioUpdate, stack, update_of
from pfmsmtrec_flwr.federation.server.whole_run import run_federation
from pfmsmtrec_flwr.federation.sharing import Sharing, names_of
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.model import Part
from pfmsmtrec_flwr.training.description import Description
from pfmsmtrec_flwr.training.local import rows_seen
from pfmsmtrec_flwr.training.records import Attention, Conflict, RoundCallback, RoundRecord
from pfmsmtrec_flwr.training.selection import RoundSelection


class MethodSteps(Strategy):
    """The steps of a method on the server, each of which a subclass may override.

    A method says what travels (`sharing_of`) and how the updates become the next parameters (`aggregate`).

    Parameters
    ----------
    config
        Configuration of the run.

    Attributes
    ----------
    sharing
        Parts of the model that travel.
    parameters
        Current federated parameters.
    start_from
        Run from whose models the scenarios start; empty if they start anew.
    """

    remembers: ClassVar[tuple[str, ...]] = ()
    """Attributes that hold what the method has learned beside the parameters, which checkpoints keep: trees of plain
    values and tensors, or objects with `state_dict` and `load_state_dict`."""

    def __init__(self, config: RunConfig) -> None:
        self.config = config
        self.sharing = self.sharing_of(config)
        if config.federation.tables == "local":
            self.sharing = self.sharing.without(Part.FEDERATED_EMBEDDING)
        self.parameters = Parameters()
        self.start_from = ""

    @property
    def first_measured(self) -> int:
        """First round whose parameters are measured: 0, the start, if it is that of earlier models; else 1."""
        return 0 if self.start_from else 1

    @classmethod
    @abstractmethod
    def sharing_of(cls, config: RunConfig) -> Sharing:
        """Return the parts that travel under a configuration; tables that it keeps local are taken out afterwards."""

    @abstractmethod
    def aggregate(self, stage: Stage, updates: Sequence[ScenarioUpdate]) -> None:
        """Replace `parameters` by the next ones, computed from the scenarios' updates.

        Parameters
        ----------
        stage
            Exchange of the round that brought the updates.
        updates
            Updates of the scenarios that reported, in the order of their names.
        """

    def stages(self) -> tuple[Stage, ...]:
        """Return the exchanges of one round."""
        return (Stage.ALL,)

    def shares(self) -> dict[str, dict[str, float]]:
        """Return the values that the method has learned, by scenario and name, for the round's record."""
        return {}

    def conflict(self) -> Conflict | None:
        """Return the disagreement between the last aggregated updates, if the method measures it."""
        return None

    def attention(self) -> dict[str, Attention]:
        """Return the attention between the last aggregated updates of the towers, by task, if the method has one."""
        return {}

    @property
    def has_consensus(self) -> bool:
        """Whether the scenarios' consensus is another model than the ones that predict."""
        return bool(self.sharing.personal)

    def bounded(
        self, updates: Sequence[ScenarioUpdate], scenarios: Mapping[str, Description], stage: Stage
    ) -> list[ScenarioUpdate]:
        """Return the updates as they count, see `influence.bound_updates`."""
        multiple, noisy = self.config.federation.clip, bool(self.config.privacy.noise)
        return bound_updates(updates, scenarios, self.config.train, stage, multiple, noisy=noisy)

    def most_rows(self, stage: Stage, rows: int) -> int:
        """Return the largest number of training rows, repetitions counted, that a scenario may report at a stage.

        A method whose clients report on a longer training than ``train.local_epochs`` overrides it.

        Parameters
        ----------
        stage
            Exchange of the round.
        rows
            Training rows that the scenario has registered.
        """
        return rows_seen(rows, self.config.train, TOWER_STEPS if stage is Stage.TOWERS else None)

    def state_dict(self) -> dict[str, Any]:
        """Return the parameters and what the method remembers, as plain values and tensors, for a checkpoint."""
        owns = {name: getattr(self, name) for name in self.remembers}
        return self.parameters.state_dict() | {
            name: own.state_dict() if hasattr(own, "state_dict") else own for name, own in owns.items()
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.parameters.load_state_dict(state)
        for name in self.remembers:
            own = getattr(self, name)
            if hasattr(own, "load_state_dict"):
                own.load_state_dict(state[name])
            else:
                setattr(self, name, state[name])

    def average_common(self, updates: Sequence[ScenarioUpdate]) -> None:
        """Replace the common parameters by their ``federation.average`` over the scenarios that sent them."""
        common = self.parameters.common
        sent = (name for update in updates for name in names_of(update.slots, self.sharing.common))
        for name in dict.fromkeys(sent):
            if senders := [update for update in updates if name in update.end]:
                weights = mixture_weights([update.examples for update in senders])
                common[name] = average(stack(senders, name), weights, self.config.federation.average)
        for name in dict.fromkeys(name for update in updates for name in update.rows if name in common):
            senders = [update for update in updates if name in update.rows]
            weights = mixture_weights([update.examples for update in senders])
            common[name] = self.aggregate_embeddings(common[name], [update.rows[name] for update in senders], weights)

    def aggregate_embeddings(self, table: Tensor, updates: Sequence[RowUpdate], weights: Tensor) -> Tensor:
        """Average one federated embedding table, by the rules of ``federation.tables`` and ``federation.average``.

        Parameters
        ----------
        table
            Table that the scenarios started from (R, d).
        updates
            Rows that each scenario touched.
        weights
            Share of each scenario in the training rows (K,), for the plain average.
        """
        rows, kind = self.config.federation.tables == "rows", self.config.federation.average
        if kind != "mean":
            return robust_rows(table, updates, kind, untouched_count=not rows)
        return average_rows(table, updates) if rows else average_tables(table, updates, weights)


class ScenarioStrategy(MethodSteps):
    """Flower's Strategy over scenarios that may share a node.

    Parameters
    ----------
    config
        Configuration of the run.
    on_round
        Function that is called once per round, as soon as the round's parameters were measured.

    Attributes
    ----------
    federation
        Scenarios that take part and their nodes, known once `start` has shaken hands.
    roll
        Roll of the run's nodes, known as soon; None: nobody is looked for.
    selection
        Choice of the round that counts.
    stage
        Current exchange of the round.
    timeout
        Seconds to wait for the replies of one exchange.
    method_file
        File that defines the method, for the clients; empty for a method of the package.
    stale
        Rows of the tables in which each scenario's copy differs.
    admission
        Reading of the replies: those that count are aggregated.
    records, kept_consensus
        Records of the rounds by number, and the consensus of those that are selected.
    checkpoints
        Checkpoints from which a run that was broken off goes on; None: none are kept.
    first_run
        Number of the run that this one resumes, under which deployed nodes keep its files; 0: it is a new one.
    progress
        How far the training has come.
    """

    def __init__(self, config: RunConfig, *, on_round: RoundCallback | None = None) -> None:
        super().__init__(config)
        self.on_round = on_round
        self.federation = Federation({}, {})
        self.roll: RollCall | None = None
        own = config.federation
        self.selection = RoundSelection(own.selection, own.patience, median=own.average != "mean")
        self.stage, self.timeout = Stage.ALL, own.round_timeout
        self.method_file, self.first_run = "", 0
        self.stale = StaleRows(own.precision)
        self.admission = Admission(self)
        self.records: dict[int, RoundRecord] = {}
        self.kept_consensus = KeptConsensus()
        self.checkpoints: CheckpointFolder | None = None
        self.progress = TrainingProgress()
        self._config_json = config.model_dump_json()

    def start(
        self,
        grid: Grid,
        initial_arrays: ArrayRecord | None = None,
        num_rounds: int | None = None,
        timeout: float | None = None,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: EvaluateFunction | None = None,
    ) -> FederationResult:
        """Run all rounds, and measure the selected ones on test rows.

        Parameters
        ----------
        grid
            Flower's grid, or the in-process one.
        initial_arrays
            Must be None: a scenario's initial parameters follow from the seed and its own specification.
        num_rounds, timeout
            Number of rounds and seconds per exchange, in place of the configuration's.
        train_config, evaluate_config
            Must be None: the run's configuration is sent along.
        evaluate_fn
            Function that is called after each round with its number and the scenarios' consensus.

        Raises
        ------
        UserError
            The scenarios do not fit together, or too few of them answer.
        """
        if initial_arrays or train_config or evaluate_config:
            raise UserError("initial arrays and train or evaluate configs are not used: change the run's configuration")
        self.timeout = timeout if timeout is not None else self.timeout
        rounds = num_rounds if num_rounds is not None else self.config.federation.rounds
        return run_federation(self, grid, rounds, evaluate_fn)

    def begin(self, federation: Federation) -> None:
        """Draw the initial parameters of the scenarios.

        Raises
        ------
        UserError
            Scenarios have different tasks, and a shared part has an axis of tasks.
        """
        self.federation = federation
        self.parameters = initial_parameters(self.config, self.sharing, federation.scenarios)

    def summary(self) -> None:
        """Log what is about to run."""
        names = ", ".join(self.federation.scenarios)
        logger.info("%s on %s: scenarios %s", self.config.method, self.config.data.name, names)

    def configure_train(
        self,
        server_round: int,
        arrays: ArrayRecord,  # noqa: ARG002 - personal parameters do not fit one record: they are in `parameters`
        config: ConfigRecord,  # noqa: ARG002
        grid: Grid,  # noqa: ARG002
    ) -> list[Message]:
        """Return one message per node: measure the parameters that it brings, if they are of a round, and train on."""
        measured = server_round > self.first_measured and self.stage is self.stages()[0]
        order = self.admission.ask(TRAIN, self._order(server_round, evaluate=measured))
        return messages_to_nodes(self.federation, TRAIN, order, self._present(), stale=self.stale)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Aggregate the updates in the replies into `parameters`; return no arrays, but the mean training losses."""
        admitted = self.admission.of(replies)
        record = self.record(server_round)
        record.missing |= self.federation.names - admitted.keys()
        note_losses(record, admitted)
        started = time.perf_counter()
        updates = [update_of(name, reply, self.parameters) for name, reply in admitted.items()]
        with torch.no_grad():
            bounded = self.bounded(updates, self.federation.scenarios, self.stage)
            self.aggregate(self.stage, bounded)
        record.missing |= admitted.keys() - {update.scenario for update in bounded}
        self.stale.note(updates, self.parameters)
        self.progress.counted |= dict.fromkeys(admitted, self.progress.exchanges)
        record.aggregate_seconds += time.perf_counter() - started
        return None, MetricRecord(dict(record.losses))

    def configure_evaluate(
        self,
        server_round: int,
        arrays: ArrayRecord,  # noqa: ARG002
        config: ConfigRecord,  # noqa: ARG002
        grid: Grid,  # noqa: ARG002
    ) -> list[Message]:
        """Return one message per node: measure the round's parameters, and train nothing."""
        order = self.admission.ask(VALIDATE, self._order(server_round + 1, evaluate=True))
        return messages_to_nodes(self.federation, VALIDATE, order, self._present(), stale=self.stale)

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord:
        """Record the validation metrics of a round's parameters; return the score of each scenario."""
        record = self.record(server_round)
        note_validation(record, self.admission.of(replies), self.federation)
        scores = {name: record.score(name) for name in record.validation}
        self.selection.add(server_round, scores, {name: record.loss(name) for name in record.validation})
        if self.config.federation.evaluate_consensus and self.has_consensus:
            self.kept_consensus.keep(server_round, self.selection.selected, self.consensus)
        return MetricRecord({name: score for name, score in scores.items() if score is not None})

    def test_messages(self, server_round: int) -> list[Message]:
        """Return one message per node: measure the selected models on test rows, and save them."""
        selected = self.selection.selected  # with a quorum, a scenario may never have been measured and has none
        kept = Incoming({}, self.kept_consensus.by_scenario(selected))
        order = replace(self._order(server_round, evaluate=False), parts=tuple(sorted(self.sharing.parts)))
        measured_too = [name for name, tensors in kept.personal.items() if tensors]
        self.admission.ask(TEST, order, only=selected, consensus=measured_too)
        return messages_to_nodes(self.federation, TEST, order, kept, selected)

    def consensus(self) -> Tensors:
        """Return the common parameters, and the mean of the personal ones weighted by training rows."""
        return self.parameters.common | self.parameters.personal_mean(self.federation.train_rows())

    def record(self, server_round: int) -> RoundRecord:
        """Return the record of a round, which begins when it is first asked for."""
        return self.records.setdefault(server_round, RoundRecord(server_round))

    def _order(self, number: int, *, evaluate: bool) -> Order:
        self.progress.exchanges += 1
        return Order(
            config=self._config_json,
            method=self.config.method,
            round=number,
            exchange=self.progress.exchanges,
            stage=self.stage,
            parts=tuple(sorted(self.sharing.parts_at(self.stage))),
            evaluate=evaluate,
            selected=dict(self.selection.selected),
            counted=dict(self.progress.counted),
            copies=dict(self.stale.copies),
            run=self.first_run,
            file=self.method_file,
        )

    def _present(self) -> Incoming:
        """Return the current parameters of all scenarios."""
        return Incoming(self.parameters.common, cast("dict[str, Tensors]", self.parameters.personal))
