"""Scenarios that cannot take part in a run beside the others: other schemas, other split rules, lacking rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pfmsmtrec_flwr.training.description import Description


def unfit_scenarios(descriptions: Sequence[Description]) -> dict[str, str]:
    """Return the reason by name of each scenario that does not fit.

    The schema that most scenarios have counts, and so does the split rule; where two have equally many, the first.

    Parameters
    ----------
    descriptions
        Descriptions in the order of the scenarios' names.
    """
    unfit = _other_schemas(descriptions) | _other_split_rules([each for each in descriptions if each.split_rule])
    for each in descriptions:
        if defect := _defect(each):
            unfit.setdefault(each.scenario, defect)
    return unfit


def _other_schemas(descriptions: Sequence[Description]) -> dict[str, str]:
    first = _one_of_most(descriptions, [each.schema_hash for each in descriptions])
    return {
        other.scenario: f"scenarios {first.scenario} and {other.scenario} were prepared with different schemas "
        f"({first.schema_hash[:8]} of {first.dataset}, {other.schema_hash[:8]} of {other.dataset}): "
        "prepare both with the same datasets/*.yaml and version"
        for other in descriptions
        if other.schema_hash != first.schema_hash
    }


def _other_split_rules(descriptions: Sequence[Description]) -> dict[str, str]:
    if not descriptions:
        return {}
    first = _one_of_most(descriptions, [each.split_rule for each in descriptions])
    return {
        other.scenario: f"scenarios {first.scenario} and {other.scenario} were prepared under different split rules "
        f"({first.scenario}: {first.split_rule}; {other.scenario}: {other.split_rule}): "
        f"agree on one, and prepare again, `pfmsmtrec prepare {other.dataset} --source DIR`"
        for other in descriptions
        if other.split_rule != first.split_rule
    }


def _one_of_most(descriptions: Sequence[Description], values: Sequence[str]) -> Description:
    """Return the first description with the value that most have."""
    most, _ = Counter(values).most_common(1)[0]
    return descriptions[values.index(most)]


def _defect(description: Description) -> str:
    """Return what keeps a scenario from training or from being measured; empty if nothing does."""
    if empty := sorted(split for split, rows in description.examples.items() if rows == 0):
        return (
            f"scenario {description.scenario} has no rows for {', '.join(empty)}: "
            "leave it out of federation.scenarios, or prepare its data with another split"
        )
    counts = zip(description.tasks, description.train_positives, description.labelled_rows("train"), strict=True)
    for task, positives, labelled in counts:
        if not 0 < positives < labelled:
            return (
                f"task {task} has one class only in the training rows of scenario {description.scenario} "
                f"({positives} positives of {labelled}): leave the task or the scenario out"
            )
    return ""
