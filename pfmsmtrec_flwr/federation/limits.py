"""Limits that a site sets to what a server may ask of its node; no message changes them.

Examples
--------
>>> from pfmsmtrec_flwr.config import RunConfig
>>> SiteLimits(most_threads=2).refuse_settings(RunConfig(train={"threads": 8}))
Traceback (most recent call last):
pfmsmtrec_flwr.errors.UserError: train.threads is 8, and this site allows 2 (most_threads in its limits): ask for fewer
"""

from __future__ import annotations

import resource
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import torch
from flwr.app import Context
from pydantic import Field

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.data.scenarios import SYNTHETIC, synthetic_settings
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.locations import is_simulated
from pfmsmtrec_flwr.federation.protocol import Order
from pfmsmtrec_flwr.model import Part, make_model, partition
from pfmsmtrec_flwr.training.description import model_spec, training_rows
from pfmsmtrec_flwr.validation import Section, parse, read_yaml

LIMITS_KEY = "limits"
"""Key of a node's configuration that names the file."""
PRIVATE_BY_DEFAULT = frozenset(
    {Part.LOCAL_EMBEDDING, Part.EXPERT_TASK, Part.NORMALIZATION, Part.TOWER_NORMALIZATION, Part.OUTPUT_BIAS}
)
"""Parts that leave a deployed node only if its site says so: they show counts and rates of its rows."""

Ceiling = Annotated[int, Field(ge=0)]


class SiteLimits(Section):
    """Limits of a site; a ceiling of 0 sets no bound."""

    parts: tuple[str, ...] = tuple(sorted(frozenset(Part) - PRIVATE_BY_DEFAULT))
    """Parts of the model that may leave the site."""
    fewest_rows: Ceiling = 32
    """Smallest number of training rows that an update may rest on."""
    most_threads: Ceiling = 0
    """Largest number of threads of a client."""
    most_memory_mb: Ceiling = 0
    """Memory that a client's process may take for data, in MiB."""
    most_parameters: Ceiling = 100_000_000
    """Largest number of parameters of a model, its tables included."""
    most_made_up_rows: Ceiling = 1_000_000
    """Largest number of rows that are made up for one scenario."""
    least_noise: Annotated[float, Field(ge=0)] = 0.0
    """Smallest `privacy.noise` of an update."""
    row_counts: Literal["exact", "powers"] = "exact"
    """Numbers of uses of table rows that may leave: exact ones, or powers of two alone."""

    def refuse_settings(self, config: RunConfig) -> None:
        """Refuse a configuration that asks for more than the site gives, before anything is opened or made.

        Raises
        ------
        UserError
            Threads or made-up rows exceed their ceilings, or updates would leave with less noise, or more exact
            numbers of uses, than the site asks for.
        """
        _refuse_more("train.threads", config.train.threads, self.most_threads, "most_threads")
        if config.privacy.noise < self.least_noise:
            raise UserError(
                f"privacy.noise is {config.privacy.noise:g}, and this site allows no less than {self.least_noise:g} "
                "(least_noise in its limits): ask for more"
            )
        if self.row_counts == "powers" and config.privacy.row_counts != "powers":
            raise UserError(
                f"privacy.row_counts is {config.privacy.row_counts}, and this site sends powers of two alone "
                "(row_counts in its limits): set privacy.row_counts to powers"
            )
        if config.data.name == SYNTHETIC:
            made_up = synthetic_settings(config.data)
            rows = max(made_up.train_rows.values(), default=0) + made_up.validation_rows + made_up.test_rows
            _refuse_more("number of made-up rows", rows, self.most_made_up_rows, "most_made_up_rows")

    def refuse_order(self, order: Order, config: RunConfig, store: ScenarioStore) -> None:
        """Refuse an order that the site does not allow, before a model is made.

        Raises
        ------
        UserError
            The order asks for a part that may not leave, rests on too few rows, or is for too large a model.
        """
        with torch.device("meta"):  # shapes without memory
            model = make_model(model_spec(store), config.model)
        parameters = sum(tensor.numel() for tensor in model.state_dict().values())
        _refuse_more("number of parameters", parameters, self.most_parameters, "most_parameters")
        held = {slot.part for slot in partition(model).values()}
        self._refuse_parts(part for part in order.parts if part in held)
        if (rows := rows_of_update(config, store)) < self.fewest_rows:
            raise UserError(
                f"an update of scenario {store.scenario} would rest on {rows} training rows, and its site allows no "
                f"fewer than {self.fewest_rows}: use more rows (data.train_fraction, train.max_local_steps), "
                "or have the site lower fewest_rows in its limits"
            )

    def bound_memory(self) -> None:
        """Set the process's ceiling of memory for data, if there is one."""
        if self.most_memory_mb:
            bound = self.most_memory_mb << 20
            _, hard = resource.getrlimit(resource.RLIMIT_DATA)
            resource.setrlimit(resource.RLIMIT_DATA, (bound, hard))

    def _refuse_parts(self, parts: Iterable[Part]) -> None:
        if private := sorted(set(parts) - set(self.parts)):
            names = ", ".join(f"'{part}'" for part in private)
            raise UserError(
                f"the server asks for the part {names}, which may not leave this site: choose a method or settings "
                "that keep it local, or have the site add it to parts in its limits"
            )


_ADDABLE = ", ".join(f"'{part}'" for part in sorted(PRIVATE_BY_DEFAULT - {Part.LOCAL_EMBEDDING}))
LIMITS_TEXT = f"""\
# Limits of this site. No server can lift them; a ceiling of 0 sets no bound.
# Parts of the model that may leave. To share more, add: {_ADDABLE}.
parts:
{"".join(f"- {part}" + chr(10) for part in SiteLimits().parts)}\
# Smallest number of training rows that an update may rest on.
fewest_rows: 32
# Largest number of threads of a client.
most_threads: 0
# Memory that a client's process may take for data, in MiB.
most_memory_mb: 0
# Largest number of parameters of a model, its tables included.
most_parameters: 100000000
# Largest number of rows that are made up for one scenario.
most_made_up_rows: 1000000
# Smallest privacy.noise of an update: above 0, a server must ask for differential privacy.
least_noise: 0
# Numbers of uses of table rows that may leave: exact, or powers for powers of two alone.
row_counts: exact
"""


def enforce_limits(context: Context, config: RunConfig) -> None:
    """Bound the process's memory, and refuse a configuration that asks for more than the node's site gives.

    Raises
    ------
    UserError
        The configuration exceeds a limit, or the site's file is missing or wrong.
    """
    if limits := node_limits(context):
        limits.bound_memory()
        limits.refuse_settings(config)


def refuse_order(context: Context, order: Order, config: RunConfig, store: ScenarioStore) -> None:
    """Refuse an order that the node's site does not allow.

    Raises
    ------
    UserError
        The order exceeds a limit.
    """
    if limits := node_limits(context):
        limits.refuse_order(order, config, store)


def node_limits(context: Context) -> SiteLimits | None:
    """Return the limits of a node: those of its file, or the defaults; None in a simulation, which is one owner's.

    Raises
    ------
    UserError
        The file is missing or wrong.
    """
    if is_simulated(context):
        return None
    named = str(context.node_config.get(LIMITS_KEY, ""))
    return read_limits(Path(named)) if named else SiteLimits()


def read_limits(path: Path) -> SiteLimits:
    """Read the limits of a site.

    Raises
    ------
    UserError
        The file is missing, a key is unknown, or `parts` names one that does not exist or that never leaves.
    """
    document = read_yaml(path)
    if isinstance(document.get("parts"), list):
        document["parts"] = tuple(document["parts"])
    limits = parse(SiteLimits, document, str(path))
    shareable = frozenset(Part) - {Part.LOCAL_EMBEDDING}
    if odd := sorted(set(limits.parts) - shareable):
        known = ", ".join(f"'{part}'" for part in sorted(shareable))
        raise UserError(f"{path}: parts names '{odd[0]}', expected some of {known}")
    return limits


def rows_of_update(config: RunConfig, store: ScenarioStore) -> int:
    """Return the number of training rows that a round's local training passes over."""
    used = len(training_rows(store, config))
    train = config.train
    passed = int(used * min(1.0, train.local_epochs))
    return min(passed, train.max_local_steps * train.batch_size) if train.max_local_steps else passed


def _refuse_more(what: str, wanted: int, most: int, key: str) -> None:
    if most and wanted > most:
        raise UserError(f"{what} is {wanted}, and this site allows {most} ({key} in its limits): ask for fewer")
