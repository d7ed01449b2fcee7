"""A scenario's share of a model of pooled rows: its tables of local fields have the scenario's own rows alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from pfmsmtrec_flwr.central.pool import Pool
from pfmsmtrec_flwr.data.arrays import Array
from pfmsmtrec_flwr.model import ModelSpec, Part, ScenarioModel, partition
from pfmsmtrec_flwr.training.records import CentralModel


def scenario_share(pool: Pool, scenario: str, model: ScenarioModel, state: Mapping[str, Tensor]) -> CentralModel:
    """Return what scores a scenario's rows, whose values are those of its own vocabularies.

    Parameters
    ----------
    pool
        Pooled rows.
    scenario
        Name of the scenario.
    model
        Model of the pooled rows.
    state
        State of this model in the round of the scenario.
    """
    own = pool.table_rows[scenario]
    chosen, start = [], 0
    for field, rows in zip(pool.spec.fields, own, strict=True):
        if not field.federated:  # the tables of the local fields lie behind each other in one
            chosen.append(torch.from_numpy(rows) + start)
            start += field.rows
    local = torch.cat(chosen)
    tensors = {
        name: state[name].cpu()[local] if slot.part is Part.LOCAL_EMBEDDING else state[name].cpu()
        for name, slot in partition(model).items()
    }
    number = list(pool.table_rows).index(scenario) + 1
    return CentralModel(share_spec(pool.spec, own), tensors, number)


def share_spec(spec: ModelSpec, table_rows: Sequence[Array]) -> ModelSpec:
    """Return the specification of a scenario's share of a model of pooled rows.

    Parameters
    ----------
    spec
        Specification of the model of pooled rows.
    table_rows
        For each field, the rows of the pool's table that stand for the scenario's own values.
    """
    fields = tuple(replace(field, rows=len(rows)) for field, rows in zip(spec.fields, table_rows, strict=True))
    return replace(spec, fields=fields)
