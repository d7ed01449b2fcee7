"""The page of a report: its sections, and its pictures and tables as files."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from pfmsmtrec_flwr import __version__
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.report.figures.attention import draw_attention
from pfmsmtrec_flwr.report.figures.conflict import draw_conflicts
from pfmsmtrec_flwr.report.figures.gates import draw_gates
from pfmsmtrec_flwr.report.figures.learning import draw_learning
from pfmsmtrec_flwr.report.figures.looks import looks_of
from pfmsmtrec_flwr.report.figures.ranking import draw_rankings
from pfmsmtrec_flwr.report.figures.shares import draw_shares
from pfmsmtrec_flwr.report.figures.style import Drawing, listed, style
from pfmsmtrec_flwr.report.figures.traffic import draw_traffic
from pfmsmtrec_flwr.report.page_template import PAGE_TEMPLATE
from pfmsmtrec_flwr.report.settings import settings_table
from pfmsmtrec_flwr.report.study import Study
from pfmsmtrec_flwr.results.frame import Metric
from pfmsmtrec_flwr.results.overviews import cost_table, data_table, differences_table, measure_tables, ranking_table
from pfmsmtrec_flwr.results.rendering import FORMS, TABLES_NAME, write_tables
from pfmsmtrec_flwr.results.tables import LEVELS, FigureTable

_PROBABILITIES: tuple[Metric, ...] = ("logloss", "logloss_calibrated", "calibration", "calibration_calibrated")
_UNDATED: dict[str, dict[str, str | None]] = {
    "svg": dict.fromkeys(("Date", "Creator", "Format", "Type")),
    "png": {"Software": None},
    "pdf": {"CreationDate": None},
}
"""Metadata left out, so that the same results give the same files."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture in the form that the page holds."""

    name: str
    caption: str
    svg: Markup


@dataclass(frozen=True, slots=True)
class PageSection:
    """A section of the page; left out if it has neither tables nor pictures."""

    anchor: str
    title: str
    text: str = ""
    tables: tuple[FigureTable, ...] = ()
    pictures: tuple[Shown, ...] = ()


Save = Callable[[Iterable[Drawing]], tuple[Shown, ...]]
"""Function that saves pictures and returns the form that the page holds."""


def write_page(study: Study, output: Path, figures: Path, formats: Sequence[str]) -> Path:
    """Write the page, and its pictures and tables as files.

    Parameters
    ----------
    study
        Finished runs.
    output
        File of the page; the tables go to a folder beside it.
    figures, formats
        Folder and formats of the pictures.

    Raises
    ------
    UserError
        A file cannot be written.
    """
    try:
        for folder in (output.parent, figures):
            folder.mkdir(parents=True, exist_ok=True)
        with style():
            made = list(_sections(study, lambda drawings: tuple(_shown(each, figures, formats) for each in drawings)))
        sections = [section for section in made if section.tables or section.pictures]
        write_tables((table for section in sections for table in section.tables), output.parent / TABLES_NAME)
        output.write_text(_html(study, sections, figures.name, formats), encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {error.filename or output}: {error.strerror}") from None
    return output


def _sections(study: Study, save: Save) -> Iterator[PageSection]:
    figures = study.figures
    yield PageSection(
        "result",
        "The result at a glance",
        "Methods by the mean of their test AUC over scenarios, which all count alike. Personalised: every scenario "
        "ends with a model of its own; global: all with the same; consensus: the mean of the personalised models.",
        (ranking_table(figures, study.bootstrap),),
        pictures=save(draw_rankings(figures)),
    )
    yield PageSection(
        "differences",
        "Differences and what the test rows can show",
        "The AUC of each method less that of the reference, with the interval within which the difference lies if the "
        "test users were others.",
        tables=(differences_table(study.summary),) if study.summary is not None and study.bootstrap is not None else (),
    )
    yield PageSection(
        "auc",
        "AUC by scenario",
        "Test rows, at the round chosen on validation rows; with several seeds mean and standard deviation. The darker "
        "a cell, the nearer to the best of its column. Bold and underlined: the best, and all whose interval of the "
        "difference to it contains 0; nothing where that holds for all, or no interval is known.",
        tuple(measure_tables(figures, "auc", study.bootstrap)),
    )
    yield PageSection("learning", "Learning curves", pictures=save(draw_learning(study)))
    yield PageSection("traffic", "Traffic and quality", pictures=save(draw_traffic(figures)))
    yield PageSection(
        "shares",
        "Learned shares",
        "α: share of the coordinated update that a scenario's experts receive; β: share of the attended update that "
        "its towers receive.",
        pictures=save(draw_shares(study)),
    )
    yield PageSection(
        "conflict",
        "Conflict between scenarios",
        "The cosine between two scenarios' updates: 1 where they agree, 0 where they have nothing to do with each "
        "other, below 0 where one undoes the other.",
        pictures=save(draw_conflicts(study)),
    )
    yield PageSection(
        "attention",
        "Attention between towers",
        "The weight that a scenario (row) gives to the tower update of each scenario (column) in the mixture that it "
        "receives. Equal weights are a plain mean; a weight of 1 on the diagonal takes nothing from others.",
        pictures=save(draw_attention(study)),
    )
    yield PageSection("gates", "Use of the experts", pictures=save(draw_gates(study)))
    yield PageSection(
        "probabilities",
        "Probabilities: log loss and calibration",
        "Log loss: the lower the better. Calibration: above 1 the model predicts too many positives. Calibrated "
        "figures are those of the scores of a saved model: predictions recalibrated on the scenario's validation rows.",
        tuple(table for metric in _PROBABILITIES for table in measure_tables(figures, metric)),
    )
    yield PageSection(
        "gauc",
        "GAUC: the order within users",
        "AUC within each user, averaged over users by their impressions; only users with both classes count.",
        tuple(measure_tables(figures, "gauc")),
    )
    yield PageSection(
        "settings",
        "Settings",
        "Settings that differ from their defaults, as each method ran with them; those of the data, of the machine and "
        "of the choice of scenarios and methods are left out.",
        tables=(settings_table(study),) if any(variant.settings for variant in study.variants) else (),
    )
    yield PageSection("cost", "Time and traffic", tables=(cost_table(figures),))
    yield PageSection("data", "The data", tables=(data_table(figures),))


def _shown(drawing: Drawing, figures: Path, formats: Sequence[str]) -> Shown:
    """Save a picture in each format, and return the form that the page holds."""
    drawing.figure.draw_without_rendering()
    drawing.figure.set_layout_engine("none")  # what is laid out stays so in every format
    svg = _saved(drawing, "svg")
    for name in formats:
        content = svg if name == "svg" else _saved(drawing, name)
        (figures / f"{drawing.name}.{name}").write_bytes(content)
    return Shown(drawing.name, drawing.caption, inline_svg(svg.decode(), drawing.name, drawing.alt))


def _saved(drawing: Drawing, kind: str) -> bytes:
    stream = io.BytesIO()
    drawing.figure.savefig(stream, format=kind, metadata=_UNDATED[kind])
    return stream.getvalue()


def inline_svg(svg: str, name: str, alt: str) -> Markup:
    """Return an SVG file as an element of a page, with names of its own and an alternative text.

    Parameters
    ----------
    svg
        Text of the file.
    name
        Name of the picture, unique on the page.
    alt
        Description of the picture in words.
    """
    element = svg[svg.index("<svg ") :]
    element = re.sub(r'\bid="', f'id="{name}-', element)
    element = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", element)
    element = re.sub(r' width="[^"]*" height="[^"]*"', "", element, count=1)  # the page decides; the viewBox stays
    return Markup(element.replace("<svg ", f'<svg role="img" aria-label="{escape(alt)}" ', 1))


def _html(study: Study, sections: Sequence[PageSection], figures: str, formats: Sequence[str]) -> str:
    environment = Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    return environment.from_string(PAGE_TEMPLATE).render(
        study=study,
        sections=sections,
        headlines=[found for task in study.figures.tasks if (found := study.headline(task)) is not None],
        looks=looks_of([variant.name for variant in study.variants]),
        one_class=listed([f"{task} in {scenario}" for scenario, task in study.figures.one_class]),
        run_count=len(list(study.results)),
        listed=listed,
        levels=range(LEVELS),
        figures=figures,
        formats=formats,
        tables=TABLES_NAME,
        forms=FORMS,
        version=__version__,
    )
