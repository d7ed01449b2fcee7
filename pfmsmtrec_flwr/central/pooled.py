"""One model trained on the pooled rows of all scenarios."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from copy import deepcopy
from statistics import fmean

from torch import Tensor

from pfmsmtrec_flwr.central.outcome import check_rows, result_of, validation_of
from pfmsmtrec_flwr.central.pool import Identities, Pool, pool_rows
from pfmsmtrec_flwr.central.scenario_share import scenario_share
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.data.store.reader import ScenarioStore, Split
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.model import build_model, output_biases, partition
from pfmsmtrec_flwr.seeds import derive_seed
from pfmsmtrec_flwr.training.averaging import exponential_mean
from pfmsmtrec_flwr.training.batchnorm import refresh_statistics
from pfmsmtrec_flwr.training.devices import compute_repeatably, resolve_device
from pfmsmtrec_flwr.training.evaluation import Predictions, predict, predictions_of
from pfmsmtrec_flwr.training.local import GradientStep, TrainReport, train_locally
from pfmsmtrec_flwr.training.optimizers import make_optimizer
from pfmsmtrec_flwr.training.process import prepare_process
from pfmsmtrec_flwr.training.records import RoundCallback, RoundRecord, TaskValidation, TrainingResult
from pfmsmtrec_flwr.training.selection import RoundSelection

_POOLED = "pooled"


def train_pooled(
    config: RunConfig,
    stores: Sequence[ScenarioStore],
    on_round: RoundCallback | None = None,
    *,
    identities: Identities = "private",
) -> TrainingResult:
    """Train one model on the rows of all scenarios, and measure it in each.

    A round is a local training, as in a federation, on the pooled rows. Adam's moments stay from round to round, so
    the rounds form one training, which is measured in between.

    Parameters
    ----------
    config
        Configuration of the run.
    stores
        Prepared data of the scenarios.
    on_round
        Function that is called after each round, with its record.
    identities
        Treatment of a person whom several scenarios know, see `pool_rows`.

    Raises
    ------
    UserError
        The scenarios cannot be pooled, or training diverged.
    """
    started = time.perf_counter()
    check_rows(stores)
    training = PooledTraining(config, pool_rows(stores, config, identities))
    settings = config.federation
    selection = RoundSelection(settings.selection, settings.patience)
    rounds: list[RoundRecord] = []
    states: dict[int, dict[str, Tensor]] = {}
    for number in range(1, settings.rounds + 1):
        record = training.run_round(number)
        names = record.validation
        selection.add(number, {name: record.score(name) for name in names}, {name: record.loss(name) for name in names})
        states[number] = {name: tensor.clone() for name, tensor in training.predictor.state_dict().items()}
        states = {round_: states[round_] for round_ in sorted(set(selection.selected.values()))}
        rounds.append(record)
        logger.info("round %d of %d: mean loss %.4f", number, settings.rounds, fmean(record.losses.values()))
        if on_round is not None:
            on_round(record)
        if selection.exhausted:
            logger.info("no better mean validation %s for %d rounds: stopping", selection.figure, settings.patience)
            break
    validation, test = (training.predictions(split, selection.selected, states) for split in ("validation", "test"))
    result = result_of(stores, config, rounds, selection.selected, validation, test)
    result.models = {
        name: scenario_share(training.pool, name, training.predictor, states[number])
        for name, number in selection.selected.items()
    }
    result.seconds = time.perf_counter() - started
    return result


class PooledTraining:
    """A model, its optimiser, and the pooled rows.

    Parameters
    ----------
    config
        Configuration of the run.
    pool
        Pooled rows.

    Attributes
    ----------
    model
        Model that is trained in place.
    predictor
        Model that is measured: the trained one, or its mean over the rounds.
    """

    def __init__(self, config: RunConfig, pool: Pool) -> None:
        prepare_process(config.train.threads)
        self.config = config
        self.pool = pool
        self.device = resolve_device(config.train.device)
        compute_repeatably(self.device)
        self.model = build_model(pool.spec, config.model, config.seed).to(self.device)
        self._start_at_base_rates()
        self.predictor = deepcopy(self.model) if config.train.ema_decay else self.model
        self._mean: dict[str, Tensor] = {}
        self._step = GradientStep(self.model, make_optimizer(self.model, config.train), config.train)

    def run_round(self, number: int) -> RoundRecord:
        """Train for one round, and measure the model on the validation rows of each scenario.

        Raises
        ------
        UserError
            Training diverged.
        """
        report = self._train(number)
        self._average(number)
        seed = derive_seed(self.config.seed, "statistics", number, _POOLED)
        refresh_statistics(self.predictor, self.pool.splits["train"], self.config.train, seed=seed, device=self.device)
        record = RoundRecord(number, train_seconds=report.seconds)
        loss = float(report.losses.mean())
        for name in self.pool.ranges["validation"]:
            rows = self.pool.of("validation", name)
            record.losses[name] = loss  # of all rows, as the loss of a single scenario is unknown
            record.validation[name] = self._validate(rows)
        return record

    def predictions(
        self, split: str, selected: Mapping[str, int], states: Mapping[int, Mapping[str, Tensor]]
    ) -> dict[str, Predictions]:
        """Return the predictions for each scenario's rows of a split, by the model of its selected round."""
        predictions = {}
        for number, state in states.items():
            self.predictor.load_state_dict(state)
            for name in (name for name, round_ in selected.items() if round_ == number):
                predictions[name] = predictions_of(self.predictor, self.pool.of(split, name), self.device)
        return predictions

    def _start_at_base_rates(self) -> None:
        rows, tasks = self.pool.splits["train"], self.pool.spec.tasks
        slots = partition(self.model).values()
        counts = rows.positives(), rows.labelled()
        biases = output_biases(self.config.model.architecture, slots, tasks, *counts)
        self.model.load_state_dict(self.model.state_dict() | biases)

    def _average(self, number: int) -> None:
        """Update the predictor to the mean of the rounds' models, if the settings ask for a mean."""
        if memory := self.config.train.ema_decay:
            self._mean = exponential_mean(self._mean, self.model.state_dict(), memory, number)
            self.predictor.load_state_dict(self._mean)

    def _validate(self, rows: Split) -> dict[str, TaskValidation]:
        return validation_of(predict(self.predictor, rows, self.device), rows, self.pool.spec.tasks)

    def _train(self, number: int) -> TrainReport:
        try:
            return train_locally(
                self._step,
                self.pool.splits["train"],
                self.config.train,
                seed=derive_seed(self.config.seed, "train", number, _POOLED),
                device=self.device,
            )
        except FloatingPointError as error:
            raise UserError(f"pooled rows, round {number}: {error}") from None
