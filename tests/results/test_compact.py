"""The tables of a comparison and of a run for a narrow terminal."""

from __future__ import annotations

from pathlib import Path

from compared import finished_of, run_results
from reported import RunMaker

from pfmsmtrec_flwr.results.bootstrap import Bootstrap, Leaders, PairedDifference
from pfmsmtrec_flwr.results.compact import compact_run_tables, compact_tables
from pfmsmtrec_flwr.results.rendering import as_markdown, as_text
from pfmsmtrec_flwr.results.schema import DrawnDifference, Interval
from pfmsmtrec_flwr.results.summarizing import summarize

LOWER = PairedDifference(
    variant="alone", other="ours", task="ctr", seeds=1, difference=-0.05, low=-0.06, high=-0.04, error=0.005, p=0.001
)


def test_a_row_has_difference_interval_wins_ties_and_losses() -> None:
    figures = {"alone": (0.75, 0.625, 0.5), "ours": (0.5, 0.5, 0.5)}
    variants = [
        finished_of(
            name,
            {
                0: run_results(
                    name, 0, {place: {"ctr": auc, "buy": 0.5} for place, auc in zip("ABC", aucs, strict=True)}
                )
            },
        )
        for name, aucs in figures.items()
    ]
    leaders = [Leaders(task="ctr", variants=["ours"])]
    bootstrap = Bootstrap(draws=9, units=7, unit="users", differences=[LOWER], leaders=leaders, smallest={"ctr": 0.01})
    summary = summarize(variants, "ours", notes=["a note"]).model_copy(update={"bootstrap": bootstrap})
    first, second = map(as_markdown, compact_tables(summary))
    assert first.splitlines() == [
        "ctr on made: test AUC, mean over scenarios ± sd over 1 seed.",
        "",
        "| method | AUC | difference to ours | win/tie /loss |",
        "| --- | ---: | ---: | ---: |",
        "| alone | 0.6250 | -0.0500 [-0.0600, -0.0400] | 2/1/0 |",
        "| ours | **0.5000** |  |  |",
    ]
    notes = second.split("\n\n")[-1].splitlines()
    assert [note.partition(":")[0] for note in notes] == [
        "one seed",
        "a note.",
        "differences",
        "smallest difference that these test rows can show (80 % power at 5 %, median over methods)",
        "bold",
    ]


def test_the_tables_of_a_run_have_the_interval_of_each_auc_and_fit_80_columns(tmp_path: Path) -> None:
    maker = RunMaker(tmp_path)
    own = maker.results("pf-msmtrec", 0.7)
    other = maker.results("pooled-mmoe-shared-ids", 0.6, family="pooled", parameters="global")
    macro = {"ctr": own.macro["ctr"].model_copy(update={"interval": Interval(low=0.65, high=0.75)})}
    lag = DrawnDifference(
        reference="pooled-mmoe-shared-ids", task="ctr", difference=-0.1, interval=Interval(low=-0.2, high=-0.05), p=0.01
    )
    own = own.model_copy(update={"macro": own.macro | macro, "differences": [lag], "draws": 200})
    ctr, ctcvr = map(as_text, compact_run_tables([own, other]))
    assert ctr.splitlines() == [
        "ctr on böden & co: test AUC, mean over scenarios, seed 0",
        "",
        "                                                               difference to",
        "method                     AUC          interval                  pf-msmtrec",
        "----------------------------------------------------------------------------",
        "pf-msmtrec              0.7000  [0.6500, 0.7500]",
        "pooled-mmoe-shared-ids  0.6000                    -0.1000 [-0.2000, -0.0500]",
    ]
    assert ctcvr.splitlines()[-2:] == ["US: negatives are <sampled>.", "intervals: 95 %, over 200 draws of test users."]
    assert all(len(line) <= 80 for table in (ctr, ctcvr) for line in table.splitlines())
