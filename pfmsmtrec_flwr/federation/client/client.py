"""One scenario's side of the federation: it answers the server's orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.federation.client.feedback import ROUNDING, known_copies, rounded_reply
from pfmsmtrec_flwr.federation.client.installing import install
from pfmsmtrec_flwr.federation.client.measurements import Measurements
from pfmsmtrec_flwr.federation.client.memory import ClientMemory
from pfmsmtrec_flwr.federation.client.replies import refuse_parts, update_reply
from pfmsmtrec_flwr.federation.client.starting import restore_statistics, starting_state
from pfmsmtrec_flwr.federation.client.state import LocalState
from pfmsmtrec_flwr.federation.client.tables import copies_after, with_whole_tables
from pfmsmtrec_flwr.federation.client.trainer import Fitted, LocalTrainer
from pfmsmtrec_flwr.federation.gpu_share import bound_gpu_memory
from pfmsmtrec_flwr.federation.protocol import Incoming, Order, Reply, Stage, Tensors
from pfmsmtrec_flwr.federation.sharing import names_of
from pfmsmtrec_flwr.model import (
    HEAD_PARTS,
    ScenarioModel,
    draw_parameters,
    make_model,
    output_biases,
    partition,
)
from pfmsmtrec_flwr.scoring.folder_content import complete_folder
from pfmsmtrec_flwr.training.description import model_spec, training_rows
from pfmsmtrec_flwr.training.devices import compute_repeatably, resolve_device
from pfmsmtrec_flwr.training.local import Anchor, trained_only
from pfmsmtrec_flwr.training.process import prepare_process

TOWER_STEPS = 10
"""Number of batches on which the towers are fitted in the second exchange of a bottom-up round."""


class ScenarioClient:
    """A scenario that takes part in one method of one run.

    A method whose scenarios do more than train what they received has a subclass, which overrides `anchors`, `fit`,
    or `predictor` and `restore_predictor`.

    Parameters
    ----------
    store
        Rows of the scenario.
    config
        Configuration of the run.
    state
        Files of the scenario.

    Attributes
    ----------
    model
        Model whose parts travel.
    slots
        Part of the model to which each of its tensors belongs.
    train_rows
        Training rows that the run uses.
    trainer
        Local training on these rows.
    measurements
        Measuring on the scenario's rows.
    """

    def __init__(self, store: ScenarioStore, config: RunConfig, state: LocalState) -> None:
        self.store = store
        self.config = config
        self.state = state
        prepare_process(config.train.threads)
        self.device = resolve_device(config.train.device)
        compute_repeatably(self.device)
        bound_gpu_memory(self.device)
        self.model = self.make_model()
        self.slots = partition(self.model)
        self.train_rows = training_rows(store, config)
        self.trainer = LocalTrainer(store.scenario, self.train_rows, config, self.device)
        self.measurements = Measurements(store, self.train_rows, config, self.device)

    # A method may override these ------------------------------------------------------------------------------------

    @property
    def predictor(self) -> ScenarioModel:
        """The model that is measured, and that is saved as the scenario's model in the end."""
        return self.model

    def restore_predictor(self, memory: ClientMemory) -> None:
        """Restore what `predictor` needs beside the received model."""

    def anchors(self, incoming: Incoming) -> Sequence[Anchor]:  # noqa: ARG002
        """Return what `model` is pulled to in training."""
        return []

    def fit(self, order: Order, incoming: Incoming, memory: ClientMemory) -> Fitted:
        """Train `model` in place for one exchange.

        Parameters
        ----------
        order
            Order of the server.
        incoming
            Received parameters.
        memory
            Memory that the last exchange left.
        """
        return self.trainer.fit(self.model, order, self.anchors(incoming), memory)

    # A method may use these -----------------------------------------------------------------------------------------

    def make_model(self) -> ScenarioModel:
        """Return a model for this scenario; its parameters are not drawn yet."""
        return make_model(model_spec(self.store), self.config.model).to(self.device)

    def received(self, incoming: Incoming) -> Tensors:
        """Return the received values of the model's parameters, without buffers."""
        came = incoming.common | incoming.personal.get(self.store.scenario, {})
        return {name: came[name] for name, _ in self.model.named_parameters() if name in came}

    def base_rates(self) -> Tensors:
        """Return the initial output biases where they stay in the scenario: the logits of its own base rates."""
        rows, tasks = self.train_rows, self.store.tasks
        counts = rows.positives(), rows.labelled()
        return output_biases(self.config.model.architecture, self.slots.values(), tasks, *counts)

    @cached_property
    def start(self) -> Tensors:
        """State of the scenario's model of an earlier run, on the values of its store; empty if it starts anew."""
        return starting_state(self)

    def restore(self, model: ScenarioModel, memory: ClientMemory, scope: str) -> None:
        """Restore a second model from a scope of the memory.

        Tensors that the scope lacks are copied from `model`, the travelling model. At the first exchange, those of an
        earlier model precede them; without one, output biases are the logits of the scenario's own base rates.
        """
        state = self.model.state_dict() | ((self.start or self.base_rates()) if memory.is_empty else {})
        model.load_state_dict(state | memory.scope(scope).model)

    # Orders ---------------------------------------------------------------------------------------------------------

    def train(self, order: Order, incoming: Incoming) -> Reply:
        """Install what the order brings, measure it if asked to, train, and return the parts that the order names.

        Raises
        ------
        UserError
            Received parameters do not fit this scenario's model, changed rows belong to other tables than it holds, or
            training diverged.
        """
        refuse_parts(self, order)  # before anything is done for such an order
        memory = self.state.load(order.exchange - 1, order.counted.get(self.store.scenario, 0))
        incoming = self._whole(order, incoming, memory)
        received = self._install(incoming, memory)
        average = self.measurements.average(self.predictor, order, memory)
        measured = self._measure(order, average) if order.evaluate else {}
        if order.stage is Stage.TOWERS:
            if not order.evaluate:
                self.measurements.refresh_statistics(self.model, order)
            fitted = self._fit_towers(order, memory)
        else:
            fitted = self.fit(order, incoming, memory)
        trained = update_reply(self, order, incoming, fitted.report, measured)
        sent = rounded_reply(self, order, incoming, trained, memory)
        # The next message brings the received names again; of tables, the rows in which the copies differ.
        kept = {name: tensor for name, tensor in self.model.state_dict().items() if name not in received}
        tables = copies_after(incoming, sent.rows, memory.tables, self.slots, self.store.scenario)
        after = replace(fitted.memory, model=kept, average=average, tables=tables)
        self.state.save(order.exchange, after.with_scope(ROUNDING, sent.memory))
        return sent.reply

    def validate(self, order: Order, incoming: Incoming) -> Reply:
        """Install what the order brings and measure it on validation rows; nothing is trained."""
        memory = self.state.load(order.exchange - 1, order.counted.get(self.store.scenario, 0))
        self._install(self._whole(order, incoming, memory), memory)
        return Reply(self._measure(order, self.measurements.average(self.predictor, order, memory)))

    def test(self, order: Order, incoming: Incoming) -> Reply:
        """Measure the selected round's model on test rows, and save it and its predictions; no row is sent.

        Parameters
        ----------
        order
            Order that names the selected round, and the parts that have travelled.
        incoming
            Consensus of that round, if it is to be measured too.

        Raises
        ------
        UserError
            No round is selected for this scenario, or its model is gone.
        """
        selected = order.selected.get(self.store.scenario, 0)
        tensors = self.state.load_evaluated(selected)
        self.predictor.load_state_dict(tensors)
        predictions = self.measurements.predict_test(self.predictor)
        self.state.save_predictions(predictions.probabilities)
        finished = self.measurements.finished(self.predictor, predictions, selected, order)
        figures = _below("test", finished.figures) | self.measurements.best_attainable()
        if consensus := incoming.personal.get(self.store.scenario):
            state = self.predictor.state_dict()
            self.predictor.load_state_dict(state | {name: value for name, value in consensus.items() if name in state})
            self.measurements.refresh_statistics(self.predictor, order)
            figures |= _below("consensus", self.measurements.consensus(self.predictor))
        self.state.save_model(tensors, lambda folder: complete_folder(finished, self.store, self.config, folder))
        return Reply(figures, draws=dict(finished.draws))

    # Steps of an order ----------------------------------------------------------------------------------------------

    def _whole(self, order: Order, incoming: Incoming, memory: ClientMemory) -> Incoming:
        """Return what came in full precision, with whole tables in place of changed rows."""
        return with_whole_tables(incoming, known_copies(self, order, memory), self.slots, self.store.scenario)

    def _install(self, incoming: Incoming, memory: ClientMemory) -> set[str]:
        """Install received and remembered parameters, and return the names of the received ones."""
        first: Tensors = {}
        if memory.is_empty:
            draw_parameters(self.model, self.config.seed)
            first = self.start or self.base_rates()
        received = install(self.model, first, memory.model, incoming, self.store.scenario)
        self.restore_predictor(memory)
        return received

    def _measure(self, order: Order, average: Tensors) -> dict[str, float]:
        """Measure and save the model that predicts, or its mean over the rounds where there is one."""
        model = self.predictor
        present = {name: value.clone() for name, value in model.state_dict().items()} if average else {}
        if average:
            model.load_state_dict(average)
        if not restore_statistics(self, model, order):
            self.measurements.refresh_statistics(model, order)
        figures = self.measurements.validation(model)
        selected = order.selected.get(self.store.scenario, 0)
        self.state.save_evaluated(order.round - 1, model.state_dict(), selected)
        if average:
            model.load_state_dict(present)
        return figures

    def _fit_towers(self, order: Order, memory: ClientMemory) -> Fitted:
        """Train the towers alone, with an optimiser of their own; the remembered moments stay as they are."""
        with trained_only(self.model, names_of(self.slots, HEAD_PARTS)):
            fitted = self.trainer.fit(self.model, order, (), ClientMemory(), steps=TOWER_STEPS)
        return Fitted(fitted.report, ClientMemory(optimizer=memory.optimizer))


def _below(prefix: str, figures: Mapping[str, float]) -> dict[str, float]:
    return {f"{prefix}.{name}": value for name, value in figures.items()}
