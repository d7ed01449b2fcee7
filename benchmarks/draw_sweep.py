"""Draw the mean test AUC of several comparisons over the setting in which they differ, and print it as a table.

    for level in 0 0.5 1; do
      pfmsmtrec compare synthetic --set data.synthetic.scenario_conflict=$level --output dial/$level
    done
    python benchmarks/draw_sweep.py 0=dial/0 0.5=dial/0.5 1=dial/1 --setting "conflict between scenarios" --output dial

Bands are one standard deviation between seeds. Methods that one of the comparisons lacks are left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.report.figures.style import colour, dash, marker, panels, put_legend, style
from pfmsmtrec_flwr.results.means import Spread
from pfmsmtrec_flwr.results.rendering import as_markdown
from pfmsmtrec_flwr.results.summary import Summary, read_summary
from pfmsmtrec_flwr.results.tables import Cell, FigureTable, Group, figure_cell, marked

Level = tuple[float, Summary]


def read_level(text: str) -> Level:
    """Read ``VALUE=DIR``."""
    value, equals, folder = text.partition("=")
    try:
        number = float(value)
        summary = read_summary(Path(folder)) if equals else None
    except ValueError:
        raise argparse.ArgumentTypeError(f"got '{text}', expected VALUE=DIR such as 0.5=dial/0.5") from None
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if summary is None:
        raise argparse.ArgumentTypeError(f"got '{text}', expected VALUE=DIR with the folder of a finished comparison")
    return number, summary


def spread_of(summary: Summary, method: str, task: str) -> Spread | None:
    """Return the AUC of a method's models in a task, mean over scenarios; None where it has none."""
    line = summary.line(method)
    return line.tasks[task].auc if line is not None and task in line.tasks else None


def common_methods(levels: Sequence[Level]) -> list[str]:
    """Return the methods that every comparison has, in the order of the first."""
    names = [line.variant for line in levels[0][1].lines if line.which == "model"]
    return [name for name in names if all(summary.line(name) is not None for _, summary in levels)]


def draw(levels: Sequence[Level], methods: Sequence[str], setting: str, stem: Path) -> None:
    """Save a panel for each task as SVG and PNG."""
    tasks = levels[0][1].tasks
    with style():
        figure, axes = panels(len(tasks), len(methods), height=1.9)
        for panel, task in zip(axes, tasks, strict=True):
            for place, method in enumerate(methods):
                points = [(level, spread_of(summary, method, task)) for level, summary in levels]
                found = [(level, spread) for level, spread in points if spread is not None]
                xs = [level for level, _ in found]
                means = [spread.mean for _, spread in found]
                widths = [spread.sd or 0.0 for _, spread in found]
                panel.plot(xs, means, dash(place), marker=marker(place), color=colour(place), label=method)
                low = [mean - width for mean, width in zip(means, widths, strict=True)]
                high = [mean + width for mean, width in zip(means, widths, strict=True)]
                panel.fill_between(xs, low, high, color=colour(place), alpha=0.15, linewidth=0)
            panel.set_ylabel(f"AUC, {task}")
        axes[-1].set_xlabel(setting)
        put_legend(figure, *axes)
        stem.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(f"{stem}.svg", metadata={"Date": None})
        figure.savefig(f"{stem}.png")


def table_of(levels: Sequence[Level], methods: Sequence[str], setting: str) -> FigureTable:
    """Return a row for each level and task; the methods in the lead are marked, where intervals are known."""
    rows = []
    for level, summary in levels:
        for task in summary.tasks:
            cells = [figure_cell(spread_of(summary, method, task)) for method in methods]
            leading = () if summary.bootstrap is None else summary.bootstrap.leading(task)
            bold = [method in leading for method in methods]
            rows.append((Cell(f"{level:g}"), Cell(task), *marked(cells, "higher", bold)))
    title = f"{levels[0][1].dataset}: test AUC by {setting}, mean over scenarios, ± standard deviation between seeds"
    return FigureTable("sweep", title, (setting, "task", *methods), 2, (Group("", tuple(rows)),))


def main() -> None:
    """Read the comparisons, draw them, print their table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("levels", nargs="+", type=read_level, metavar="VALUE=DIR")
    parser.add_argument("--setting", default="setting", help="meaning of VALUE, for the axis and the table")
    parser.add_argument("--methods", default="", help="names with commas between; default: all common ones")
    parser.add_argument("--output", type=Path, default=Path("sweep"), help="path of the pictures without their ending")
    arguments = parser.parse_args()
    levels = sorted(arguments.levels, key=lambda level: level[0])
    common = common_methods(levels)
    methods = [name.strip() for name in arguments.methods.split(",")] if arguments.methods else common
    if missing := [name for name in methods if name not in common]:
        parser.error(f"got the methods {', '.join(missing)}, expected some of {', '.join(common)}")
    draw(levels, methods, arguments.setting, arguments.output)
    print(as_markdown(table_of(levels, methods, arguments.setting)))


if __name__ == "__main__":
    main()
