"""One scenario's side of the federation: install what comes, measure it, train, answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.data.store.reader import ScenarioStore, Split
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.client.state import LocalState
from pfmsmtrec_flwr.federation.protocol import Incoming, Order, Reply, Stage, Tensors, check_tensors
from pfmsmtrec_flwr.federation.sharing import PRIVATE, names_of
from pfmsmtrec_flwr.model import (
    HEAD_PARTS,
    TOWER_PARTS,
    FieldSpec,
    ModelSpec,
    Part,
    ScenarioModel,
    draw_parameters,
    make_model,
    output_biases,
    partition,
)
from pfmsmtrec_flwr.scoring.saved_model import ModelDescription
from pfmsmtrec_flwr.seeds import derive_seed
from pfmsmtrec_flwr.training.averaging import exponential_mean
from pfmsmtrec_flwr.training.batchnorm import refresh_statistics
from pfmsmtrec_flwr.training.devices import resolve_device
from pfmsmtrec_flwr.training.evaluation import expert_shares, measure, predict
from pfmsmtrec_flwr.training.local import (
    Anchor,
    GradientStep,
    LocalStep,
    TrainReport,
    train_locally,
    trained_only,
)
from pfmsmtrec_flwr.training.metrics import flat_figures
from pfmsmtrec_flwr.training.optimizers import LocalOptimizer, make_optimizer

_OPTIMIZER = "optimizer/"
_AVERAGE = "average/"
_EXPERT_OR_TOWER = (Part.EXPERT_GLOBAL, Part.EXPERT_TASK, Part.EXPERT_SCENARIO, *TOWER_PARTS)


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a local training came to.

    Attributes
    ----------
    report
        Of the training whose parameters are sent.
    remembered
        What the scenario has to remember beyond its own parts of the model, by names with a slash, such as
        ``optimizer/...``.
    """

    report: TrainReport
    remembered: Tensors = field(default_factory=dict)


class ScenarioClient:
    """A scenario taking part in one method of one run.

    A method whose scenarios do more than train what they received has a subclass, which overrides `anchors`, `fit`,
    or what `recall` and `predictor` say about the model that predicts.

    Parameters
    ----------
    store
        The scenario's rows.
    config
        The run's configuration.
    state
        The scenario's files.

    Attributes
    ----------
    model
        The one whose parts travel.
    """

    def __init__(self, store: ScenarioStore, config: RunConfig, state: LocalState) -> None:
        self.store = store
        self.config = config
        self.state = state
        torch.set_num_threads(config.train.threads)
        self.device = resolve_device(config.train.device)
        self.model = self.make_model()
        self.slots = partition(self.model)

    # What a method may change ---------------------------------------------------------------------------------------

    @property
    def predictor(self) -> ScenarioModel:
        """The model that is measured, and that is the scenario's in the end."""
        return self.model

    def recall(self, saved: Tensors) -> None:
        """Bring back, from what the last exchange left, what `predictor` needs beyond the received model."""

    def anchors(self, incoming: Incoming) -> Sequence[Anchor]:
        """Return what the local training of `model` is pulled to: the consensus, by the personalization regularizer."""
        return [Anchor(self._consensus(incoming), self.config.train.consensus_weight)]

    def fit(self, order: Order, incoming: Incoming, saved: Tensors) -> Fitted:
        """Train `model` in place for one exchange.

        Parameters
        ----------
        order
            What is asked for.
        incoming
            What came.
        saved
            What the last exchange left.
        """
        return self.fit_model(self.model, order, self.anchors(incoming), saved)

    # Used by them ---------------------------------------------------------------------------------------------------

    def make_model(self) -> ScenarioModel:
        """Return a model of the scenario's, not drawn yet."""
        return make_model(model_spec(self.store), self.config.model).to(self.device)

    def received(self, incoming: Incoming) -> Tensors:
        """Return what came of the model's parameters, buffers left out."""
        came = incoming.common | incoming.personal.get(self.store.scenario, {})
        return {name: came[name] for name, _ in self.model.named_parameters() if name in came}

    def base_rates(self) -> Tensors:
        """Return where the output biases start if they stay in the scenario: at its own rates."""
        rows, tasks = self.train_rows, self.store.tasks
        counts = rows.positives(), [len(rows)] * len(tasks)
        return output_biases(self.config.model.architecture, self.slots.values(), tasks, *counts)

    def restore(self, model: ScenarioModel, saved: Tensors, prefix: str) -> None:
        """Put back what of a model was saved below a prefix; the rest becomes as `model` is, or at first as alone."""
        state = self.model.state_dict() | (self.base_rates() if not saved else {})
        model.load_state_dict({name: saved.get(f"{prefix}{name}", value) for name, value in state.items()})

    def fit_model(
        self,
        model: ScenarioModel,
        order: Order,
        anchors: Sequence[Anchor],
        saved: Tensors,
        *,
        prefix: str = "",
        purpose: str = "train",
        steps: int | None = None,
    ) -> Fitted:
        """Train a model in place; its optimisers' moments are remembered, below a prefix, if they are to be kept.

        Parameters
        ----------
        model
            Trained as far as its parameters take part in training.
        order
            What is asked for.
        anchors
            What the model is pulled to.
        saved
            What the last exchange left.
        prefix
            Of the names of what is remembered.
        purpose
            Trainings of one exchange with the same purpose see the same batches and the same dropout.
        steps
            Batches; none given: what the configuration's epochs are.
        """
        optimizer = self.resume_optimizer(model, saved, prefix)
        step = GradientStep(model, optimizer, self.config.train, anchors)
        report = self.run_steps(step, order, steps, purpose=purpose)
        return Fitted(report, self.optimizer_state(optimizer, model, prefix))

    def resume_optimizer(self, model: ScenarioModel, saved: Tensors, prefix: str = "") -> LocalOptimizer:
        """Return the optimisers of a model, with the moments saved below a prefix if those are to be kept."""
        optimizer = make_optimizer(model, self.config.train)
        if self.config.train.optimizer_state == "keep":
            _load_optimizer(optimizer, model, saved, f"{prefix}{_OPTIMIZER}")
        return optimizer

    def optimizer_state(self, optimizer: LocalOptimizer, model: ScenarioModel, prefix: str = "") -> Tensors:
        """Return what is to be remembered of the moments, below a prefix; nothing if they start anew each round."""
        keep = self.config.train.optimizer_state == "keep"
        return _optimizer_state(optimizer, model, f"{prefix}{_OPTIMIZER}") if keep else {}

    def run_steps(
        self, step: LocalStep, order: Order, steps: int | None = None, *, purpose: str = "train"
    ) -> TrainReport:
        """Take so many steps on training rows; none given: what the configuration's epochs are.

        Raises
        ------
        UserError
            Training diverged.
        """
        try:
            return train_locally(
                step,
                self.train_rows,
                self.config.train,
                seed=derive_seed(self.config.seed, purpose, order.exchange, self.store.scenario),
                device=self.device,
                steps=steps,
            )
        except FloatingPointError as error:
            raise UserError(f"scenario {self.store.scenario}, round {order.round}: {error}") from None

    @cached_property
    def train_rows(self) -> Split:
        """The training rows that are used."""
        return training_rows(self.store, self.config)

    # Orders ---------------------------------------------------------------------------------------------------------

    def train(self, order: Order, incoming: Incoming) -> Reply:
        """Install what the order brings, measure it if asked to, train, and return the parts that it wants.

        Raises
        ------
        UserError
            What came does not fit this scenario's model, or training diverged.
        """
        if private := set(order.parts) & PRIVATE:  # before anything is done for such an order
            raise UserError(f"the server asks for {sorted(private)}, which never leaves scenario {self.store.scenario}")
        saved = self.state.load(order.exchange - 1)
        received = self._install(incoming, saved)
        average = self._average(order, saved)
        figures: dict[str, float] = {}
        if order.evaluate:
            figures |= self._measure_received(order, average)
        if order.stage is Stage.TOWERS:
            if not order.evaluate:
                self._refresh_statistics(self.model, order)
            fitted = self._fit_towers(order, saved)
        else:
            fitted = self.fit(order, incoming, saved)
        remembered = fitted.remembered | {f"{_AVERAGE}{name}": tensor for name, tensor in average.items()}
        self.state.save(order.exchange, self._kept(received) | remembered)
        return self._reply(order, figures, fitted.report)

    def validate(self, order: Order, incoming: Incoming) -> Reply:
        """Install what the order brings and measure it on validation rows; nothing is trained."""
        saved = self.state.load(order.exchange - 1)
        self._install(incoming, saved)
        return Reply(self._measure_received(order, self._average(order, saved)))

    def test(self, order: Order, incoming: Incoming) -> Reply:
        """Measure the selected round's model on test rows, and save it as this scenario's model.

        Parameters
        ----------
        order
            Names the selected round.
        incoming
            The consensus of that round, if it is to be measured too.

        Raises
        ------
        UserError
            No round is selected for this scenario, or its model is gone.
        """
        selected = order.selected.get(self.store.scenario, 0)
        tensors = self.state.load_evaluated(selected)
        self.predictor.load_state_dict(tensors)
        figures = self._test("test", grouped=True)
        truth = self.store.splits["test"].probabilities
        if truth is not None:
            best = measure(np.asarray(truth), self.store.splits["test"], self.store.tasks)
            figures |= flat_figures(best, "best.")
        if consensus := incoming.personal.get(self.store.scenario):
            own = self.predictor.state_dict()
            self.predictor.load_state_dict(own | {name: value for name, value in consensus.items() if name in own})
            self._refresh_statistics(self.predictor, order)
            figures |= self._test("consensus", grouped=True)
        self.state.save_model(tensors, self._describe_model(selected).to_json())
        return Reply(figures)

    # Steps of them --------------------------------------------------------------------------------------------------

    def _install(self, incoming: Incoming, saved: Tensors) -> set[str]:
        """Put local state and received parameters into the models; return the names of those received."""
        own = self._first_state() if not saved else self.model.state_dict()
        mine = incoming.personal.get(self.store.scenario, {})
        # A scenario may lack a task that others have; what is common names the towers of all tasks.
        common = {name: tensor for name, tensor in incoming.common.items() if name in own}
        received = common | mine
        check_tensors(
            received, {name: own[name] for name in received if name in own}, f"scenario {self.store.scenario}"
        )
        kept = {name: tensor for name, tensor in saved.items() if "/" not in name}
        self.model.load_state_dict(own | kept | received)
        self.recall(saved)
        return set(received)

    def _first_state(self) -> Tensors:
        """Return the model's state at the first exchange; later ones find every tensor either kept or received."""
        draw_parameters(self.model, self.config.seed)
        return self.model.state_dict() | self.base_rates()

    def _average(self, order: Order, saved: Tensors) -> Tensors:
        """Return the mean over rounds of what the scenario predicts with, what came included; empty if unused."""
        memory = self.config.train.averaging
        if not memory:
            return {}
        before = {
            name.removeprefix(_AVERAGE): value.to(self.device)
            for name, value in saved.items()
            if name.startswith(_AVERAGE)
        }
        if not order.evaluate:
            return before
        return exponential_mean(before, self.predictor.state_dict(), memory, order.round - 1)

    def _measure_received(self, order: Order, average: Tensors) -> dict[str, float]:
        """Measure what came on validation rows, or its average where there is one."""
        if not average:
            return self._measure_predictor(order)
        came = {name: value.clone() for name, value in self.predictor.state_dict().items()}
        self.predictor.load_state_dict(average)
        figures = self._measure_predictor(order)
        self.predictor.load_state_dict(came)
        return figures

    def _measure_predictor(self, order: Order) -> dict[str, float]:
        self._refresh_statistics(self.predictor, order)
        figures = self._validate()
        selected = order.selected.get(self.store.scenario, 0)
        self.state.save_evaluated(order.round - 1, self.predictor.state_dict(), selected)
        return figures

    def _kept(self, received: set[str]) -> Tensors:
        """What this scenario has to remember: all that will not come with the next message."""
        return {name: tensor for name, tensor in self.model.state_dict().items() if name not in received}

    def _consensus(self, incoming: Incoming) -> Tensors:
        """Consensus of the experts' and towers' federated parameters, as received with the round.

        Empty where the server sends none: a scenario without company, or a method without personal parameters.
        """
        if not self.config.train.consensus_weight or not incoming.consensus:
            return {}
        own = dict(self.model.named_parameters())
        regularized = set(names_of(self.slots, _EXPERT_OR_TOWER)) & own.keys()
        common = {name: tensor for name, tensor in incoming.common.items() if name in regularized}
        return common | {name: tensor for name, tensor in incoming.consensus.items() if name in regularized}

    def _refresh_statistics(self, model: ScenarioModel, order: Order) -> None:
        seed = derive_seed(self.config.seed, "statistics", order.round, self.store.scenario)
        refresh_statistics(model, self.train_rows, self.config.train, seed=seed, device=self.device)

    def _validate(self) -> dict[str, float]:
        split = self.store.splits["validation"]
        probabilities = predict(self.predictor, split, self.device)
        shares = expert_shares(self.predictor, split, self.device)
        return flat_figures(measure(probabilities, split, self.store.tasks), "validation.") | {
            f"gate.{task}.{expert}": float(share)
            for task, row in zip(self.store.tasks, shares, strict=False)
            for expert, share in enumerate(row)
        }

    def _test(self, prefix: str, *, grouped: bool) -> dict[str, float]:
        split = self.store.splits["test"]
        probabilities = predict(self.predictor, split, self.device)
        return flat_figures(measure(probabilities, split, self.store.tasks, grouped=grouped), f"{prefix}.")

    def _fit_towers(self, order: Order, saved: Tensors) -> Fitted:
        """Fit the towers, and nothing else, on the experts as they are."""
        with trained_only(self.model, names_of(self.slots, HEAD_PARTS)):
            optimizer = make_optimizer(self.model, self.config.train)
            step = GradientStep(self.model, optimizer, self.config.train)
            report = self.run_steps(step, order, self.config.aggregation.tower_steps)
        return Fitted(report, {name: value for name, value in saved.items() if name.startswith(_OPTIMIZER)})

    def _reply(self, order: Order, figures: dict[str, float], report: TrainReport) -> Reply:
        state = self.model.state_dict()
        wanted = names_of(self.slots, order.parts)
        tables = set(names_of(self.slots, [Part.FEDERATED_EMBEDDING]))
        figures |= {"examples": report.examples, "steps": report.steps, "seconds": report.seconds}
        figures |= {f"loss.{task}": float(loss) for task, loss in zip(self.store.tasks, report.losses, strict=True)}
        rows = {name: _touched(state[name], report) for name in wanted if name in tables}
        return Reply(figures, {name: state[name] for name in wanted if name not in tables}, rows)

    def _describe_model(self, selected: int) -> ModelDescription:
        return ModelDescription(
            scenario=self.store.scenario,
            dataset=self.store.dataset,
            method=self.config.method,
            seed=self.config.seed,
            selected_round=selected,
            spec=self.predictor.spec,
            settings=self.config.model,
        )


def model_spec(store: ScenarioStore) -> ModelSpec:
    """Return what a prepared store says about the model."""
    fields = tuple(FieldSpec(field.name, field.size, field.federated) for field in store.fields)
    return ModelSpec(fields, len(store.numeric), store.tasks)


def training_rows(store: ScenarioStore, config: RunConfig) -> Split:
    """Return the training rows of a scenario that a run uses."""
    seed = derive_seed(config.seed, "fraction", store.scenario)
    return store.splits["train"].fraction(config.data.train_fraction, seed)


def _touched(table: Tensor, report: TrainReport) -> RowUpdate:
    """Return the rows of a table that the training used; no other row of it leaves the scenario."""
    if report.row_counts is None:
        raise TypeError("an embedding table without counts of its rows")
    rows = report.row_counts.nonzero().flatten()
    return RowUpdate(rows, table.detach().cpu()[rows], report.row_counts[rows])


def _optimizer_state(optimizer: LocalOptimizer, model: ScenarioModel, prefix: str) -> Tensors:
    """The optimisers' moments and step counts, by name."""
    return {
        f"{prefix}{key}/{name}": value
        for name, parameter in model.named_parameters()
        for key, value in optimizer.moments_of(parameter).items()
    }


def _load_optimizer(optimizer: LocalOptimizer, model: ScenarioModel, saved: Tensors, prefix: str) -> None:
    parameters = dict(model.named_parameters())
    for key, value in saved.items():
        if key.startswith(prefix):
            kind, _, name = key.removeprefix(prefix).partition("/")
            parameter = parameters[name]
            # The count too: a fused step wants it there.
            optimizer.moments_of(parameter)[kind] = value.to(parameter.device)
