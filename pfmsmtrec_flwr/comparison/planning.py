"""Plan of a comparison: the jobs that answer a request."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from pfmsmtrec_flwr.comparison.choices import TUNED_NAME, join_choices, write_choice
from pfmsmtrec_flwr.comparison.grounds import Ground
from pfmsmtrec_flwr.comparison.jobs import SHOWN_DIGITS, Job, JobStage, Runner, TrialRunner, digest_of, train
from pfmsmtrec_flwr.comparison.joining import Joining, check_joining, joinings
from pfmsmtrec_flwr.comparison.pruning import Floor
from pfmsmtrec_flwr.comparison.request import Request
from pfmsmtrec_flwr.comparison.sampling import check_sampler
from pfmsmtrec_flwr.comparison.schedule import Program
from pfmsmtrec_flwr.comparison.sources import package_sources
from pfmsmtrec_flwr.comparison.spaces import own_settings_in, space_of
from pfmsmtrec_flwr.comparison.tuning import Tuned, planned_trials, tune
from pfmsmtrec_flwr.comparison.variants import ABLATED, Variant, ablations, safe_name
from pfmsmtrec_flwr.config import RunConfig, Settings
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.methods import find_method
from pfmsmtrec_flwr.results.schema import RunResults
from pfmsmtrec_flwr.results.summarizing import Finished
from pfmsmtrec_flwr.results.summary import Described, Joined
from pfmsmtrec_flwr.results.writer import read_results

RUNS_NAME = "runs"
TRIALS_NAME = "trials"
JOINING_NAME = "joining"


@dataclass(frozen=True, slots=True)
class Planned:
    """A variant with its settings, and a job for each seed."""

    variant: Variant
    settings: Settings
    jobs: tuple[Job, ...]


class ComparisonPlan:
    """Jobs of a request; those of a tuned method are known only after its tuning.

    Parameters
    ----------
    request
        Request to answer.
    ground
        Data of the runs.
    tuning
        Data of the trials; none: those of the runs.
    run
        Function that runs a job.

    Attributes
    ----------
    request
        Request to answer.

    Raises
    ------
    UserError
        A method is unknown, its settings are impossible, or the package that tunes is missing.
    """

    def __init__(
        self, request: Request, ground: Ground, tuning: Sequence[Ground] = (), run: TrialRunner = train
    ) -> None:
        self.request = request
        self._ground = ground
        self._tuning = tuple(tuning) or (ground,)
        self._run = run
        self._sources = package_sources()
        self._tuned: dict[str, Tuned] = {}
        self._planned: dict[str, list[Planned]] = {name: [] for name in request.methods}
        self._joinings: dict[str, list[Joining]] = {name: [] for name in request.methods}
        self._check()

    def programs(self) -> list[Program]:
        """Return one program for each method: its trials, then its runs."""
        return [self._program(name) for name in self.request.methods]

    def finished(self) -> list[Finished]:
        """Return the variants that have finished runs."""
        found = [self._finished(name, planned) for name, all_ in self._planned.items() for planned in all_]
        return [each for each in found if each is not None]

    def joined(self) -> list[Joined]:
        """Return the figures of scenarios that joined later, of the trainings that have finished."""
        all_ = (joining for joinings_ in self._joinings.values() for joining in joinings_)
        return [figures for joining in all_ for figures in joining.figures()]

    def configure(self, method: str, settings: Settings, seed: int) -> RunConfig:
        """Return the whole configuration of a run of a method with settings of its own."""
        config = self.request.config
        own = config.model_copy(update={"methods": {method: {**config.methods.get(method, {}), **settings}}})
        return _comparable(find_method(method).configure(own), seed)

    def _check(self) -> None:
        """Raise every error before anything starts."""
        options = self.request.options
        if options.trials:
            check_sampler()
        if options.tune_only and not options.trials:
            raise UserError("got --tune-only without trials, expected a number of them: add --tune N")
        for name in self.request.methods:
            config = self.configure(name, {}, self.request.config.seed)
            self._variants(name, config)
            space_of(find_method(name), config, options.pinned)
        if options.join:
            check_joining(self.request.scenarios)

    def _program(self, name: str) -> Program:
        request = self.request
        if request.options.trials:
            yield from self._tune(name)
            if request.options.tune_only:
                return
        chosen = self._tuned[name].settings if name in self._tuned else {}
        config = self.configure(name, chosen, request.config.seed)
        self._planned[name] = [self._plan_variant(variant, chosen) for variant in self._variants(name, config)]
        yield [job for planned in self._planned[name] for job in planned.jobs]
        if request.options.join and find_method(name).family == "federated":
            yield from self._join(name, chosen)

    def _variants(self, name: str, config: RunConfig) -> list[Variant]:
        more = ablations(config) if self.request.options.ablations and name == ABLATED else ()
        return [Variant(name, name), *more]

    def _plan_variant(self, variant: Variant, chosen: Settings) -> Planned:
        jobs = []
        for seed in self.request.seeds:
            config = self.configure(variant.method, chosen, seed)
            config = config.with_own(variant.settings, variant.name)
            where = Path(RUNS_NAME, safe_name(variant.name))
            jobs.append(self._job(variant.name, JobStage.RUN, config, where, self._ground))
        own = {**self.request.config.methods.get(variant.method, {}), **chosen, **variant.settings}
        return Planned(variant, own, tuple(jobs))

    def _tune(self, name: str) -> Generator[Sequence[Job], None, None]:
        request = self.request
        config = self.configure(name, {}, request.config.seed)
        space = space_of(find_method(name), config, request.options.pinned)
        count = planned_trials(space, request.options.trials)
        seeds = range(config.seed, config.seed + request.options.tune_seeds)

        def runs_of(number: int, settings: Settings, floor: Floor) -> list[Job]:
            try:
                configs = [self.configure(name, settings, seed) for seed in seeds]
            except UserError:
                return []
            runs = [
                self._job(name, JobStage.TRIAL, config, Path(TRIALS_NAME, name), ground)
                for config in configs
                for ground in self._tuning
            ]
            first = replace(runs[0], floor=floor, run=partial(self._run, floor=floor))
            return [replace(run, trial=number, trials=count) for run in (first, *runs[1:])]

        tuned = yield from tune(space, own_settings_in(space, config), request.options.trials, config.seed, runs_of)
        self._tuned[name] = tuned
        own = request.config.methods.get(name, {}) | tuned.settings
        source = f"{', '.join(ground.name for ground in self._tuning)}, seeds {', '.join(map(str, seeds))}"
        folder = request.output / TRIALS_NAME
        write_choice(folder / name / TUNED_NAME, name, own, tuned, source)
        join_choices(folder, request.output / TUNED_NAME)

    def _join(self, name: str, chosen: Settings) -> Generator[Sequence[Job], None, None]:
        for seed in self.request.seeds:
            config = self.configure(name, chosen, seed)
            self._joinings[name] += joinings(config, self.request.scenarios, partial(self._joining_job, name))
        yield [joining.source for joining in self._joinings[name]]
        yield [job for joining in self._joinings[name] for job in joining.followers]

    def _joining_job(self, name: str, config: RunConfig, run: Runner | None, what: str, more: tuple[str, ...]) -> Job:
        where = Path(JOINING_NAME, name, safe_name(what))
        return self._job(name, JobStage.JOIN, config, where, self._ground, run, *more)

    def _job(
        self,
        name: str,
        stage: JobStage,
        config: RunConfig,
        where: Path,
        ground: Ground,
        run: Runner | None = None,
        *more: str,
    ) -> Job:
        options = self.request.options
        config = config.model_copy(update={"data": ground.settings(config.data)})
        digest = digest_of(config, ground.fingerprint, *more)
        short = digest[:SHOWN_DIGITS]
        place = short if stage is JobStage.TRIAL else f"seed{config.seed}-{short}"
        return Job(
            name=name,
            stage=stage,
            config=config,
            digest=digest,
            folder=self.request.output / where / place,
            data=self.request.data,
            run=run or self._run,
            keep_models=options.keep_models,
            sources=self._sources,
            fresh=options.fresh,
        )

    def _finished(self, name: str, planned: Planned) -> Finished | None:
        tuned = self._tuned.get(name)
        jobs = {job.config.seed: job for job in planned.jobs if job.finished}
        if not jobs:
            return None
        runs = {seed: _results(job, planned.variant) for seed, job in jobs.items()}
        first = next(iter(runs.values()))
        described = Described(
            name=planned.variant.name,
            method=planned.variant.method,
            family=first.family,
            parameters=first.parameters,
            what=planned.variant.what,
            settings=planned.settings,
            trials=0 if tuned is None else tuned.trials,
            validation=None if tuned is None else tuned.auc,
        )
        folders = {seed: job.folder.relative_to(self.request.output).as_posix() for seed, job in jobs.items()}
        return Finished(described, runs, folders)


def _results(job: Job, variant: Variant) -> RunResults:
    results = read_results(job.folder)
    if results.method != variant.method:
        raise UserError(f"{job.folder} holds results of {results.method}, expected {variant.method}: remove it")
    return results


def _comparable(config: RunConfig, seed: int) -> RunConfig:
    """Return the configuration of a run in a comparison: one thread, no references, the consensus measured."""
    federation = config.federation.model_copy(update={"reference": (), "evaluate_consensus": True})
    train_ = config.train.model_copy(update={"threads": 1})
    return config.model_copy(update={"seed": seed, "federation": federation, "train": train_})
