from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from compared import Fake

from pfmsmtrec_flwr.comparison.grounds import Ground
from pfmsmtrec_flwr.comparison.planning import ComparisonPlan
from pfmsmtrec_flwr.comparison.request import Options, Request, request_of
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.methods import METHODS
from pfmsmtrec_flwr.validation import parse

CONFIG = parse(
    RunConfig,
    {
        "seed": 3,
        "train": {"threads": 4},
        "federation": {"reference": ["alone", "fedavg"]},
        "methods": {"fedavg": {"train.lr": 0.05, "federation.tables": "plain"}},
    },
    "test",
)


def request(output: Path, config: RunConfig = CONFIG, **options: Any) -> Request:
    return request_of(config, Options(**options), ["B", "A"], output / "data", output)


def test_methods_are_those_of_the_configuration_or_those_named(tmp_path: Path) -> None:
    assert request(tmp_path).methods == ("pf-msmtrec", "alone", "fedavg")
    assert request(tmp_path, methods="fedavg, alone,fedavg").methods == ("fedavg", "alone")
    assert request(tmp_path, methods="all").methods == tuple(METHODS)


def test_the_reference_is_ours_or_the_first(tmp_path: Path) -> None:
    assert request(tmp_path, methods="alone,pf-msmtrec").reference == "pf-msmtrec"
    assert request(tmp_path, methods="fedavg,alone").reference == "fedavg"
    assert request(tmp_path, methods="fedavg,alone", reference="alone").reference == "alone"
    with pytest.raises(UserError, match=r"^reference 'fedbn' is not among the methods fedavg, alone: add it to them$"):
        request(tmp_path, methods="fedavg,alone", reference="fedbn")


def test_a_run_has_its_methods_settings_and_nothing_beside_it(tmp_path: Path) -> None:
    plan = ComparisonPlan(request(tmp_path), Ground("made", "rows"), run=Fake(tmp_path / "journal"))
    config = plan.configure("fedavg", {"model.dropout": 0.3}, 5)
    assert (config.method, config.seed, config.methods, config.federation.reference) == ("fedavg", 5, {}, ())
    assert (config.train.lr, config.federation.tables, config.model.dropout) == (0.05, "plain", 0.3)
    assert (config.train.threads, config.federation.evaluate_consensus) == (1, True)
    assert plan.configure("fedavg", {"train.lr": 0.001}, 5).train.lr == 0.001
    assert plan.configure("alone", {}, 5).train.lr == 0.001
    # what makes a method what it is holds, whatever is tuned
    assert plan.configure("fedhca2", {"model.template": "hadamard"}, 5).model.template == "none"


def test_every_seed_has_a_folder_of_its_variant(tmp_path: Path) -> None:
    plan = ComparisonPlan(
        request(tmp_path, methods="alone", seeds=2), Ground("made", "rows"), run=Fake(tmp_path / "journal")
    )
    (program,) = plan.programs()
    (jobs,) = list(program)
    assert [job.config.seed for job in jobs] == [3, 4]
    for job in jobs:
        assert job.folder == tmp_path / "runs" / "alone" / f"seed{job.config.seed}-{job.digest[:8]}"
        assert job.data == tmp_path / "data"
    other = ComparisonPlan(
        request(tmp_path, methods="alone", seeds=2), Ground("made", "other rows"), run=Fake(tmp_path / "journal")
    )
    assert {job.digest for (batch,) in [list(other.programs()[0])] for job in batch}.isdisjoint(
        job.digest for job in jobs
    )


def test_tuned_settings_come_from_a_file_unless_they_are_pinned(tmp_path: Path) -> None:
    path = tmp_path / "tuned.yaml"
    path.write_text("methods:\n  fedavg: {train.lr: 0.002, model.dropout: 0.3}\n  alone: {train.lr: 0.004}\n")
    made = request(tmp_path, tuned=path, pinned=frozenset({"model.dropout"}))
    assert made.config.methods == {
        "fedavg": {"train.lr": 0.002, "federation.tables": "plain"},
        "alone": {"train.lr": 0.004},
    }
    path.write_text("methods: {}\nseed: 3\n")
    with pytest.raises(UserError, match=r"tuned\.yaml: got the keys methods, seed, expected 'methods' alone$"):
        request(tmp_path, tuned=path)
    with pytest.raises(UserError, match=r"^cannot read .*none\.yaml"):
        request(tmp_path, tuned=tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": "alone,magic"}, "^unknown method 'magic', expected one of "),
        ({"methods": ""}, r"^settings of method fedavg .*unknown key 'train\.rate'"),
    ],
)
def test_mistakes_show_before_anything_starts(tmp_path: Path, options: dict[str, str], message: str) -> None:
    config = CONFIG.model_copy(update={"methods": {"fedavg": {"train.rate": 1.0}}})
    with pytest.raises(UserError, match=message):
        ComparisonPlan(request(tmp_path, config, **options), Ground("made", "rows"))


def test_a_single_scenario_has_nobody_to_join(tmp_path: Path) -> None:
    made = request_of(CONFIG, Options(join=True), ["A"], tmp_path, tmp_path)
    with pytest.raises(UserError, match=r"^got 1 scenario, expected two at least for one to join: leave --join out$"):
        ComparisonPlan(made, Ground("made", "rows"))
