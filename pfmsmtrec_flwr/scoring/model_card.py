"""Model card: a short page for people beside each saved model.

It says what the model was trained on, how good it is, what left the site, and under which settings it was made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import pfmsmtrec_flwr
from pfmsmtrec_flwr.config import SECTIONS, RunConfig
from pfmsmtrec_flwr.data.schema.document import SCHEMA_NAME, load_schema
from pfmsmtrec_flwr.data.store.reader import ScenarioStore, made_up_rows, unlabelled_rows
from pfmsmtrec_flwr.results.drawn import drawn_interval
from pfmsmtrec_flwr.scoring.finished_model import FinishedModel
from pfmsmtrec_flwr.scoring.kept_encoders import MADE_UP
from pfmsmtrec_flwr.scoring.saved_model import ModelDescription
from pfmsmtrec_flwr.validation import dump_yaml

CARD_NAME = "MODEL_CARD.md"

_PAGE = Template("""# $method, $scenario of $dataset

Predicts $tasks. Seed $seed, $selected. Written by
pfmsmtrec-flwr $version; `pfmsmtrec predict` $use.

## Data

$source

$rows

$inputs$remarks

## Figures on test rows

$figures

$intervals

## Calibration

$calibration

## What stayed at the site

$stayed

## Settings

Settings that differ from their defaults, and the method's own:

```yaml
$settings```
""")
_MISSING = "n/a"


@dataclass(frozen=True, slots=True)
class CardContent:
    """Content of a card.

    Attributes
    ----------
    model
        Finished model.
    description
        Its description.
    store
        Prepared data on which it was trained.
    config
        Configuration under which its method ran.
    """

    model: FinishedModel
    description: ModelDescription
    store: ScenarioStore
    config: RunConfig


def model_card(content: CardContent, folder: Path) -> str:
    """Return the text of a model's card.

    Parameters
    ----------
    content
        Content of the card.
    folder
        Folder of the model, which holds the schema of its data if it can score raw rows.
    """
    model, description, store = content.model, content.description, content.store
    unscorable = description.unscorable
    drawn = any(len(own) for own in model.draws.values())
    return _PAGE.substitute(
        method=description.method,
        scenario=description.scenario,
        dataset=description.dataset,
        tasks=", ".join(description.spec.tasks),
        seed=description.seed,
        selected=_selected(description),
        version=pfmsmtrec_flwr.__version__,
        use=f"cannot score raw rows: {unscorable}" if unscorable else "scores raw rows with this folder",
        source=_source(folder, unscorable),
        rows=_rows(store, content.config),
        inputs=_inputs(store),
        remarks="".join(f"\n{remark}." for remark in (made_up_rows(store), unlabelled_rows(store)) if remark),
        figures=_figures(content),
        intervals=f"95 % intervals over {content.config.federation.draws} draws of test users."
        if drawn
        else "The run measured no intervals.",
        calibration=_calibration(content),
        stayed=_stayed(model),
        settings=dump_yaml(dict(_settings(content.config))),
    )


def _selected(description: ModelDescription) -> str:
    if description.kind == "floor":
        return "fitted once, without a network"
    return f"parameters of round {description.selected_round}, chosen on validation rows"


def _source(folder: Path, unscorable: str) -> str:
    if unscorable == MADE_UP:
        return "Made-up rows, without a licence of their own."
    if unscorable:
        return "The licence of the data is not known here: its schema is not kept beside the model."
    schema = load_schema(folder / SCHEMA_NAME)
    return f"{schema.title}, {schema.url}. Licence of the data: {schema.licence}."


def _rows(store: ScenarioStore, config: RunConfig) -> str:
    lines = [
        (name, f"{len(rows):,}", *(f"{count:,}" for count in store.positives(name)))
        for name, rows in store.splits.items()
    ]
    table = _table(("split", "rows", *(f"positive in {task}" for task in store.tasks)), lines)
    share = config.data.train_fraction
    return table if share == 1 else f"{table}\n\nThe run used {share:.0%} of the training rows."


def _inputs(store: ScenarioStore) -> str:
    def names(federated: bool) -> str:
        return ", ".join(field.name for field in store.fields if field.federated == federated) or "none"

    return (
        f"Fields with a shared vocabulary: {names(True)}. Fields with a vocabulary of the site: {names(False)}. "
        f"Numeric columns: {', '.join(store.numeric) or 'none'}."
    )


def _figures(content: CardContent) -> str:
    figures = content.model.figures

    def line(task: str) -> Sequence[str]:
        interval = drawn_interval(figures.get(f"auc.{task}"), content.model.draws.get(task))
        return (
            task,
            f"{figures[f'examples.{task}']:,.0f}",
            f"{figures[f'positives.{task}']:,.0f}",
            _number(figures.get(f"auc.{task}")),
            _MISSING if interval is None else f"[{interval.low:.4f}, {interval.high:.4f}]",
            *(_number(figures.get(f"{name}.{task}")) for name in ("logloss", "logloss_calibrated")),
            *(_number(figures.get(f"{name}.{task}"), 3) for name in ("calibration", "calibration_calibrated")),
        )

    heads = ("task", "rows", "positives", "AUC", "95 % interval", "log loss", "calibrated")
    lines = [line(task) for task in content.description.spec.tasks]
    return _table((*heads, "predicted over observed", "calibrated"), lines)


def _number(value: float | None, digits: int = 4) -> str:
    return _MISSING if value is None else f"{value:.{digits}f}"


def _calibration(content: CardContent) -> str:
    calibration = content.model.calibration
    if calibration is None:
        return "None: scores are the predictions of the network."
    lines = [
        (task, f"{own.rows:,}", f"{own.positives:,}", _number(own.before, 3), _number(own.after, 3))
        for task, own in calibration.tasks.items()
    ]
    heads = ("task", "validation rows", "positives", "predicted over observed", "calibrated")
    without = [task for task in content.description.spec.tasks if task not in calibration.tasks]
    return "\n\n".join(
        [
            f"A curve for each task ({calibration.kind}), fitted on validation rows. `--raw` gives scores without it.",
            *([_table(heads, lines)] if lines else []),
            *([f"Not calibrated, without a labelled validation row: {', '.join(without)}."] if without else []),
        ]
    )


def _stayed(model: FinishedModel) -> str:
    if model.travelled is None:
        if not model.scenario_value:
            return "The model is of this scenario's rows alone, and was fitted where the rows of all scenarios are."
        return (
            "Nothing: the method trained on the rows of all scenarios in one place. Of their tables of local fields, "
            "this folder has the rows of its own scenario."
        )
    if not model.travelled:
        return "The rows and the whole model. Sizes and figures went to the server."
    return (
        f"Rows, labels, user ids, vocabularies, calibration and all parts of the model but these: "
        f"{', '.join(model.travelled)}. Sizes and figures went to the server too."
    )


def _settings(config: RunConfig) -> Iterator[tuple[str, Any]]:
    """Yield the settings that differ from their defaults, by dotted key, and all of the method's own."""
    default = RunConfig().model_dump(mode="json")
    own = config.model_dump(mode="json")
    for section in SECTIONS:
        for key, value in own[section].items():
            if value != default[section][key]:
                yield f"{section}.{key}", value
    for key, value in own["methods"].get(config.method, {}).items():
        if "." not in key:
            yield f"{config.method}.{key}", value


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---", *(["---:"] * (len(heads) - 1))]
    return "\n".join(f"| {' | '.join(line)} |" for line in (heads, rule, *lines))
