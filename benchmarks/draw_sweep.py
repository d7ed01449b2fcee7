"""Draw the mean test AUC of several comparisons over the setting in which they differ, and print it as a table.

    for level in 0 0.5 1; do
      pfmsmtrec compare synthetic --set data.synthetic.scenario_conflict=$level --output dial/$level
    done
    python benchmarks/draw_sweep.py 0=dial/0 0.5=dial/0.5 1=dial/1 --setting "conflict between scenarios" --output dial

Bands are one standard deviation between seeds. Methods that some comparison lacks are left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from pfmsmtrec_flwr.comparison.summary import Spread, Summary, read_summary
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.report.figures.style import colour, dash, marker, panels, put_legend, style

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


def table(levels: Sequence[Level], methods: Sequence[str], setting: str) -> str:
    """Return the figures as a Markdown table, the best of a row in bold."""
    lines = [f"| {setting} | task | {' | '.join(methods)} |", "|---" * (len(methods) + 2) + "|"]
    for level, summary in levels:
        for task in summary.tasks:
            found = [spread_of(summary, method, task) for method in methods]
            best = max((spread.mean for spread in found if spread is not None), default=None)
            cells = [_cell(spread, best) for spread in found]
            lines.append(f"| {level:g} | {task} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(spread: Spread | None, best: float | None) -> str:
    if spread is None:
        return "n/a"
    text = f"{spread.mean:.4f}" + (f" ± {spread.sd:.4f}" if spread.sd is not None else "")
    return f"**{text}**" if spread.mean == best else text


def main() -> None:
    """Read the comparisons, draw them, print their table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("levels", nargs="+", type=read_level, metavar="VALUE=DIR")
    parser.add_argument("--setting", default="setting", help="what VALUE is, for the axis and the table")
    parser.add_argument("--methods", default="", help="names with commas between; none given: all that are common")
    parser.add_argument("--output", type=Path, default=Path("sweep"), help="files without their ending")
    arguments = parser.parse_args()
    levels = sorted(arguments.levels, key=lambda level: level[0])
    common = common_methods(levels)
    methods = [name.strip() for name in arguments.methods.split(",")] if arguments.methods else common
    if missing := [name for name in methods if name not in common]:
        parser.error(f"got the methods {', '.join(missing)}, expected some of {', '.join(common)}")
    draw(levels, methods, arguments.setting, arguments.output)
    print(table(levels, methods, arguments.setting))


if __name__ == "__main__":
    main()
