"""The federated parameters as the server holds them: their initial values and their mean over scenarios."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pfmsmtrec_flwr.aggregation.consensus import mixture_weights, weighted_mean
from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate, average_rows
from pfmsmtrec_flwr.aggregation.personal_tables import PersonalTable
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.held_tensors import HeldTensors
from pfmsmtrec_flwr.federation.protocol import Tensors
from pfmsmtrec_flwr.federation.sharing import Sharing, names_of
from pfmsmtrec_flwr.model import (
    ModelSpec,
    Part,
    ScenarioModel,
    Slot,
    build_model,
    output_biases,
    partition,
    parts_by_task,
)
from pfmsmtrec_flwr.training.description import Description


@dataclass(slots=True)
class Parameters:
    """Federated parameters.

    Attributes
    ----------
    common
        Parameters that are the same for all scenarios, by name.
    personal
        Parameters of each scenario, by scenario and name. Federated tables among them are made when asked for.
    slots
        Part of the model that each tensor belongs to, by scenario and name.
    experts
        Number of experts of which the gates report shares, by scenario; 0: the model has no gates.
    tables
        Federated tables that are each scenario's own, by name, in which what scenarios have in common is held once.
    """

    common: Tensors = field(default_factory=dict)
    personal: Mapping[str, MutableMapping[str, Tensor]] = field(default_factory=dict)
    slots: dict[str, dict[str, Slot]] = field(default_factory=dict)
    experts: dict[str, int] = field(default_factory=dict)
    tables: dict[str, PersonalTable] = field(default_factory=dict)

    def of(self, scenario: str) -> Mapping[str, Tensor]:
        """Return all parameters that a scenario receives, as they are now."""
        own = self.personal.get(scenario, {})
        return own.with_common(self.common) if isinstance(own, HeldTensors) else {**self.common, **own}

    def average_own_tables(self, name: str, updates: Mapping[str, RowUpdate], weights: Tensor) -> None:
        """Average each scenario's own table of a name row by row, by weights of its own.

        Parameters
        ----------
        name
            Name of the table.
        updates
            Rows that each scenario touched.
        weights
            Weight of one use of a row in each scenario, for the table of each scenario (K, K).
        """
        if self._are_held(name, updates):
            self.tables[name] = self.tables[name].averaged(updates, weights)
            return
        for scenario, own in zip(updates, weights, strict=True):
            held = self.personal[scenario]
            held[name] = average_rows(held[name], list(updates.values()), own)

    def personal_mean(self, examples: Mapping[str, int]) -> Tensors:
        """Return the mean of the personal parameters over the scenarios that have them.

        Parameters
        ----------
        examples
            Training rows of each scenario, which weight the mean.
        """
        means = {}
        for key in dict.fromkeys(key for tensors in self.personal.values() for key in tensors):
            owners = [name for name in examples if key in self.personal[name]]
            weights = mixture_weights([examples[name] for name in owners])
            if self._are_held(key, owners):
                means[key] = self.tables[key].mean(owners, weights)
            else:
                means[key] = weighted_mean(torch.stack([self.personal[name][key] for name in owners]), weights)
        return means

    def state_dict(self) -> dict[str, Any]:
        """Return the common and the personal parameters, for a checkpoint."""
        personal = {
            name: own.state_dict() if isinstance(own, HeldTensors) else own for name, own in self.personal.items()
        }
        tables = {name: table.state_dict() for name, table in self.tables.items()}
        return {"common": self.common, "personal": personal, "tables": tables}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned, or from a state that has each scenario's tables whole."""
        held = {name: PersonalTable.from_state(own) for name, own in state.get("tables", {}).items()}
        personal = {scenario: dict(own) for scenario, own in state["personal"].items()}
        for name in self.tables.keys() - held.keys():
            held[name] = PersonalTable.of((scenario, own[name]) for scenario, own in personal.items() if name in own)
            for own in personal.values():
                own |= {name: None} if name in own else {}
        self.tables.clear()
        self.tables |= held
        self.common = state["common"]
        self.personal = {scenario: HeldTensors(scenario, own, self.tables) for scenario, own in personal.items()}

    def _are_held(self, name: str, scenarios: Iterable[str]) -> bool:
        """Return whether tables of a name are held together for all of some scenarios."""
        own = [self.personal[scenario] for scenario in scenarios]
        return name in self.tables and all(
            isinstance(each, HeldTensors) and each.table(name) is not None for each in own
        )


def initial_parameters(config: RunConfig, sharing: Sharing, scenarios: Mapping[str, Description]) -> Parameters:
    """Draw the initial parameters of the scenarios; tensors of the same name start with the same values.

    Output biases start at the base rates: a scenario's own, or those over all scenarios where they are common.

    Raises
    ------
    UserError
        Scenarios have different tasks, and a shared part has an axis of tasks.
    """
    described = list(scenarios.values())
    _check_tasks(config, sharing, described)
    parameters = Parameters()
    drawn: dict[ModelSpec, tuple[dict[str, Slot], Tensors, int]] = {}
    first: Tensors = {}  # what starts alike in models of several kinds is held once
    personal: dict[str, MutableMapping[str, Tensor]] = {}
    tables: dict[str, dict[str, Tensor]] = {}
    for name, description in scenarios.items():
        spec = description.spec()
        if spec not in drawn:
            model = build_model(spec, config.model, config.seed)
            tensors = {
                key: first[key] if key in first and torch.equal(first[key], value) else value.clone()
                for key, value in model.state_dict().items()
            }
            first = tensors | first
            drawn[spec] = partition(model), tensors, _experts(model)
        slots, state, parameters.experts[name] = drawn[spec]
        own = state | _base_rates(config, slots, [description])
        parameters.slots[name] = slots
        parameters.common |= {key: state[key] for key in names_of(slots, sharing.common)}
        held = names_of(slots, sharing.personal & {Part.FEDERATED_EMBEDDING})
        for key in held:
            tables.setdefault(key, {})[name] = own[key]
        tensors = {key: None if key in held else own[key].clone() for key in names_of(slots, sharing.personal)}
        personal[name] = HeldTensors(name, tensors, parameters.tables)
    parameters.personal = personal
    parameters.tables |= {key: PersonalTable.of(each.items()) for key, each in tables.items()}
    for slots in parameters.slots.values():
        rates = _base_rates(config, slots, described)
        parameters.common |= {key: value for key, value in rates.items() if key in parameters.common}
    return parameters


@torch.no_grad()
def _experts(model: ScenarioModel) -> int:
    """Return the number of experts of which the gates of a model give shares; 0 without gates."""
    model.eval()
    columns = sum(field.most for field in model.spec.fields)
    row = torch.zeros(1, columns, dtype=torch.int32), torch.zeros(1, model.spec.numeric)
    shares = model.expert_shares(*row)  # (1, T, E)
    return 0 if shares is None else shares.shape[-1]


def _check_tasks(config: RunConfig, sharing: Sharing, described: Sequence[Description]) -> None:
    """Refuse scenarios of different tasks where a shared part has an axis of tasks, which must mean the same."""
    shared = sharing.parts & parts_by_task(config.model)
    for other in described[1:] if shared else ():
        if other.tasks != described[0].tasks:
            architecture = config.model.architecture
            instead = "pf-msmtrec.template=none" if architecture == "mmoe" else "model.architecture=shared-bottom"
            raise UserError(
                f"{config.method} shares what a model of architecture {architecture} keeps per task "
                f"({', '.join(sorted(shared))}), but {described[0].scenario} has the tasks "
                f"{', '.join(described[0].tasks)} and {other.scenario} has {', '.join(other.tasks)}: "
                f"set {instead}, or leave one of them out"
            )


def _base_rates(config: RunConfig, slots: Mapping[str, Slot], described: Sequence[Description]) -> Tensors:
    """Return the initial output biases of a model: the base rates over the described scenarios."""
    return output_biases(config.model.architecture, slots.values(), *_label_counts(described))


def _label_counts(described: Sequence[Description]) -> tuple[list[str], list[int], list[int]]:
    """Return all tasks, and the positives and labelled training rows of each, summed over its scenarios."""
    counts: dict[str, tuple[int, int]] = {}
    for description in described:
        labelled = description.used_labelled or [description.used_rows] * len(description.tasks)
        for task, positives, there in zip(description.tasks, description.used_positives, labelled, strict=True):
            before, rows = counts.get(task, (0, 0))
            counts[task] = before + positives, rows + there
    return list(counts), [positives for positives, _ in counts.values()], [rows for _, rows in counts.values()]
