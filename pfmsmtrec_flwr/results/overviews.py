"""The tables of a run, of a comparison and of a report."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from pfmsmtrec_flwr.results.bootstrap import Bootstrap
from pfmsmtrec_flwr.results.calibrated_notes import calibrated_notes
from pfmsmtrec_flwr.results.frame import MEAN, Figures, Line, Metric
from pfmsmtrec_flwr.results.intervals import (
    BOLD_NOTE,
    TESTED_SEEDS,
    Bold,
    bold_by,
    difference_cells,
    interval_notes,
    p_cell,
)
from pfmsmtrec_flwr.results.means import spread
from pfmsmtrec_flwr.results.schema import DrawnDifference, MacroResult, RunResults, TaskResult, notes_of
from pfmsmtrec_flwr.results.summary import Against, Described, Joined, LineSummary, Summary, TaskSummary
from pfmsmtrec_flwr.results.tables import (
    MISSING,
    Better,
    Cell,
    FigureTable,
    Group,
    Row,
    figure_cell,
    marked,
    share_cell,
)

BASELINE = "alone"
"""Method from which the gap to the best attainable figure is measured."""
TITLES: dict[Metric, str] = {
    "auc": "AUC",
    "logloss": "log loss",
    "logloss_calibrated": "log loss, calibrated",
    "gauc": "GAUC",
    "gauc_coverage": "share of impressions that count in GAUC",
    "calibration": "calibration, predicted over observed positives",
    "calibration_calibrated": "calibration of the calibrated predictions",
}
_BETTER: dict[Metric, Better] = {"auc": "higher", "gauc": "higher", "logloss": "lower", "logloss_calibrated": "lower"}
_RATIOS: tuple[Metric, ...] = ("calibration", "calibration_calibrated")


def file_name(*parts: str) -> str:
    """Return the stem of a file, of letters, digits and hyphens that any system takes.

    >>> file_name("learning", "tab 1/NL")
    'learning-tab-1-NL'
    """
    return re.sub(r"[^\w.-]+", "-", "-".join(parts))


def gap_closed(auc: float | None, baseline: float | None, best: float | None) -> float | None:
    """Return the share of the way from `baseline` to `best` that `auc` has made; None where there is no way to make.

    >>> gap_closed(0.65, 0.60, 0.70)
    0.5
    """
    if auc is None or baseline is None or best is None or best <= baseline:
        return None
    return round((auc - baseline) / (best - baseline), 9)


def run_table(runs: Sequence[RunResults]) -> FigureTable:
    """Return the table of a run: a comparison with one seed.

    Parameters
    ----------
    runs
        Results of the run's own method, then of its reference methods.
    """
    own, *references = runs
    against = f" against {', '.join(other.method for other in references)}" if references else ""
    title = (
        f"{own.method}{against} on {own.dataset}, test data, seed {own.seed}, "
        f"{own.rounds} round{'' if own.rounds == 1 else 's'}"
    )
    figures = Figures({results.method: [results] for results in runs})
    lines = figures.models
    notes = (*notes_of(runs), *_drawn_notes(own), *calibrated_notes(runs))
    table = scenario_table(figures, lines, ("auc", "logloss"), title, gap_of=lines[0], notes=notes)
    # A mean over fewer scenarios than those of the table is n/a there.
    means = own.macro if own.scenarios.keys() == set(figures.scenarios) else {}
    return _with_intervals(table, own, means) if own.draws else table


def _drawn_notes(own: RunResults) -> list[str]:
    """Return what a reader of a run's intervals needs to know, and the differences of its reference methods."""
    if not own.draws:
        return []
    found: dict[str, list[str]] = {}
    for each in own.differences:
        found.setdefault(each.reference, []).append(f"{each.task} {drawn_text(each)}")
    return [
        f"95 % interval: of the AUC of {own.method}, over {own.draws} draws of test users (rows where there are none)",
        *(f"AUC of {name} less that of {own.method}, same draws: {', '.join(all_)}" for name, all_ in found.items()),
    ]


def drawn_text(each: DrawnDifference) -> str:
    """Return a difference of a reference method with its interval."""
    return f"{each.difference:+.4f} [{each.interval.low:+.4f}, {each.interval.high:+.4f}]"


def _with_intervals(table: FigureTable, own: RunResults, macro: Mapping[str, MacroResult]) -> FigureTable:
    """Return the table of a run with the intervals of its own method's AUC, and of the means, as a last column."""

    def with_interval(row: Row, figures: Mapping[str, TaskResult] | Mapping[str, MacroResult]) -> Row:
        known = figures.get(row[1].text)
        interval = None if known is None else known.interval
        return (*row, Cell(MISSING if interval is None else f"[{interval.low:.4f}, {interval.high:.4f}]"))

    scenarios, *means = table.groups
    tasks = {name: scenario.tasks for name, scenario in own.scenarios.items()}
    groups = [
        Group(scenarios.name, tuple(with_interval(row, tasks.get(row[0].text, {})) for row in scenarios.rows)),
        *(Group(group.name, tuple(with_interval(row, macro) for row in group.rows)) for group in means),
    ]
    return replace(table, heads=(*table.heads, f"95 % interval\n{own.method}"), groups=tuple(groups))


def scenario_table(
    figures: Figures,
    lines: Sequence[Line],
    metrics: Sequence[Metric],
    title: str,
    *,
    gap_of: Line | None = None,
    notes: Sequence[str] = (),
    bold: Bold | None = None,
) -> FigureTable:
    """Return a row for each scenario and task, then the means over scenarios; lines stand side by side.

    Parameters
    ----------
    figures
        Test figures.
    lines
        Lines to show, beside the best attainable figures if they are known.
    metrics
        Figures to show, one after the other.
    title, notes
        Words above and below the table.
    gap_of
        Line whose share of the way from `BASELINE` to the best attainable AUC is shown; None: no share.
    bold
        Function that returns which lines are marked; None: the best of them.
    """
    baseline = next((line for line in lines if line.variant == BASELINE and line != gap_of), None)
    gap = (gap_of, baseline) if gap_of is not None and baseline is not None and figures.has_best else None
    labels = [*(line.label for line in lines), *(["best"] if figures.has_best else [])]
    heads = ["scenario", "task"]
    for metric in metrics:
        heads += labels if len(metrics) == 1 else [f"{TITLES[metric]}\n{label}" for label in labels]
        heads += ["gap\nclosed"] if gap and metric == "auc" else []

    def row(task: str, scenario: str) -> Row:
        cells = [Cell(scenario or figures.mean_label), Cell(task)]
        for metric in metrics:
            own = [figure_cell(figures.spread(line, metric, task, scenario)) for line in lines]
            cells += marked(own, _BETTER.get(metric, "neither"), None if bold is None else bold(lines, task, scenario))
            cells += [figure_cell(figures.best(metric, task, scenario))] if figures.has_best else []
            if gap and metric == "auc":
                cells.append(_gap_cell(figures, *gap, task, scenario))
        return tuple(cells)

    pairs = [(task, name) for name in figures.scenarios for task in figures.tasks if name in figures.having(task)]
    groups = [Group("", tuple(row(*pair) for pair in pairs))]
    if len(figures.scenarios) > 1:
        groups.append(Group("", tuple(row(task, MEAN) for task in figures.tasks)))
    return FigureTable("scenarios", title, tuple(heads), 2, tuple(groups), tuple(notes))


def _gap_cell(figures: Figures, line: Line, baseline: Line, task: str, scenario: str) -> Cell:
    found = (
        figures.spread(line, "auc", task, scenario),
        figures.spread(baseline, "auc", task, scenario),
        figures.best("auc", task, scenario),
    )
    return share_cell(gap_closed(*(None if each is None else each.mean for each in found)))


def comparison_tables(summary: Summary, figures: Figures) -> list[FigureTable]:
    """Return all tables of a comparison."""
    title = f"{summary.dataset}: AUC on test rows, mean ± sd over {seeds_text(summary)}"
    notes = [*summary.notes, *([BOLD_NOTE] if summary.bootstrap is not None else interval_notes(summary))]
    scenarios = scenario_table(figures, figures.lines, ("auc",), title, notes=notes, bold=bold_by(summary.bootstrap))
    more = [differences_table(summary)] if summary.bootstrap is not None else []
    return [means_table(summary), scenarios, *more, *([joining_table(summary)] if summary.joined else [])]


def means_table(summary: Summary) -> FigureTable:
    """Return a row for each task and method: means over scenarios, tests against the reference, and costs."""
    described = {variant.name: variant for variant in summary.variants}
    calibrated = any(own.logloss_calibrated for line in summary.lines for own in line.tasks.values())
    rows = [
        _mean_row(summary, task, line, described[line.variant], calibrated)
        for task in summary.tasks
        for line in summary.lines
    ]
    heads = ("task", "method", "family", "parameters", "AUC", "worst scenario", "log loss")
    own = ("calibrated",) if calibrated else ()
    probabilities = (*own, "GAUC (coverage)", "calibration", *own)
    against = (f"difference to {summary.reference}", "p (Holm)")
    over_seeds = (f"win/tie/loss to {summary.reference}", "p over seeds (Holm)")
    more = (*probabilities, *against, *over_seeds, "over alone", "MB", "seconds", "trials")
    title = f"{summary.dataset}: means over scenarios on test rows, mean ± sd over {seeds_text(summary)}"
    notes = (*summary.notes, *interval_notes(summary))
    return FigureTable("means", title, heads + more, 4, (Group("", tuple(rows)),), notes)


def _mean_row(summary: Summary, task: str, line: LineSummary, variant: Described, calibrated: bool) -> Row:
    own = line.tasks[task]
    consensus = line.which == "consensus"
    leading = () if summary.bootstrap is None else summary.bootstrap.leading(task)
    return (
        Cell(task),
        Cell(Line(line.variant, "consensus" if consensus else variant.parameters, variant.family).label),
        Cell(variant.family),
        Cell("consensus" if consensus else variant.parameters),
        replace(figure_cell(own.auc), best=not consensus and line.variant in leading),
        Cell(MISSING if own.worst is None else f"{own.worst.auc:.4f} ({own.worst.scenario})"),
        figure_cell(own.logloss),
        *([figure_cell(own.logloss_calibrated)] if calibrated else []),
        _gauc(own),
        figure_cell(own.calibration, 3),
        *([figure_cell(own.calibration_calibrated, 3)] if calibrated else []),
        *(difference_cells(summary, line.variant, task) if own.against is not None else (Cell(""), Cell(""))),
        *_against(own.against),
        Cell(MISSING if own.improvement is None else f"{own.improvement:+.1%}"),
        figure_cell(line.megabytes, 2),
        figure_cell(line.seconds, 1),
        Cell(str(variant.trials)),
    )


def _gauc(own: TaskSummary) -> Cell:
    if own.gauc is None or own.gauc_coverage is None:
        return Cell(MISSING)
    return Cell(f"{figure_cell(own.gauc)} ({own.gauc_coverage.mean:.0%})")


def _against(against: Against | None) -> tuple[Cell, Cell]:
    if against is None:
        return Cell(""), Cell("")
    p = against.t_test_holm if against.seeds >= TESTED_SEEDS else None
    return Cell(f"{against.win}/{against.tie}/{against.loss}"), p_cell(p)


def seeds_text(summary: Summary) -> str:
    """Return the number of seeds in words."""
    count = len(summary.seeds)
    return f"{count} seed{'' if count == 1 else 's'}"


def differences_table(summary: Summary) -> FigureTable:
    """Return a row for each variant: its AUC in each task, mean over scenarios, and the difference to the reference."""
    described = {variant.name: variant for variant in summary.variants}
    own = [line for line in summary.lines if line.which == "model"]
    lines = [Line(line.variant, described[line.variant].parameters, described[line.variant].family) for line in own]
    columns: list[Sequence[Cell]] = [[Cell(line.variant) for line in lines]]
    if any(variant.what for variant in summary.variants):
        columns.append([Cell(described[line.variant].what) for line in lines])
    words = len(columns)
    for task in summary.tasks:
        aucs = [figure_cell(line.tasks[task].auc) for line in own]
        columns.append(marked(aucs, "higher", bold_by(summary.bootstrap)(lines, task, MEAN)))
        columns += zip(*(difference_cells(summary, line.variant, task) for line in lines), strict=True)
    heads = [
        head
        for task in summary.tasks
        for head in (f"AUC, {task}", f"difference to {summary.reference}, {task}", f"p (Holm), {task}")
    ]
    return FigureTable(
        "differences",
        f"{summary.dataset}: AUC on test rows, mean over scenarios ± sd over {seeds_text(summary)}, and differences to "
        f"{summary.reference} with 95 % intervals",
        (*("method", "change")[:words], *heads),
        words,
        (Group("", tuple(zip(*columns, strict=True))),),
        tuple(interval_notes(summary)),
    )


def joining_table(summary: Summary) -> FigureTable:
    """Return a row for each method, scenario, task and share of rows: AUC from the consensus, and from scratch."""
    by_key: dict[tuple[str, str, str, float], list[Joined]] = {}
    for each in summary.joined:
        by_key.setdefault((each.method, each.scenario, each.task, each.share), []).append(each)
    rows = []
    for (method, scenario, task, share), own in by_key.items():
        starts = (
            spread(each.auc for each in own if each.start == "consensus"),
            spread(each.auc for each in own if each.start == "scratch"),
        )
        rows.append((Cell(method), Cell(scenario), Cell(task), share_cell(share), *map(figure_cell, starts)))
    return FigureTable(
        "joining",
        f"{summary.dataset}: AUC on test rows of a scenario that joins later and trains alone on a share of its rows, "
        f"mean ± sd over {seeds_text(summary)}",
        ("method", "scenario", "task", "share of rows", "joined with consensus", "from scratch"),
        4,
        (Group("", tuple(rows)),),
    )


def data_table(figures: Figures) -> FigureTable:
    """Return the scenarios' sizes and, by task, the positives in their test rows.

    Where test rows lack a label of a task, the number of those that have one follows.
    """
    splits = ("train", "validation", "test")
    lacking = [
        task
        for task in figures.tasks
        if any(figures.fact("examples", task, name) != figures.fact("test", "", name) for name in figures.having(task))
    ]
    rows = []
    for name in figures.scenarios:
        sizes = [figures.fact(split, "", name) for split in splits]
        positives = [figures.fact("positives", task, name) for task in figures.tasks]
        labelled = [figures.fact("examples", task, name) for task in lacking]
        rows.append((Cell(name), *(figure_cell(count, 0) for count in (*sizes, *positives, *labelled))))
    heads = (
        *("scenario", *splits),
        *(f"positives of {task} in test" for task in figures.tasks),
        *(f"rows with a label of {task} in test" for task in lacking),
    )
    return FigureTable("data", "Impressions of each scenario", heads, 1, (Group("", tuple(rows)),))


def ranking_table(figures: Figures, bootstrap: Bootstrap | None = None) -> FigureTable:
    """Return every line's mean AUC over scenarios and its place, by task; the variants in the lead are marked."""
    columns = []
    for task in figures.tasks:
        places = {line: place for place, (line, _) in enumerate(figures.ranked(task), 1)}
        cells = [figure_cell(figures.spread(line, "auc", task)) for line in figures.lines]
        columns.append(marked(cells, "higher", bold_by(bootstrap)(figures.lines, task, MEAN)))
        columns.append([Cell(str(places.get(line, MISSING))) for line in figures.lines])
    columns.append([Cell(str(len(figures.values(line, "rounds")))) for line in figures.lines])
    heads = [head for task in figures.tasks for head in (task, f"place, {task}")]
    return FigureTable(
        "ranking",
        "Macro AUC on test rows (mean over scenarios), with the standard deviation over seeds",
        ("method", "model", *heads, "seeds"),
        2,
        _by_family(figures.lines, columns),
    )


def measure_tables(figures: Figures, metric: Metric, bootstrap: Bootstrap | None = None) -> Iterator[FigureTable]:
    """Return a table for each task in which some line has the figure: lines by scenarios, and their mean.

    Parameters
    ----------
    figures
        Test figures.
    metric
        Figure to show; of a ratio, such as the calibration, there is no mean.
    bootstrap
        Intervals of differences in AUC, by which the variants in the lead are marked; without, none is.
    """
    for task in figures.tasks:
        if figures.counted(metric, task):
            yield _measure_table(figures, metric, task, bold_by(bootstrap if metric == "auc" else None))


def _measure_table(figures: Figures, metric: Metric, task: str, bold: Bold) -> FigureTable:
    names = figures.having(task)
    shown = names if metric in _RATIOS or len(names) < 2 else (*names, MEAN)
    columns = [
        marked(
            [figure_cell(figures.spread(line, metric, task, name)) for line in figures.lines],
            _BETTER.get(metric, "neither"),
            bold(figures.lines, task, name),
        )
        for name in shown
    ]
    groups = list(_by_family(figures.lines, columns))
    best = [figures.best(metric, task, name) for name in shown]
    if any(figure is not None for figure in best):
        words = (Cell("best attainable"), Cell("true probabilities"))
        groups.append(Group("attainable", ((*words, *map(figure_cell, best)),)))
    if metric == "gauc":
        covered = [share_cell(figures.fact("gauc_coverage", task, name), 1) if name else Cell("") for name in shown]
        groups.append(Group("coverage", ((Cell("share of impressions that count"), Cell(""), *covered),)))
    heads = ("method", "model", *(name or figures.mean_label for name in shown))
    return FigureTable(file_name(metric, task), f"{task}: {TITLES[metric]} on test rows", heads, 2, tuple(groups))


def cost_table(figures: Figures) -> FigureTable:
    """Return what a run of each method costs."""
    costs = {
        "rounds": ("rounds", 1),
        "total, s": ("seconds", 1),
        "waiting for training, s": ("train_seconds", 1),
        "server, s": ("aggregate_seconds", 1),
        "up, MB": ("up_megabytes", 2),
        "down, MB": ("down_megabytes", 2),
    }
    columns = [
        [figure_cell(figures.spread(line, metric), digits) for line in figures.models]
        for metric, digits in costs.values()
    ]
    groups = _by_family(figures.models, columns, models=False)
    return FigureTable("cost", "Rounds, wall-clock time and traffic of one run", ("method", *costs), 1, groups)


def _by_family(lines: Sequence[Line], columns: Sequence[Sequence[Cell]], models: bool = True) -> tuple[Group, ...]:
    """Return a row for each line, grouped by family; lines of a family follow each other."""
    rows = []
    for line, cells in zip(lines, zip(*columns, strict=True), strict=True):
        words = (Cell(line.variant), Cell(line.model)) if models else (Cell(line.variant),)
        rows.append((line.family, (*words, *cells)))
    families = groupby(rows, lambda pair: pair[0])
    return tuple(Group(family, tuple(row for _, row in own)) for family, own in families)
