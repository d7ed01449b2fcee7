"""Checks of the rows and encodings before a store is written."""

from __future__ import annotations

from pfmsmtrec_flwr.data.prepare.splits import TRAIN, SplitPlan
from pfmsmtrec_flwr.data.prepare.vocabularies import Learned
from pfmsmtrec_flwr.data.schema.document import DatasetSchema
from pfmsmtrec_flwr.data.store.manifest import SPLITS
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.log import logger

_ROWS_OFF = 0.02
_UNKNOWN_WARNED = 0.05
_COLLIDING_WARNED = 0.5


def compare_rows(schema: DatasetSchema, scenario: str, count: int) -> None:
    """Warn if a scenario's number of rows differs from the published one."""
    expected = schema.expected_rows.get(scenario)
    if expected is not None and abs(count - expected) > _ROWS_OFF * expected:
        logger.warning(
            "%s: got %s rows, the published data set has about %s: is the copy complete?",
            scenario,
            f"{count:,}",
            f"{expected:,}",
        )


def check_learned(schema: DatasetSchema, scenario: str, learned: Learned, plan: SplitPlan) -> None:
    """Refuse an empty scenario, an empty split, a split without labels of a task, and a task with one class.

    Raises
    ------
    UserError
        The message names the problem and what to do.
    """
    if not learned.rows.sum():
        column = schema.scenario.column
        why = f"no matching value in column '{column}'" if column else "its files are empty"
        raise UserError(
            f"scenario '{scenario}' has no rows ({why}): "
            "check the source, or prepare only the scenarios that it holds with --scenario"
        )
    for split, count in zip(SPLITS, learned.rows, strict=True):
        if not count:
            raise UserError(
                f"scenario '{scenario}' has no rows in the {split} split ({plan.description}): "
                "change the split rule, or leave the scenario out"
            )
    for place, task in enumerate(schema.tasks_of(scenario)):
        for split, labelled in zip(SPLITS, learned.labelled[:, place], strict=True):
            if not labelled:
                raise UserError(
                    f"scenario '{scenario}', task '{task}': no row of the {split} split has a label "
                    f"({plan.description}): change the split rule, or leave out the task or the scenario"
                )
        count, labelled = learned.positives[TRAIN, place], learned.labelled[TRAIN, place]
        if count in {0, labelled}:
            raise UserError(
                f"scenario '{scenario}', task '{task}': all {labelled} training rows have the label "
                f"{int(count > 0)}, and nothing can be learned from one class: {_remedy(schema, scenario, task)}"
            )


def warn_of_missing_users(scenario: str, learned: Learned) -> None:
    """Warn of rows without a user, which count for no user."""
    if learned.without_user:
        logger.warning(
            "%s: %s of %s rows have no user: they are left out of the AUC within users",
            scenario,
            f"{learned.without_user:,}",
            f"{learned.rows.sum():,}",
        )


def report_unlabelled(schema: DatasetSchema, scenario: str, learned: Learned) -> None:
    """Log the number of rows that have no label of a task."""
    rows = int(learned.rows.sum())
    for task, labelled in zip(schema.tasks_of(scenario), learned.labelled.sum(axis=0).tolist(), strict=True):
        if labelled < rows:
            logger.info(
                "%s: %s of %s rows have no label of '%s': they do not count for this task",
                scenario,
                f"{rows - labelled:,}",
                f"{rows:,}",
                task,
            )


def report_left_out(schema: DatasetSchema, scenario: str, learned: Learned) -> None:
    """Log the number of values that had no place in a field of several values."""
    for name, count in learned.left_out.items():
        several = schema.fields[name].several
        if count and several is not None:
            logger.info(
                "%s: %s values of '%s' are left out, as a row has at most %d",
                scenario,
                f"{count:,}",
                name,
                several.most,
            )


def warn_of_encodings(scenario: str, learned: Learned) -> None:
    """Warn of fields whose encoding fits badly. All figures are in the manifest."""
    for key, limit, what in (
        ("unknown", _UNKNOWN_WARNED, "of the training rows have a value that the schema does not know"),
        ("colliding", _COLLIDING_WARNED, "of the values share their row with another one"),
    ):
        shares = {name: report[key] for name, report in learned.encodings.items() if key in report}
        warned = [f"{name} ({share:.0%})" for name, share in shares.items() if share > limit]
        if warned:
            logger.warning("%s: %s %s", scenario, ", ".join(warned), what)


def _remedy(schema: DatasetSchema, scenario: str, task: str) -> str:
    spec = schema.negatives
    if spec is None or task != spec.task or scenario not in spec.scenarios:
        return "leave out the task or the scenario"
    others = " ".join(f"--scenario {name}" for name in schema.scenarios if name not in spec.scenarios)
    return (
        "its table holds positive rows only. Give --negatives N to have N rows made up for each of them, with "
        f"items that the user has no row for, or prepare the other scenarios: {others}"
    )
