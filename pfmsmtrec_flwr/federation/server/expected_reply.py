"""Reply that a scenario owes to an order: what the server asked for, within what the scenario registered."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from pfmsmtrec_flwr.config import Precision
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.array_forms import ArrayForm
from pfmsmtrec_flwr.federation.client.starting import STARTS
from pfmsmtrec_flwr.federation.held_tensors import form_of_tensor
from pfmsmtrec_flwr.federation.protocol import START, TEST, TRAIN, VALIDATE, Order
from pfmsmtrec_flwr.federation.rounding import has_scales
from pfmsmtrec_flwr.federation.server.figure_ranges import (
    FigureRanges,
    final_ranges,
    start_ranges,
    training_ranges,
    validation_ranges,
)
from pfmsmtrec_flwr.federation.sharing import names_of
from pfmsmtrec_flwr.model import Part
from pfmsmtrec_flwr.training.description import Description

if TYPE_CHECKING:
    from pfmsmtrec_flwr.federation.server.strategy import ScenarioStrategy

_FLOAT16 = np.dtype(np.float16)


@dataclass(frozen=True, slots=True)
class Asked:
    """Order of an exchange, as the server remembers it.

    Attributes
    ----------
    kind
        Message type.
    order
        Order.
    only
        Scenarios that were asked; None: all.
    consensus
        Scenarios that were sent a consensus to measure.
    """

    kind: str
    order: Order
    only: Collection[str] | None = None
    consensus: Collection[str] = ()

    @property
    def measured_round(self) -> int:
        """Round that the exchange is about: an order to validate alone names the one that would follow."""
        return self.order.round - (self.kind == VALIDATE)


@dataclass(frozen=True, slots=True)
class ExpectedReply:
    """Everything that a reply must hold.

    Attributes
    ----------
    scenario
        Name of the scenario.
    order
        Order that the reply must name.
    figures
        Ranges of its figures.
    parameters
        Forms of its parameters by name.
    tables
        Forms of the whole tables (R, d) of which it has touched rows, by name.
    uses
        Largest number of uses of rows of a table by one training row.
    every_row
        Whether all rows of a table may come, each as used once, which hides the touched ones where noise is added.
    draws
        Number of draws of test users by task.
    arrays_if
        Figure that says, by 1 or 0, whether parameters are there; empty: they are.
    changes
        Names of the parameters of which the change comes, in low precision.
    scales
        Forms of the scales of parameters in 8 bits, by name.
    precision
        Precision of the rows of tables.
    """

    scenario: str
    order: Order
    figures: FigureRanges
    parameters: Mapping[str, ArrayForm] = field(default_factory=dict)
    tables: Mapping[str, ArrayForm] = field(default_factory=dict)
    uses: int = 0
    every_row: bool = False
    draws: Mapping[str, int] = field(default_factory=dict)
    arrays_if: str = ""
    changes: Collection[str] = ()
    scales: Mapping[str, ArrayForm] = field(default_factory=dict)
    precision: Precision = "full"


def expected_reply(strategy: ScenarioStrategy, asked: Asked, scenario: str) -> ExpectedReply:
    """Return the reply that a scenario owes to an order.

    Raises
    ------
    UserError
        The scenario was not asked.
    """
    if asked.only is not None and scenario not in asked.only:
        raise UserError(f"scenario {scenario} answers an order that it was not sent")
    description = strategy.federation.scenarios[scenario]
    if asked.kind == TRAIN:
        return _update(strategy, asked.order, description)
    if asked.kind == START:
        forms = _forms(strategy, asked.order, scenario)
        return ExpectedReply(scenario, asked.order, start_ranges(), forms, arrays_if=STARTS)
    if asked.kind == TEST:
        return _test(strategy, asked, description)
    return ExpectedReply(scenario, asked.order, _validation(strategy, description))


def _update(strategy: ScenarioStrategy, order: Order, description: Description) -> ExpectedReply:
    forms = _forms(strategy, order, description.scenario)
    slots = strategy.parameters.slots[description.scenario]
    tables = set(names_of(slots, [Part.FEDERATED_EMBEDDING]))
    noisy = bool(strategy.config.privacy.noise)
    losses = [] if noisy else description.tasks
    figures = training_ranges(losses, strategy.most_rows(order.stage, description.used_rows))
    if order.evaluate:
        figures |= _validation(strategy, description)
    precision = strategy.config.federation.precision
    whole = {name: form for name, form in forms.items() if name not in tables}
    changes = {name for name in whole if precision != "full" and not slots[name].statistic}
    coded = {name: coded_forms(form, precision) for name, form in whole.items() if name in changes}
    return ExpectedReply(
        description.scenario,
        order,
        figures,
        parameters=whole | {name: values for name, (values, _) in coded.items()},
        tables={name: form for name, form in forms.items() if name in tables},
        uses=sum(most for most, there in zip(description.columns(), description.federated, strict=True) if there),
        every_row=noisy,
        changes=changes,
        scales={name: scales for name, (_, scales) in coded.items() if scales is not None},
        precision=precision,
    )


def coded_forms(whole: ArrayForm, precision: Precision) -> tuple[ArrayForm, ArrayForm | None]:
    """Return the forms of a tensor's change in low precision: of its values, and of its scales if it has any."""
    if not has_scales(len(whole.shape), precision):
        return replace(whole, dtype=_FLOAT16), None
    return replace(whole, dtype=np.dtype(np.int8)), ArrayForm(whole.shape[:1], _FLOAT16)


def _test(strategy: ScenarioStrategy, asked: Asked, description: Description) -> ExpectedReply:
    figures = final_ranges(
        description.tasks,
        description.examples["test"],
        calibrated=strategy.config.evaluation.calibration != "none",
        consensus=description.scenario in asked.consensus,
    )
    draws = strategy.config.federation.draws
    drawn = dict.fromkeys(description.tasks, draws) if draws else {}
    return ExpectedReply(description.scenario, asked.order, figures, draws=drawn)


def _validation(strategy: ScenarioStrategy, description: Description) -> FigureRanges:
    gates = not strategy.config.privacy.noise  # with it, their shares stay in the scenario
    return validation_ranges(
        description.tasks, strategy.parameters.experts.get(description.scenario, 0) if gates else 0
    )


def _forms(strategy: ScenarioStrategy, order: Order, scenario: str) -> dict[str, ArrayForm]:
    """Return the forms of the tensors that an order asks for, which are those of the server's own."""
    held, slots = strategy.parameters.of(scenario), strategy.parameters.slots[scenario]
    return {name: ArrayForm.of(form_of_tensor(held, name)) for name in names_of(slots, order.parts)}
