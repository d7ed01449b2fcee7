from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import pytest
from compared import finished_of
from reported import RunMaker

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.report.reading import read_study
from pfmsmtrec_flwr.report.study import Study
from pfmsmtrec_flwr.results.summarizing import summarize
from pfmsmtrec_flwr.results.summary import write_summary
from pfmsmtrec_flwr.results.writer import read_results


def test_a_comparison_is_read_by_family_and_seed(study: Study) -> None:
    assert study.dataset == "böden & co"
    assert [(variant.name, variant.family) for variant in study.variants] == [
        ("base-rate", "floor"),
        ("alone", "alone"),
        ("fedavg", "federated"),
        ("pf-msmtrec", "federated"),
    ]
    assert [run.results.seed for run in study.variants[3].runs] == [0, 1]
    assert study.variants[0].runs[0].rounds == ()


def test_the_log_is_read_by_round(study: Study) -> None:
    run = study.variants[3].runs[0]
    assert run.validation("NL", "ctr") == pytest.approx({1: 0.59, 2: 0.64, 3: 0.69 - 0.1 / 3})
    assert run.validation("NL", "ctcvr") == {}
    assert run.share("US", "alpha") == pytest.approx({1: 0.6, 2: 0.7, 3: 0.8})
    assert run.share("US", "mixture") == {}
    assert run.gates("US", "ctr")[2] == pytest.approx([0.7, 0.3])
    assert run.gates("US", "ctcvr") == {}
    assert list(run.conflicts) == [1, 2, 3]
    assert run.attention("ctr")[2].weights == [[0.7, 0.3], [0.4, 0.6]]
    assert run.attention("ctcvr") == {}


def test_a_single_run_is_read_with_its_references(maker: RunMaker) -> None:
    maker.write(maker.results("pf-msmtrec", 0.7, reference=["alone"]), maker.root)
    maker.write(maker.results("alone", 0.6, family="alone"), maker.root / "alone")
    maker.write(maker.results("fedavg", 0.6), maker.root / "fedavg")  # of an older run, not named
    assert [variant.name for variant in read_study(maker.root).variants] == ["alone", "pf-msmtrec"]


def test_trials_are_left_out_and_runs_that_have_not_finished_are_named(maker: RunMaker) -> None:
    folder = maker.write(maker.results("alone", 0.6, family="alone"))
    os.utime(folder / "results.json", (86_400 * 365, 86_400 * 365))
    maker.write(maker.results("fedavg", 0.6), maker.root / "trials" / "fedavg" / "seed0-0")
    maker.log(maker.root / "runs" / "fedavg" / "seed3-00", "fedavg", 0.5)
    study = read_study(maker.root)
    assert [variant.name for variant in study.variants] == ["alone"]
    assert study.unfinished == ("fedavg seed3-00",)
    assert study.finished == date(1971, 1, 1)


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"^no results\.json in .*: give the output folder of `pfmsmtrec compare`, or of"
    ):
        read_study(tmp_path)


def test_a_reference_that_is_gone_is_named(maker: RunMaker) -> None:
    maker.write(maker.results("pf-msmtrec", 0.7, reference=["alone"]), maker.root)
    assert read_study(maker.root).unfinished == ("alone alone",)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("results.json", "{", r"results\.json is not valid JSON"),
        ("metrics.jsonl", "{\n", r"metrics\.jsonl, line 1 is not valid JSON"),
        ("metrics.jsonl", '{"method": 1}\n', r"metrics\.jsonl, line 1: key '"),
    ],
)
def test_a_damaged_file_is_named(maker: RunMaker, file: str, content: str, message: str) -> None:
    (maker.write(maker.results("alone", 0.6)) / file).write_text(content)
    with pytest.raises(UserError, match=message):
        read_study(maker.root)


def test_shares_that_are_no_numbers_are_refused(maker: RunMaker) -> None:
    path = maker.write(maker.results("alone", 0.6), learned=True) / "metrics.jsonl"
    path.write_text(path.read_text().replace('{"alpha": 0.7', '{"alpha": "much"', 1))
    with pytest.raises(UserError, match=r"metrics\.jsonl, line 2: key 'alpha\.NL\.alpha': got 'much'; "):
        read_study(maker.root)


def test_two_runs_of_the_same_seed_are_refused(maker: RunMaker) -> None:
    results = maker.results("alone", 0.6)
    maker.write(results)
    maker.write(results, maker.root / "runs" / "alone" / "seed0-ffffffff")
    with pytest.raises(
        UserError, match=r"seed0-0123abcd and .*seed0-ffffffff are two runs of alone with seed 0: remove"
    ):
        read_study(maker.root)


def counted(maker: RunMaker, *folders: Path) -> None:
    """Write a summary that counts these runs, each of a variant named as its folder is."""
    finished = [
        finished_of(
            folder.parent.name,
            {results.seed: results},
            folders={results.seed: folder.relative_to(maker.root).as_posix()},
        )
        for folder in folders
        for results in (read_results(folder),)
    ]
    write_summary(summarize(finished, "alone"), maker.root)


def test_with_a_summary_the_runs_that_it_counts_are_read(maker: RunMaker) -> None:
    maker.write(maker.results("alone", 0.6, family="alone"))
    meant = maker.write(maker.results("alone", 0.7, family="alone"), maker.root / "runs" / "alone" / "seed0-ffffffff")
    fedavg = maker.write(maker.results("fedavg", 0.65))
    maker.write(maker.results("fedavg", 0.9, seed=1))  # of an earlier comparison, with more seeds
    maker.write(maker.results("fedbn", 0.9))  # or with more methods
    counted(maker, meant, fedavg)
    study = read_study(maker.root)
    assert [(variant.name, len(variant.runs)) for variant in study.variants] == [("alone", 1), ("fedavg", 1)]
    assert [results.macro["ctr"].auc for results in study.results] == pytest.approx([0.7, 0.65])
    assert study.unfinished == ()


def test_with_a_summary_runs_without_results_are_named_unless_another_stands_for_them(maker: RunMaker) -> None:
    alone = maker.write(maker.results("alone", 0.6, family="alone"))
    fedavg = maker.write(maker.results("fedavg", 0.65))
    counted(maker, alone, fedavg)
    maker.log(maker.root / "runs" / "fedavg" / "seed0-00", "fedavg", 0.5)  # of other settings, broken off
    maker.log(maker.root / "runs" / "fedavg" / "seed10-00", "fedavg", 0.5)
    assert read_study(maker.root).unfinished == ("fedavg seed10-00",)
    (fedavg / "results.json").unlink()
    assert set(read_study(maker.root).unfinished) == {"fedavg seed0-0123abcd", "fedavg seed10-00"}


def test_a_damaged_summary_is_named(maker: RunMaker) -> None:
    maker.write(maker.results("alone", 0.6))
    (maker.root / "summary.json").write_text("{")
    with pytest.raises(UserError, match=r"summary\.json is not valid JSON"):
        read_study(maker.root)


def test_runs_on_different_data_are_refused(maker: RunMaker) -> None:
    maker.write(maker.results("alone", 0.6))
    maker.write(maker.results("fedavg", 0.6).model_copy(update={"dataset": "other"}))
    with pytest.raises(
        UserError, match=r"holds runs on the data sets böden & co, other: a report is about one of them$"
    ):
        read_study(maker.root)
