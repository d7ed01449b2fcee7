"""One scenario's side of the federation: it answers the server's orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import ClassVar

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.federation.client.feedback import ROUNDING, rounded_reply
from pfmsmtrec_flwr.federation.client.installing import install
from pfmsmtrec_flwr.federation.client.measurements import Measurements
from pfmsmtrec_flwr.federation.client.memory import ClientMemory
from pfmsmtrec_flwr.federation.client.receiving import receive, remembered, with_used_rows
from pfmsmtrec_flwr.federation.client.replies import refuse_parts, update_reply
from pfmsmtrec_flwr.federation.client.starting import restore_statistics, starting_state
from pfmsmtrec_flwr.federation.client.state import LocalState
from pfmsmtrec_flwr.federation.client.table_copies import TableCopy
from pfmsmtrec_flwr.federation.client.tables import Received, copies_after
from pfmsmtrec_flwr.federation.client.trainer import Fitted, LocalTrainer
from pfmsmtrec_flwr.federation.client.used_rows import TABLE, UsedRows, few_rows_serve
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

HOOKS = {"anchors", "fit", "make_model", "predictor", "restore_predictor", "train", "validate", "test"}
"""Names of which an override may train or measure other rows of a table than those in use."""
TOWER_STEPS = 10
"""Number of batches on which the towers are fitted in the second exchange of a bottom-up round."""


class ScenarioClient:
    """A scenario that takes part in one method of one run.

    A method whose scenarios do more than train what they received has a subclass, which overrides `anchors`, `fit`,
    or `predictor` and `restore_predictor`. Its model holds all rows of its table, unless the subclass says that it
    moves those in use alone.

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
    used
        Rows of the federated table that the model holds: all, unless the scenario uses few of them.
    store
        Rows of the scenario, with the values of federated fields numbered as the rows that the model holds.
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

    moves_used_rows_alone: ClassVar[bool] = True
    """Whether no row of the federated table but those in use moves in training, and the model is measured as it came.
    A class that overrides one of `HOOKS` says so anew."""

    def __init__(self, store: ScenarioStore, config: RunConfig, state: LocalState) -> None:
        self.config = config
        self.state = state
        self.used = UsedRows.of(store) if self._few_rows_serve(store) else UsedRows.all_of(store)
        self.store = self.used.store
        prepare_process(config.train.threads)
        self.device = resolve_device(config.train.device)
        compute_repeatably(self.device)
        bound_gpu_memory(self.device)
        self.model = self.make_model()
        self.slots = partition(self.model)
        self.train_rows = training_rows(self.store, config)
        self.trainer = LocalTrainer(self.store.scenario, self.train_rows, config, self.device)
        self.measurements = Measurements(self.store, self.train_rows, config, self.device)

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

    def _few_rows_serve(self, store: ScenarioStore) -> bool:
        """Return whether the model can hold the rows in use alone; see `moves_used_rows_alone`."""
        classes = (own for own in type(self).__mro__ if HOOKS & vars(own).keys())
        alone = all(vars(own).get("moves_used_rows_alone", False) for own in classes)
        return alone and self.state.start is None and few_rows_serve(store, self.config)

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
        memory = remembered(self, order)
        came = receive(self, order, incoming, memory)
        installed = self._install(came, memory)
        average = self.measurements.average(self.predictor, order, memory)
        measured = self._measure(order, average, came.copies) if order.evaluate else {}
        if order.stage is Stage.TOWERS:
            if not order.evaluate:
                self.measurements.refresh_statistics(self.model, order)
            fitted = self._fit_towers(order, memory)
        else:
            fitted = self.fit(order, came.incoming, memory)
        trained = update_reply(self, order, came.incoming, fitted.report, measured)
        sent = rounded_reply(self, order, came.incoming, trained, memory)
        # The next message brings the received names again; of tables, the rows in which the copies differ.
        kept = {name: tensor for name, tensor in self.model.state_dict().items() if name not in installed}
        after = replace(fitted.memory, model=kept, average=average, tables=copies_after(came.copies, sent.rows))
        self.state.save(order.exchange, with_used_rows(after.with_scope(ROUNDING, sent.memory), self.used))
        return sent.reply

    def validate(self, order: Order, incoming: Incoming) -> Reply:
        """Install what the order brings and measure it on validation rows; nothing is trained."""
        memory = remembered(self, order)
        came = receive(self, order, incoming, memory)
        self._install(came, memory)
        return Reply(self._measure(order, self.measurements.average(self.predictor, order, memory), came.copies))

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
        self.predictor.load_state_dict(self.used.parts(tensors))
        predictions = self.measurements.predict_test(self.predictor)
        self.state.save_predictions(predictions.probabilities)
        finished = self.measurements.finished(self.predictor, predictions, selected, order)
        figures = _below("test", finished.figures) | self.measurements.best_attainable()
        if consensus := self.used.parts(incoming.personal.get(self.store.scenario, {})):
            state = self.predictor.state_dict()
            self.predictor.load_state_dict(state | {name: value for name, value in consensus.items() if name in state})
            self.measurements.refresh_statistics(self.predictor, order)
            figures |= _below("consensus", self.measurements.consensus(self.predictor))
        if self.used.rows is not None:
            finished = replace(finished, spec=model_spec(self.used.whole))
        self.state.save_model(tensors, lambda folder: complete_folder(finished, self.used.whole, self.config, folder))
        return Reply(figures, draws=dict(finished.draws))

    # Steps of an order ----------------------------------------------------------------------------------------------

    def _install(self, came: Received, memory: ClientMemory) -> set[str]:
        """Install received and remembered parameters, and return the names of the received ones."""
        first: Tensors = {}
        if memory.is_empty:
            draw_parameters(self.model, self.config.seed)
            first = (self.start or self.base_rates()) | came.drawn
        received = install(self.model, first, memory.model, came.incoming, self.store.scenario)
        self.restore_predictor(memory)
        return received

    def _measure(self, order: Order, average: Tensors, copies: Mapping[str, TableCopy]) -> dict[str, float]:
        """Measure and save the model that predicts, or its mean over the rounds where there is one."""
        model = self.predictor
        present = {name: value.clone() for name, value in model.state_dict().items()} if average else {}
        if average:
            model.load_state_dict(average)
        if not restore_statistics(self, model, order):
            self.measurements.refresh_statistics(model, order)
        figures = self.measurements.validation(model)
        selected, state, tables = order.selected.get(self.store.scenario, 0), model.state_dict(), {}
        if self.used.rows is not None:
            tables = {TABLE: copies[TABLE].with_rows(self.used.rows, state.pop(TABLE).cpu())}
        self.state.save_evaluated(order.round - 1, state, selected, tables)
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
