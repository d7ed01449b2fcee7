from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from compared import Direct, Fake

from pfmsmtrec_flwr.comparison.grounds import Ground
from pfmsmtrec_flwr.comparison.harness import Comparison, compare, tune_methods
from pfmsmtrec_flwr.comparison.planning import ComparisonPlan
from pfmsmtrec_flwr.comparison.request import Options, request_of
from pfmsmtrec_flwr.comparison.workers import workers
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.methods.configuration import load_config
from pfmsmtrec_flwr.report.reading import read_study
from pfmsmtrec_flwr.validation import parse

CONFIG = parse(
    RunConfig,
    {
        "federation": {"reference": ["alone"]},
        "methods": {"pf-msmtrec": {"gates": "federated"}},
    },
    "test",
)


class Compared:
    """A comparison whose trainings are made up."""

    def __init__(
        self, folder: Path, fake: Fake | None = None, *, worlds: Sequence[Ground] = (), **options: Any
    ) -> None:
        self.output = folder / "out"
        self.fake = fake or Fake(folder / "journal")
        self.plan = ComparisonPlan(
            request_of(CONFIG, Options(**{"seeds": 2, **options}), ["A", "B"], folder, self.output),
            Ground("made", "rows"),
            worlds,
            run=self.fake,
        )

    def run(self, slots: int = 1) -> Comparison:
        return compare(self.plan, Direct(), slots)


def auc(comparison: Comparison, variant: str) -> float:
    line = comparison.summary.line(variant)
    assert line is not None
    found = line.tasks["ctr"].auc
    assert found is not None
    return found.mean


def test_methods_are_run_and_tabulated(tmp_path: Path) -> None:
    made = Compared(tmp_path)
    comparison = made.run()
    assert not comparison.failures
    # 0.64 and 0.641 in the first scenario, 0.02 less in the second
    assert auc(comparison, "pf-msmtrec") == pytest.approx(0.6305)
    assert auc(comparison, "alone") == pytest.approx(0.5905)
    written = json.loads((made.output / "summary.json").read_text())
    assert [variant["name"] for variant in written["variants"]] == ["pf-msmtrec", "alone"]
    assert written["variants"][0]["settings"] == {"gates": "federated"}
    assert (made.output / "tables" / "means.md").is_file()
    assert len(made.fake.calls) == 4
    told = [(run.variant, run.seed, str(made.output / run.folder)) for run in comparison.summary.runs]
    assert told == made.fake.calls
    for _, seed, folder in made.fake.calls:
        assert load_config(str(Path(folder) / "config.yaml")).seed == seed
        assert not (Path(folder) / "clients").exists()


def test_the_same_command_again_runs_nothing_and_says_the_same(tmp_path: Path) -> None:
    first = Compared(tmp_path)
    summary = first.run().summary
    again = Compared(tmp_path)
    assert again.run().summary == summary
    assert len(again.fake.calls) == 4
    more = Compared(tmp_path, seeds=3, methods="pf-msmtrec,alone,fedavg")
    more.run()
    assert sorted(call[:2] for call in more.fake.calls[4:]) == [
        ("alone", 2),
        ("fedavg", 0),
        ("fedavg", 1),
        ("fedavg", 2),
        ("pf-msmtrec", 2),
    ]


def test_runs_of_other_settings_in_the_same_folder_are_not_counted(tmp_path: Path) -> None:
    before = {run.folder for run in Compared(tmp_path, methods="alone").run().summary.runs}
    tuned = tmp_path / "tuned.yaml"
    tuned.write_text("methods: {alone: {train.lr: 0.002}}\n")
    after = Compared(tmp_path, methods="alone", tuned=tuned).run().summary
    now = {run.folder for run in after.runs}
    assert len(before) == len(now) == 2 and not before & now
    on_disk = {
        path.parent.relative_to(tmp_path / "out").as_posix() for path in tmp_path.glob("out/runs/*/*/results.json")
    }
    assert on_disk == before | now
    study = read_study(tmp_path / "out")
    figure = study.figures.spread(study.figures.lines[0], "auc", "ctr", "A")
    assert figure is not None and figure.mean == pytest.approx(0.6105)
    assert study.figures.seeds == (0, 1)


def test_tuning_chooses_for_each_method_and_its_seeds(tmp_path: Path) -> None:
    made = Compared(tmp_path, trials=30, seeds=3)
    comparison = made.run()
    tuned = load_config(str(made.output / "tuned.yaml")).methods
    assert tuned.keys() == {"pf-msmtrec", "alone"}
    assert {"regularization", "gates"} <= tuned["pf-msmtrec"].keys()
    for own in tuned.values():
        assert own["train.lr"] == pytest.approx(0.004, rel=0.2)
        assert own["train.batch_size"] == 512
    assert [variant.trials for variant in comparison.summary.variants] == [30, 30]
    assert [variant.validation for variant in comparison.summary.variants] == pytest.approx([0.6705, 0.6305], abs=0.003)
    assert auc(comparison, "alone") == pytest.approx(0.621, abs=0.003)
    # the chosen trials are the runs of the first two seeds: those are not run again
    assert [call[1] for call in made.fake.calls].count(0) == 2 * 30
    assert sorted(call[:2] for call in made.fake.calls if call[1] == 2) == [("alone", 2), ("pf-msmtrec", 2)]


def test_results_do_not_depend_on_the_jobs_at_once(tmp_path: Path) -> None:
    summaries = []
    for slots in (1, 5):
        (tmp_path / str(slots)).mkdir()
        summaries.append(
            Compared(tmp_path / str(slots), trials=12, methods="alone,fedavg,pf-msmtrec").run(slots).summary
        )
    assert summaries[0] == summaries[1]


def test_trials_run_on_their_own_data_and_runs_on_theirs(tmp_path: Path) -> None:
    worlds = [Ground(f"world {seed}", f"rows {seed}", {"synthetic": {"seed": seed}}) for seed in (7, 8)]
    made = Compared(tmp_path, worlds=worlds, trials=3, methods="alone,fedavg")
    made.run()
    seen: dict[str, set[tuple[str, int]]] = {"trials": set(), "runs": set()}
    for _, seed, folder in made.fake.calls:
        world = load_config(str(Path(folder) / "config.yaml")).data.synthetic.get("seed", "own")
        seen[Path(folder).relative_to(made.output).parts[0]].add((str(world), seed))
    assert seen["trials"] == {("7", 0), ("8", 0), ("7", 1), ("8", 1)}
    assert seen["runs"] == {("own", 0), ("own", 1)}
    assert "world 7, world 8, seeds 0, 1" in (made.output / "tuned.yaml").read_text()


@pytest.mark.parametrize("trials", [1, 9])
def test_every_method_has_the_same_number_of_trials(tmp_path: Path, trials: int) -> None:
    fake = Fake(tmp_path / "journal", rounds=8)
    made = Compared(tmp_path, fake, trials=trials, methods="alone,fedavg,pooled-mmoe,pf-msmtrec,base-rate")
    variants = {variant.name: variant.trials for variant in made.run().summary.variants}
    assert variants.pop("base-rate") == 1  # there is nothing to tune
    assert set(variants.values()) == {trials}
    for name in variants:
        folders = {path.parent for path in made.output.glob(f"trials/{name}/*/metrics.jsonl")}
        first = {folder for method, seed, folder in fake.calls if (method, seed) == (name, 0) and "/trials/" in folder}
        assert len(first) == trials
        assert {Path(folder) for folder in first} <= folders


def test_methods_may_be_tuned_one_after_the_other(tmp_path: Path) -> None:
    for methods in ("alone", "fedavg"):
        made = Compared(tmp_path, trials=3, methods=methods, tune_only=True)
        assert tune_methods(made.plan, Direct(), 1) == []
    assert load_config(str(made.output / "tuned.yaml")).methods.keys() == {"alone", "fedavg"}
    assert not (made.output / "runs").exists()
    both = Compared(tmp_path, trials=3, methods="alone,fedavg")
    both.run()
    assert len(both.fake.calls) == len({folder for _, _, folder in both.fake.calls})


def test_settings_that_do_not_go_together_do_not_end_the_tuning(tmp_path: Path) -> None:
    # PLE's space asks for two levels as well, which need two layers.
    config = CONFIG.model_copy(update={"model": CONFIG.model.model_copy(update={"expert_layers": (8,)})})
    request = request_of(config, Options(methods="pooled-ple", trials=12, seeds=1), ["A", "B"], tmp_path, tmp_path)
    fake = Fake(tmp_path / "journal")
    compare(ComparisonPlan(request, Ground("made", "rows"), run=fake), Direct(), 1)
    (tuned,) = load_config(str(tmp_path / "tuned.yaml"), overrides=["model.expert_layers=[8]"]).methods.values()
    assert tuned["model.extraction_levels"] == 1
    first = [call for call in fake.calls if call[1] == 0 and "/trials/" in call[2]]
    assert 0 < len(first) < 12


def test_runs_of_other_code_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Compared(tmp_path, methods="alone,fedavg").run()
    monkeypatch.setattr("pfmsmtrec_flwr.comparison.planning.package_sources", lambda: "other")
    note = "other code than the present one made these runs and trials: 2 of alone; --fresh replaces them"
    after = Compared(tmp_path, methods="alone,pf-msmtrec")
    assert after.run().summary.notes == [note]
    assert len(after.fake.calls) == 6
    fresh = Compared(tmp_path, methods="alone,pf-msmtrec", fresh=True)
    assert fresh.run().summary.notes == []
    assert [call[0] for call in fresh.fake.calls[6:]] == ["alone", "alone"]


def test_what_is_pinned_is_not_tuned(tmp_path: Path) -> None:
    made = Compared(tmp_path, trials=5, methods="alone", pinned=frozenset({"train.lr"}))
    made.run()
    assert "train.lr" not in load_config(str(made.output / "tuned.yaml")).methods["alone"]


def test_ablations_have_the_tuned_settings_and_a_switch_turned(tmp_path: Path) -> None:
    pinned = frozenset({"pf-msmtrec.gates"})
    made = Compared(tmp_path, trials=30, methods="pf-msmtrec", ablations=True, pinned=pinned)
    summary = made.run().summary
    names = [variant.name for variant in summary.variants]
    assert names[0] == "pf-msmtrec"
    assert {"pf-msmtrec: no regularizer", "pf-msmtrec: local gates"} <= set(names)
    assert "pf-msmtrec: federated gates" not in names
    without = summary.variants[names.index("pf-msmtrec: no regularizer")]
    assert (without.method, without.trials, without.settings["regularization"]) == ("pf-msmtrec", 30, 0.0)
    assert without.settings["train.lr"] == summary.variants[0].settings["train.lr"] != 0.001
    line = summary.line("pf-msmtrec: no regularizer")
    assert line is not None
    against = line.tasks["ctr"].against
    assert against is not None
    assert against.loss == 2
    assert against.difference == pytest.approx(-0.03)
    assert (made.output / "runs" / "pf-msmtrec-no-regularizer").is_dir()


def test_a_method_that_fails_costs_the_others_nothing(tmp_path: Path) -> None:
    fake = Fake(tmp_path / "journal", fails=("alone",))
    comparison = Compared(tmp_path, fake).run()
    assert [entry.problem for entry in comparison.failures] == ["alone does not train"] * 2
    assert [variant.name for variant in comparison.summary.variants] == ["pf-msmtrec"]
    folders = [entry.job.folder.name for entry in comparison.failures]
    assert comparison.summary.notes == [f"alone, {folder} failed: alone does not train" for folder in folders]
    again = Compared(tmp_path, Fake(tmp_path / "journal"))
    assert not again.run().failures
    assert len(again.fake.calls) == 6


def test_where_nothing_finishes_the_reason_is_told(tmp_path: Path) -> None:
    fake = Fake(tmp_path / "journal", fails=("alone",))
    with pytest.raises(UserError, match=r"^no run has finished: alone does not train$"):
        Compared(tmp_path, fake, methods="alone").run()


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(UserError, match=r"^cannot write to .*out: File exists$"):
        Compared(tmp_path).run()


def test_processes_do_the_same(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    here = Compared(tmp_path / "here").run()
    beside = Compared(tmp_path)
    with workers(2) as executor:
        comparison = compare(beside.plan, executor, 2)
    assert comparison.summary == here.summary
    assert len(beside.fake.calls) == 4
