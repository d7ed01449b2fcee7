"""The server's loop over rounds: a Flower Strategy in which scenarios, not nodes, are the clients."""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from collections.abc import Callable, Container, Iterable, Mapping, Sequence

import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy
from torch import Tensor

from pfmsmtrec_flwr.aggregation.consensus import mixture_weights, weighted_mean
from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate, average_rows, average_tables
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.handshake import Description, Federation, shake_hands
from pfmsmtrec_flwr.federation.outcome import Conflict, FederationResult, RoundRecord, TaskValidation
from pfmsmtrec_flwr.federation.protocol import (
    TEST,
    TRAIN,
    VALIDATE,
    Incoming,
    Order,
    Reply,
    Stage,
    Tensors,
    check_tensors,
    pack_orders,
    pack_tensors,
    payload_bytes,
    unpack_replies,
)
from pfmsmtrec_flwr.federation.server.updates import Parameters, ScenarioUpdate, stack
from pfmsmtrec_flwr.federation.sharing import Sharing, names_of
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.model import (
    HEAD_PARTS,
    ModelSpec,
    Part,
    Slot,
    build_model,
    output_biases,
    partition,
    parts_by_task,
)
from pfmsmtrec_flwr.training.selection import RoundSelection

RoundCallback = Callable[[RoundRecord], None]


class ScenarioStrategy(Strategy):
    """Rounds over scenarios that may share a node.

    A method is a subclass: it says what travels (`sharing`) and what the server makes of the updates (`aggregate`).

    Parameters
    ----------
    config
        The run's configuration.
    on_round
        Called once per round, as soon as its parameters were measured.

    Attributes
    ----------
    parameters
        The federated parameters as they stand.
    federation
        Who takes part; known once `start` has shaken hands.
    """

    def __init__(self, config: RunConfig, *, on_round: RoundCallback | None = None) -> None:
        self.config = config
        self.sharing = self.sharing_of(config)
        if config.federation.tables == "local":
            self.sharing = self.sharing.without(Part.FEDERATED_EMBEDDING)
        self.on_round = on_round
        self.parameters = Parameters()
        self.federation = Federation({}, {})
        self.selection = RoundSelection(config.federation.selection, config.federation.patience)
        self._slots: dict[str, dict[str, Slot]] = {}
        self._config_json = config.model_dump_json()
        self._timeout = config.federation.round_timeout
        self._exchange = 0
        self._stage = Stage.ALL
        self._record = RoundRecord(0)
        self._consensus_of_round: dict[int, Tensors] = {}

    # What a method defines ------------------------------------------------------------------------------------------

    @classmethod
    @abstractmethod
    def sharing_of(cls, config: RunConfig) -> Sharing:
        """Say what travels under a configuration; embeddings that it makes local are taken out afterwards."""

    @abstractmethod
    def aggregate(self, stage: Stage, updates: Sequence[ScenarioUpdate]) -> None:
        """Make the next parameters of the scenarios' updates.

        Parameters
        ----------
        stage
            Which exchange of the round the updates are from.
        updates
            Of the scenarios that reported, in the order of their names. The method changes `self.parameters`.
        """

    def stages(self) -> tuple[Stage, ...]:
        """Exchanges of one round."""
        return (Stage.ALL,)

    def shares(self) -> dict[str, dict[str, float]]:
        """Return what the method tells of itself after a round, by scenario."""
        return {}

    def conflict(self) -> Conflict | None:
        """Return how far the updates of the last aggregation disagreed, if the method looks at that."""
        return None

    @property
    def regularization(self) -> float:
        """Weight λ of the personalization regularizer; with 0 no consensus is sent."""
        return 0.0

    @property
    def has_consensus(self) -> bool:
        """Whether what the scenarios have in common is another model than the ones that predict."""
        return bool(self.sharing.personal)

    def aggregate_embeddings(self, table: Tensor, updates: Sequence[RowUpdate], weights: Tensor) -> Tensor:
        """Average one federated embedding table in the way that the configuration says.

        Parameters
        ----------
        table
            What the scenarios started from (R, d).
        updates
            The rows that each scenario touched.
        weights
            Of the scenarios, by the rows that they trained on (K,), summing to one; for the plain average.
        """
        if self.config.federation.tables == "rows":
            return average_rows(table, updates)
        return average_tables(table, updates, weights)

    # Flower's interface ---------------------------------------------------------------------------------------------

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
        """Return one message per node, each with fresh records."""
        first = self._stage is self.stages()[0]
        return self._messages(TRAIN, self._order(server_round, evaluate=first and server_round > 1), self._present())

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Aggregate the updates of the replies into `parameters`; return no arrays, but the mean losses."""
        updates = self._updates(self._replies(server_round, replies, self._check_update))
        started = time.perf_counter()
        with torch.no_grad():
            self.aggregate(self._stage, updates)
        self._record.aggregate_seconds += time.perf_counter() - started
        return None, MetricRecord(dict(self._record.losses))

    def configure_evaluate(
        self,
        server_round: int,
        arrays: ArrayRecord,  # noqa: ARG002
        config: ConfigRecord,  # noqa: ARG002
        grid: Grid,  # noqa: ARG002
    ) -> list[Message]:
        """Return the messages that have the last round's parameters measured without training on."""
        return self._messages(VALIDATE, self._order(server_round + 1, evaluate=True), self._present())

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Take in the validation figures of a round's parameters; return each scenario's score."""
        self._take_validation(server_round, self._replies(server_round, replies))
        scores = {name: self._record.score(name) for name in self._record.validation}
        return MetricRecord({name: score for name, score in scores.items() if score is not None})

    def start(
        self,
        grid: Grid,
        initial_arrays: ArrayRecord | None = None,
        num_rounds: int | None = None,
        timeout: float | None = None,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: Callable[[int, ArrayRecord], MetricRecord | None] | None = None,
    ) -> FederationResult:
        """Run all rounds, and measure the selected ones on test rows.

        A round is one exchange (two in a bottom-up schedule): its message brings the parameters of the round before,
        has them measured, and trains on.

        Parameters
        ----------
        grid
            Flower's, or the in-process one.
        initial_arrays
            Must be None: a scenario's initial parameters follow from the seed and its own specification.
        num_rounds, timeout
            Override the configuration's rounds and seconds per exchange.
        train_config, evaluate_config
            Must be None: what is sent along is the run's configuration.
        evaluate_fn
            Called after each round with its number and the scenarios' consensus.

        Raises
        ------
        UserError
            The scenarios do not fit together, or too few of them answer.
        """
        if initial_arrays or train_config or evaluate_config:
            raise UserError("initial arrays and train or evaluate configs are not used: change the run's configuration")
        started = time.perf_counter()
        rounds = num_rounds if num_rounds is not None else self.config.federation.rounds
        self._timeout = timeout if timeout is not None else self.config.federation.round_timeout
        result = FederationResult()
        self.begin(shake_hands(grid, self.config, self.config.federation.scenarios))
        self.summary()
        for number in range(1, rounds + 1):
            if not self._run_round(number, grid, result):
                break
            if evaluate_fn is not None and (metrics := evaluate_fn(number, pack_tensors(self.consensus()))) is not None:
                result.evaluate_metrics_serverapp[number] = metrics
        else:
            self._validate_last(rounds, grid, result)
        self._test(grid, result)
        result.arrays = pack_tensors(self.consensus())
        result.scenarios = self.federation.scenarios
        result.seconds = time.perf_counter() - started
        return result

    # Steps of the loop ----------------------------------------------------------------------------------------------

    def begin(self, federation: Federation) -> None:
        """Draw the initial parameters of the given scenarios; equal names start with equal values.

        Raises
        ------
        UserError
            Scenarios have different tasks, and what the method shares has an axis of tasks.
        """
        self.federation = federation
        self._check_tasks()
        built: dict[ModelSpec, tuple[dict[str, Slot], Tensors]] = {}
        for name, description in federation.scenarios.items():
            spec = description.spec()
            if spec not in built:
                model = build_model(spec, self.config.model, self.config.seed)
                built[spec] = partition(model), {key: value.clone() for key, value in model.state_dict().items()}
            slots, state = built[spec]
            self._slots[name] = slots
            self.parameters.common |= {key: state[key] for key in names_of(slots, self.sharing.common)}
            state = state | self._base_rates(slots, [description])
            personal = names_of(slots, self.sharing.personal)
            self.parameters.personal[name] = {key: state[key].clone() for key in personal}
        common = self.parameters.common
        for slots in self._slots.values():
            started = self._base_rates(slots, list(federation.scenarios.values()))
            common |= {key: value for key, value in started.items() if key in common}

    def _base_rates(self, slots: Mapping[str, Slot], described: Sequence[Description]) -> Tensors:
        """Return where a model's output biases start, at the rates over the given scenarios."""
        return output_biases(self.config.model.architecture, slots.values(), *_label_counts(described))

    def _check_tasks(self) -> None:
        """Where what is shared has an axis of tasks, it must mean the same everywhere."""
        described = list(self.federation.scenarios.values())
        shared = self.sharing.parts & parts_by_task(self.config.model)
        for other in described[1:] if shared else ():
            if other.tasks != described[0].tasks:
                architecture = self.config.model.architecture
                instead = "model.template=none" if architecture == "mmoe" else "model.architecture=shared-bottom"
                raise UserError(
                    f"{self.config.method} shares what a model of architecture {architecture} keeps per task "
                    f"({', '.join(sorted(shared))}), but "
                    f"{described[0].scenario} has the tasks {', '.join(described[0].tasks)} and {other.scenario} has "
                    f"{', '.join(other.tasks)}: set {instead}, or leave one of them out"
                )

    def consensus(self) -> Tensors:
        """Return what is common, and the mean of the personal parameters weighted by the scenarios' training rows."""
        return self.parameters.common | self._personal_mean()

    def average_common(self, updates: Sequence[ScenarioUpdate]) -> None:
        """Replace what is common by its mean over the scenarios that sent it, weighted by the rows that they saw."""
        for name in dict.fromkeys(name for update in updates for name in self._common_names(update)):
            senders = [update for update in updates if name in update.end]
            weights = mixture_weights([update.examples for update in senders])
            self.parameters.common[name] = weighted_mean(stack(senders, name), weights)
        tables = (name for update in updates for name in update.rows if name in self.parameters.common)
        for name in dict.fromkeys(tables):
            senders = [update for update in updates if name in update.rows]
            weights = mixture_weights([update.examples for update in senders])
            rows = [update.rows[name] for update in senders]
            self.parameters.common[name] = self.aggregate_embeddings(self.parameters.common[name], rows, weights)

    def _common_names(self, update: ScenarioUpdate) -> list[str]:
        return [name for name in names_of(update.slots, self.sharing.common) if name in update.end]

    def _run_round(self, number: int, grid: Grid, result: FederationResult) -> bool:
        """Run one round; return whether another one is worth it."""
        before, self._record = self._record, RoundRecord(number)
        for stage in self.stages():
            self._stage = stage
            messages = self.configure_train(number, ArrayRecord(), ConfigRecord(), grid)
            replies = self._send(grid, messages)
            if stage is self.stages()[0] and number > 1:
                self._record, current = before, self._record
                self._take_validation(number - 1, self._replies(number - 1, replies))
                if self.selection.exhausted:  # what this exchange trained is not used, but it travelled
                    self._record.up_bytes += current.up_bytes
                    self._record.down_bytes += current.down_bytes
                    self._record.train_seconds += current.train_seconds
                self._finish(result)
                if self.selection.exhausted:
                    logger.info("no better mean validation AUC for %d rounds: stopping", self.selection.patience)
                    return False
                self._record = current
            _, metrics = self.aggregate_train(number, replies)
            if metrics is not None:
                result.train_metrics_clientapp[number] = metrics
        self._record.shares = self.shares()
        self._record.conflict = self.conflict()
        return True

    def _validate_last(self, rounds: int, grid: Grid, result: FederationResult) -> None:
        self._stage = self.stages()[0]
        replies = self._send(grid, self.configure_evaluate(rounds, ArrayRecord(), ConfigRecord(), grid))
        metrics = self.aggregate_evaluate(rounds, replies)
        if metrics is not None:
            result.evaluate_metrics_clientapp[rounds] = metrics
        self._finish(result)

    def _finish(self, result: FederationResult) -> None:
        """Close the record of a round whose parameters have been measured."""
        result.rounds.append(self._record)
        result.selected = dict(self.selection.selected)
        scores = [score for name in self._record.validation if (score := self._record.score(name)) is not None]
        logger.info(
            "round %d of %d: mean validation AUC %s",
            self._record.round,
            self.config.federation.rounds,
            f"{sum(scores) / len(scores):.4f}" if scores else "n/a",
        )
        if self.on_round is not None:
            self.on_round(self._record)

    def _test(self, grid: Grid, result: FederationResult) -> None:
        """Have the selected models measured on test rows and saved where they are."""
        number = self._record.round
        order = self._order(number, evaluate=False)
        # With a quorum, a scenario may never have been measured: it has no round to test.
        consensus = {name: self._consensus_of_round.get(round_, {}) for name, round_ in self.selection.selected.items()}
        messages = self._messages(TEST, order, Incoming({}, consensus), scenarios=self.selection.selected)
        for name, reply in self._replies(number, self._send(grid, messages)).items():
            result.test[name] = _below("test.", reply.figures)
            result.consensus[name] = _below("consensus.", reply.figures)
            result.best[name] = _below("best.", reply.figures)

    def _order(self, number: int, *, evaluate: bool) -> Order:
        self._exchange += 1
        return Order(
            config=self._config_json,
            method=self.config.method,
            round=number,
            exchange=self._exchange,
            stage=self._stage,
            parts=tuple(sorted(self._asked())),
            evaluate=evaluate,
            selected=dict(self.selection.selected),
        )

    def _asked(self) -> frozenset[Part]:
        """Parts that the scenarios send back at this stage."""
        if self._stage is Stage.EXPERTS:
            return self.sharing.parts - HEAD_PARTS
        if self._stage is Stage.TOWERS:
            return self.sharing.parts & HEAD_PARTS
        return self.sharing.parts

    def _present(self) -> Incoming:
        """Return the parameters as they stand, for all scenarios."""
        consensus = self._personal_mean(of_tables=False) if self._regularized() else {}
        return Incoming(self.parameters.common, self.parameters.personal, consensus)

    def _messages(
        self, kind: str, order: Order, parameters: Incoming, *, scenarios: Container[str] | None = None
    ) -> list[Message]:
        """Return a message per node with its scenarios' parameters; for the given scenarios only, if any are given."""
        messages = []
        for node, hosted in self.federation.nodes().items():
            names = [name for name in hosted if scenarios is None or name in scenarios]
            if not names:
                continue
            personal = {name: parameters.personal[name] for name in names if name in parameters.personal}
            incoming = Incoming(parameters.common, personal, parameters.consensus)
            messages.append(Message(pack_orders(order, incoming, names), node, kind, group_id=str(order.round)))
        return messages

    def _regularized(self) -> bool:
        """Whether scenarios need the consensus: there is none of a single one."""
        return self.regularization > 0 and len(self.federation.scenarios) > 1

    def _personal_mean(self, *, of_tables: bool = True) -> Tensors:
        """Return the mean of the personal parameters; the regularizer, which is not of tables, does without theirs."""
        described = self.federation.scenarios
        slots = {key: slot for own in self._slots.values() for key, slot in own.items()}
        means = {}
        for key in dict.fromkeys(key for tensors in self.parameters.personal.values() for key in tensors):
            if slots[key].part is Part.FEDERATED_EMBEDDING and not of_tables:
                continue
            owners = [name for name in described if key in self.parameters.personal[name]]
            weights = mixture_weights([described[name].examples["train"] for name in owners])
            values = torch.stack([self.parameters.personal[name][key] for name in owners])
            means[key] = weighted_mean(values, weights)
        return means

    def _send(self, grid: Grid, messages: list[Message]) -> list[Message]:
        started = time.perf_counter()
        self._record.down_bytes += sum(payload_bytes(message.content) for message in messages)
        replies = list(grid.send_and_receive(messages, timeout=self._timeout))
        self._record.up_bytes += sum(payload_bytes(reply.content) for reply in replies if reply.has_content())
        self._record.train_seconds += time.perf_counter() - started
        return replies

    def _replies(
        self, number: int, messages: Iterable[Message], check: Callable[[str, Reply], None] | None = None
    ) -> dict[str, Reply]:
        """Read the replies, in the order of the scenarios' names; one that `check` refuses counts as none.

        Raises
        ------
        UserError
            Fewer scenarios than wanted have answered without an error.
        """
        replies: dict[str, Reply] = {}
        problems: list[str] = []
        for message in messages:
            if message.has_error():
                problems.append(message.error.reason or f"error {message.error.code}")
                continue
            for name, reply in unpack_replies(message.content).items():
                if self.federation.hosts.get(name) != message.metadata.src_node_id:
                    problems.append(f"node {message.metadata.src_node_id} answers for {name}, which it does not host")
                    continue
                try:
                    if reply.error:
                        raise UserError(reply.error)
                    if check is not None:
                        check(name, reply)
                    replies[name] = reply
                except UserError as error:
                    problems.append(str(error))
        problems.sort()  # replies come in any order
        wanted = self.config.federation.min_scenarios or len(self.federation.scenarios)
        missing = sorted(set(self.federation.scenarios) - replies.keys())
        if len(replies) < min(wanted, len(self.federation.scenarios)):
            why = problems[0] if problems else f"no answer within {self._timeout:g} s"
            raise UserError(
                f"round {number}: nothing usable from {', '.join(missing)}, {wanted} scenarios are needed: {why}"
            )
        if missing:
            logger.warning(
                "round %d goes on without %s: %s", number, ", ".join(missing), "; ".join(problems) or "no answer"
            )
        return {name: replies[name] for name in sorted(replies)}

    def _updates(self, replies: dict[str, Reply]) -> list[ScenarioUpdate]:
        updates = []
        for name, reply in replies.items():
            examples = int(reply.figures["examples"])
            sent = self.parameters.of(name)
            updates.append(ScenarioUpdate(name, examples, sent, reply.parameters, reply.rows, self._slots[name]))
            losses = [value for key, value in reply.figures.items() if key.startswith("loss.")]
            self._record.losses[name] = sum(losses) / len(losses)
        return updates

    def _check_update(self, name: str, reply: Reply) -> None:
        """Refuse an update that lacks what was asked for, brings anything else, or does not fit what was sent."""
        sent, slots = self.parameters.of(name), self._slots[name]
        tables = set(names_of(slots, self._asked() & {Part.FEDERATED_EMBEDDING}))
        wanted = {key: sent[key] for key in names_of(slots, self._asked()) if key not in tables}
        check_tensors(reply.parameters, wanted, f"scenario {name}")
        if reply.rows.keys() != tables:
            raise UserError(f"scenario {name}: got rows of {sorted(reply.rows)}, expected those of {sorted(tables)}")
        for key, update in reply.rows.items():
            _check_rows(update, sent[key], f"scenario {name}, table {key}")
        figures = ("examples", *(f"loss.{task}" for task in self.federation.scenarios[name].tasks))
        if not all(math.isfinite(reply.figures.get(figure, math.nan)) for figure in figures):
            raise UserError(f"scenario {name}: the reply lacks one of the figures {', '.join(figures)}")
        if reply.figures["examples"] < 1:
            raise UserError(f"scenario {name}: trained on {reply.figures['examples']:g} rows, expected at least 1")

    def _take_validation(self, number: int, replies: dict[str, Reply]) -> None:
        for name, reply in replies.items():
            figures = _below("validation.", reply.figures)
            self._record.validation[name] = {
                task: TaskValidation(figures.get(f"auc.{task}"), figures[f"logloss.{task}"])
                for task in self.federation.scenarios[name].tasks
            }
            self._record.gates[name] = _gates(reply.figures, self.federation.scenarios[name].tasks)
        self.selection.add(number, {name: self._record.score(name) for name in replies})
        self._remember_consensus(number)

    def _remember_consensus(self, number: int) -> None:
        """Keep the consensus of the rounds that are selected by now, if it is to be measured in the end."""
        if not (self.config.federation.evaluate_consensus and self.has_consensus):
            return
        selected = set(self.selection.selected.values())
        known = self._consensus_of_round | ({number: self.consensus()} if number in selected else {})
        self._consensus_of_round = {round_: known[round_] for round_ in selected if round_ in known}


def _label_counts(described: Sequence[Description]) -> tuple[list[str], list[int], list[int]]:
    """Return the tasks of the scenarios and, over those that have it, each one's positive and all training rows."""
    counts: dict[str, tuple[int, int]] = {}
    for description in described:
        for task, positives in zip(description.tasks, description.used_positives, strict=True):
            before, rows = counts.get(task, (0, 0))
            counts[task] = before + positives, rows + description.used_rows
    return list(counts), [positives for positives, _ in counts.values()], [rows for _, rows in counts.values()]


def _gates(figures: dict[str, float], tasks: Sequence[str]) -> dict[str, list[float]]:
    """Return the mean share of each expert, in their order, by task; empty for a model without gates."""
    shares = {task: _below(f"gate.{task}.", figures) for task in tasks}
    return {task: [own[str(expert)] for expert in range(len(own))] for task, own in shares.items() if own}


def _below(prefix: str, figures: dict[str, float]) -> dict[str, float]:
    return {key.removeprefix(prefix): value for key, value in figures.items() if key.startswith(prefix)}


def _check_rows(update: RowUpdate, table: Tensor, source: str) -> None:
    rows, values, counts = update.rows, update.values, update.counts
    ascending = rows.dim() == 1 and bool((rows.diff() > 0).all())
    in_range = ascending and (len(rows) == 0 or (int(rows[0]) >= 0 and int(rows[-1]) < len(table)))
    fits = in_range and values.shape == (len(rows), table.shape[1]) and values.dtype == table.dtype
    if not fits or counts.shape != rows.shape or not (counts > 0).all() or not torch.isfinite(values).all():
        raise UserError(f"{source}: got rows, values or counts that do not fit a table of {tuple(table.shape)}")
