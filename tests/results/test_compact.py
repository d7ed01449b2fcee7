"""The tables of a comparison for a narrow terminal."""

from __future__ import annotations

from compared import finished_of, run_results

from pfmsmtrec_flwr.results.bootstrap import Bootstrap, Leaders, PairedDifference
from pfmsmtrec_flwr.results.compact import compact_tables
from pfmsmtrec_flwr.results.rendering import as_markdown
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
