"""One scenario's side of the federation: install what comes, measure it, train, answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.data.batches import batches
from pfmsmtrec_flwr.data.store import ScenarioStore
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.protocol import Incoming, Order, Reply, Stage, Tensors, check_tensors
from pfmsmtrec_flwr.federation.saved_model import ModelDescription
from pfmsmtrec_flwr.federation.sharing import PRIVATE, names_of
from pfmsmtrec_flwr.federation.state import LocalState
from pfmsmtrec_flwr.model import FieldSpec, MMoE, ModelSpec, Part, draw_parameters, partition
from pfmsmtrec_flwr.seeds import derive_seed
from pfmsmtrec_flwr.training.batchnorm import reestimate_statistics
from pfmsmtrec_flwr.training.devices import resolve_device
from pfmsmtrec_flwr.training.evaluation import measure, predict
from pfmsmtrec_flwr.training.local import TrainReport, make_optimizer, train_locally
from pfmsmtrec_flwr.training.metrics import TaskMetrics

_OPTIMIZER = "optimizer/"
_EXPERT_OR_TOWER = (Part.EXPERT_GLOBAL, Part.EXPERT_TASK, Part.EXPERT_SCENARIO, Part.TOWER)


class ScenarioClient:
    """A scenario taking part in one method of one run.

    Parameters
    ----------
    store
        The scenario's rows.
    config
        The run's configuration.
    state
        The scenario's files.
    """

    def __init__(self, store: ScenarioStore, config: RunConfig, state: LocalState) -> None:
        self.store = store
        self.config = config
        self.state = state
        torch.set_num_threads(config.train.threads)
        self.device = resolve_device(config.train.device)
        self.model = MMoE(model_spec(store), config.model).to(self.device)
        self.slots = partition(self.model)

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
        figures: dict[str, float] = {}
        if order.evaluate:
            self._refresh_statistics(order)
            figures |= self._validate()
            selected = order.selected.get(self.store.scenario, 0)
            self.state.save_evaluated(order.round - 1, self.model.state_dict(), selected)
        elif order.stage is Stage.TOWERS:
            self._refresh_statistics(order)
        if order.stage is Stage.TOWERS:
            report = self._fit_towers(order)
            optimizer_state = {name: value for name, value in saved.items() if name.startswith(_OPTIMIZER)}
        else:
            keep = self.config.train.optimizer_state == "keep"
            optimizer = make_optimizer(self.model, self.config.train)
            if keep:
                _load_optimizer(optimizer, self.model, saved)
            report = self._train(order, optimizer, self._consensus(incoming))
            optimizer_state = _optimizer_state(optimizer, self.model) if keep else {}
        self.state.save(order.exchange, self._kept(received) | optimizer_state)
        return self._reply(order, figures, report)

    def validate(self, order: Order, incoming: Incoming) -> Reply:
        """Install what the order brings and measure it on validation rows; nothing is trained."""
        self._install(incoming, self.state.load(order.exchange - 1))
        self._refresh_statistics(order)
        figures = self._validate()
        selected = order.selected.get(self.store.scenario, 0)
        self.state.save_evaluated(order.round - 1, self.model.state_dict(), selected)
        return Reply(figures)

    def test(self, order: Order) -> Reply:
        """Measure the selected round's model on test rows, and save it as this scenario's model.

        Raises
        ------
        UserError
            No round is selected for this scenario, or its model is gone.
        """
        selected = order.selected.get(self.store.scenario, 0)
        tensors = self.state.load_evaluated(selected)
        self.model.load_state_dict(tensors)
        probabilities = predict(self.model, self.store.splits["test"], self.device)
        tasks = self.store.tasks
        measured = measure(probabilities, self.store.splits["test"], tasks, grouped=True)
        figures = _figures("test", measured)
        truth = self.store.splits["test"].probabilities
        if truth is not None:
            figures |= _figures("best", measure(np.asarray(truth), self.store.splits["test"], tasks))
        self.state.save_model(tensors, self._describe_model(selected).to_json())
        return Reply(figures)

    def _install(self, incoming: Incoming, saved: Mapping[str, Tensor]) -> set[str]:
        """Put local state and received parameters into the model; return the names of those received."""
        if not saved:  # the first exchange; later ones find every tensor either kept or received
            draw_parameters(self.model, self.config.seed)
        own = self.model.state_dict()
        mine = incoming.personal.get(self.store.scenario, {})
        # A scenario may lack a task that others have; what is common names the towers of all tasks.
        common = {name: tensor for name, tensor in incoming.common.items() if name in own}
        received = common | mine
        check_tensors(
            received, {name: own[name] for name in received if name in own}, f"scenario {self.store.scenario}"
        )
        kept = {name: tensor for name, tensor in saved.items() if not name.startswith(_OPTIMIZER)}
        self.model.load_state_dict(own | kept | received)
        return set(received)

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

    def _refresh_statistics(self, order: Order) -> None:
        settings = self.config.train
        if not settings.reestimate_batch_norm:
            return
        train = self.store.splits["train"]
        generator = np.random.default_rng(derive_seed(self.config.seed, "statistics", order.round, self.store.scenario))
        count = max(1, min(len(train), settings.reestimate_rows) // settings.batch_size)
        sample = batches(train, settings.batch_size, generator=generator, device=self.device)
        reestimate_statistics(self.model, islice(sample, count))

    def _validate(self) -> dict[str, float]:
        split = self.store.splits["validation"]
        probabilities = predict(self.model, split, self.device)
        return _figures("validation", measure(probabilities, split, self.store.tasks))

    def _train(self, order: Order, optimizer: torch.optim.Optimizer, consensus: Tensors) -> TrainReport:
        steps = self.config.aggregation.tower_steps if order.stage is Stage.TOWERS else None
        try:
            return train_locally(
                self.model,
                optimizer,
                self.store.splits["train"],
                self.config.train,
                seed=derive_seed(self.config.seed, "train", order.exchange, self.store.scenario),
                device=self.device,
                consensus=consensus,
                steps=steps,
            )
        except FloatingPointError as error:
            raise UserError(f"scenario {self.store.scenario}, round {order.round}: {error}") from None

    def _fit_towers(self, order: Order) -> TrainReport:
        """Fit the towers, and nothing else, on the experts as they are."""
        towers = set(self.model.towers.parameters())
        for parameter in self.model.parameters():
            parameter.requires_grad_(parameter in towers)
        return self._train(order, make_optimizer(self.model, self.config.train), {})

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
            spec=self.model.spec,
            settings=self.config.model,
        )


def model_spec(store: ScenarioStore) -> ModelSpec:
    """Return what a prepared store says about the model."""
    fields = tuple(FieldSpec(field.name, field.size, field.federated) for field in store.fields)
    return ModelSpec(fields, len(store.numeric), store.tasks)


def _touched(table: Tensor, report: TrainReport) -> RowUpdate:
    """Return the rows of a table that the training used; no other row of it leaves the scenario."""
    if report.row_counts is None:
        raise TypeError("an embedding table without counts of its rows")
    rows = report.row_counts.nonzero().flatten()
    return RowUpdate(rows, table.detach().cpu()[rows], report.row_counts[rows])


def _figures(prefix: str, measured: Mapping[str, TaskMetrics]) -> dict[str, float]:
    """Flat figures ``prefix.metric.task``; those that are not defined are left out."""
    return {
        f"{prefix}.{metric}.{task}": float(value)
        for task, metrics in measured.items()
        for metric, value in asdict(metrics).items()
        if value is not None
    }


def _optimizer_state(optimizer: torch.optim.Optimizer, model: MMoE) -> Tensors:
    """Adam's moments and step counts, by name."""
    return {
        f"{_OPTIMIZER}{key}/{name}": value
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state[parameter].items()
        if isinstance(value, Tensor)
    }


def _load_optimizer(optimizer: torch.optim.Optimizer, model: MMoE, saved: Mapping[str, Tensor]) -> None:
    parameters = dict(model.named_parameters())
    for key, value in saved.items():
        if key.startswith(_OPTIMIZER):
            kind, _, name = key.removeprefix(_OPTIMIZER).partition("/")
            parameter = parameters[name]
            optimizer.state[parameter][kind] = value.to(
                parameter.device
            )  # the count too: the fused step wants it there
