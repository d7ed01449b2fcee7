"""Declaration of everything that leaves a scenario: what it is, when it leaves, its use, and what it can reveal.

A path names a piece of a message; a word in capitals in it stands for a name, such as that of a task. `docs/privacy.md`
has the tables that are made from this file, and a test compares it with the messages of runs.

Examples
--------
>>> declared("figures/validation.auc.click").what
'AUC on validation rows'
>>> declared("figures/validation.auc.click").when == (TRAIN, VALIDATE)
True
>>> declared("figures/test.labels.click") is None
True
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from pfmsmtrec_flwr.federation.protocol import HELLO, START, TEST, TRAIN, VALIDATE
from pfmsmtrec_flwr.model import Part

EXCHANGES = {
    HELLO: "handshake",
    START: "start",
    TRAIN: "training",
    VALIDATE: "last measuring",
    TEST: "test",
}
"""Name of each kind of exchange, by its message type."""

STATISTICS = "normalization statistics"
"""Tensors of normalization that are counted and not learned, which are declared apart from its parameters."""

_ANSWERS = (START, TRAIN, VALIDATE, TEST)
_PLACEHOLDER = re.compile(r"[A-Z]{3,}")


@dataclass(frozen=True)
class Disclosed:
    """One thing that leaves a scenario.

    Attributes
    ----------
    path
        Place in a message; words in capitals stand for names.
    what
        Description.
    when
        Message types of the exchanges in which it leaves.
    use
        Reader on the server, and its purpose.
    reveals
        What it can reveal of the scenario's rows.
    only
        Condition under which it leaves; empty if it always does.
    """

    path: str
    what: str
    when: tuple[str, ...]
    use: str
    reveals: str
    only: str = ""

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        fixed = _PLACEHOLDER.split(self.path)
        return re.compile(".+".join(map(re.escape, fixed)))

    def covers(self, path: str) -> bool:
        """Return whether this is the declaration of a path, whose names stand where the words in capitals do."""
        return self._pattern.fullmatch(path) is not None


def _hello(field: str, what: str, use: str, reveals: str) -> Disclosed:
    return Disclosed(f"hello/{field}", what, (HELLO,), use, reveals)


NODE = (
    _hello("version", "version of this package", "refusal of another version", "nothing of rows"),
    _hello("partitions", "number of nodes of a simulation; 0 deployed", "wait for all of them", "nothing of rows"),
    _hello("error", "reason why the node cannot take part", "the user's message", "what the message says"),
    _hello(
        "failed",
        "reason why a scenario of the node cannot take part, by name; empty",
        "the user's message",
        "what the message says",
    ),
)
"""Said of a node."""

DESCRIPTION = (
    _hello("scenarios/scenario", "name of the scenario", "names it everywhere", "who takes part"),
    _hello("scenarios/dataset", "name of the data set", "messages", "nothing of rows"),
    _hello("scenarios/schema_hash", "hash of the schema", "refusal of another schema", "whether a schema is the same"),
    _hello("scenarios/tasks", "names of the tasks", "shape of the model", "which labels are kept"),
    _hello("scenarios/numeric", "number of numeric columns", "shape of the model", "nothing of rows"),
    _hello("scenarios/fields", "names of the fields", "shape of the model", "which columns are kept"),
    _hello(
        "scenarios/rows",
        "rows of each federated table; 1 for a local table",
        "shape of the model",
        "number of items, or of other shared values",
    ),
    _hello("scenarios/federated", "fields whose table is shared", "shape of the model", "nothing of rows"),
    _hello("scenarios/most", "columns of each field", "shape of the model", "nothing of rows"),
    _hello(
        "scenarios/examples",
        "rows of each split",
        "weights of means over scenarios, refusal of empty splits, results",
        "size of the business",
    ),
    _hello(
        "scenarios/train_positives",
        "positive training rows of each task",
        "refusal of a task of one class",
        "label shares, exactly",
    ),
    _hello(
        "scenarios/used_rows", "training rows that the run uses", "base rates, bound on weights", "size of the business"
    ),
    _hello(
        "scenarios/used_positives",
        "positives among the training rows that the run uses",
        "output biases, which start at the base rates where they are shared",
        "label shares, exactly",
    ),
    _hello(
        "scenarios/labelled",
        "rows with a label of each task, by split, where some lack one",
        "refusal of a task of one class, check of the figures that follow",
        "how many labels are missing",
    ),
    _hello(
        "scenarios/used_labelled",
        "training rows with a label of each task that the run uses",
        "base rates",
        "how many labels are missing",
    ),
    _hello(
        "scenarios/split_rule",
        "rule by which rows were split, without names of a site's columns",
        "refusal of another rule",
        "days of the split",
    ),
    _hello(
        "scenarios/note",
        "remark on made-up rows and on rows without a label",
        "notes below results",
        "how many labels are missing",
    ),
)
"""Said of each scenario at the start of a run."""

STATE = (
    *(
        Disclosed(name, what, _ANSWERS, "refusal of an answer to another order", "nothing of rows")
        for name, what in (
            ("method", "method of the order that is answered"),
            ("round", "its round"),
            ("exchange", "its exchange"),
            ("stage", "its part of the round"),
        )
    ),
    Disclosed("error", "reason of a failure in one line; empty", _ANSWERS, "log, decision on the round", "its text"),
    Disclosed("lacks_tables", "whether tables must be sent whole", _ANSWERS, "repeats the message", "nothing of rows"),
)
"""Said of each answer."""

_MEASURED = tuple(
    Disclosed(f"figures/test.{figure}.TASK", what, (TEST,), "results, tables", reveals)
    for figure, what, reveals in (
        ("auc", "AUC on test rows", "little"),
        ("logloss", "log loss on test rows", "label share, nearly"),
        ("gauc", "AUC within the users of test rows", "little"),
        ("gauc_coverage", "share of test rows whose users have both classes", "how active users are"),
        ("calibration", "predicted over observed positives of test rows", "label share, with the model"),
    )
)

FIGURES = (
    Disclosed(
        "figures/starts",
        "whether the scenario has an earlier model",
        (START,),
        "mean of the models that there are",
        "whether it took part before",
        "with `--start-from`",
    ),
    Disclosed(
        "figures/examples",
        "number of training rows seen, passes counted",
        (TRAIN,),
        "weights of means over scenarios",
        "size of the business",
    ),
    Disclosed(
        "figures/loss.TASK",
        "mean training loss of each task",
        (TRAIN,),
        "mean over tasks in `metrics.jsonl`; refusal of an update that diverged",
        "fit to the training rows, an input of membership attacks",
        "without `privacy.noise`",
    ),
    Disclosed(
        "figures/validation.auc.TASK",
        "AUC on validation rows",
        (TRAIN, VALIDATE),
        "choice of the round, early stopping, curves",
        "little: one figure of all validation rows a round",
    ),
    Disclosed(
        "figures/validation.logloss.TASK",
        "log loss on validation rows",
        (TRAIN, VALIDATE),
        "choice of the round where no AUC is defined, curves",
        "label share, nearly",
    ),
    Disclosed(
        "figures/gate.TASK.EXPERT",
        "mean share of each expert over the first 8192 validation rows",
        (TRAIN, VALIDATE),
        "gates in the report",
        "little: use of the experts",
        "by models with gates, without `privacy.noise`",
    ),
    *_MEASURED,
    *(
        Disclosed(
            each.path.replace("test.", "consensus."),
            f"{each.what}, by the consensus",
            (TEST,),
            each.use,
            each.reveals,
            "with `federation.evaluate_consensus`",
        )
        for each in _MEASURED
    ),
    Disclosed("figures/test.positives.TASK", "positive test rows", (TEST,), "results, tables", "label share, exactly"),
    Disclosed(
        "figures/test.examples.TASK", "test rows with a label", (TEST,), "results, tables", "size of the business"
    ),
    *(
        Disclosed(f"figures/test.{figure}.TASK", what, (TEST,), use, reveals, "with `evaluation.calibration`")
        for figure, what, use, reveals in (
            ("logloss_calibrated", "log loss after recalibration", "results, tables", "label share, nearly"),
            ("calibration_calibrated", "predicted over observed after recalibration", "results, tables", "little"),
        )
    ),
    *(
        Disclosed(
            f"figures/best.{figure}.TASK",
            f"{what} of the true probabilities on test rows",
            (TEST,),
            "column `best` of tables",
            "nothing: made-up rows",
            "by made-up data",
        )
        for figure, what in (("auc", "AUC"), ("logloss", "log loss"))
    ),
    Disclosed(
        "draws/TASK",
        "AUC in each of `federation.draws` draws of test users",
        (TEST,),
        "intervals, differences between methods",
        "how well single users with many rows are ranked, to whoever knows the codes of users",
        "with `federation.draws` above 0",
    ),
)
"""Figures that a scenario measures."""

_SENT_BY = "by methods that share it"
_EARLIER = (TRAIN, START)
TENSORS = (
    Disclosed(
        f"parameters/{Part.EXPERT}",
        "weights of the experts (G + S of the template)",
        _EARLIER,
        "aggregation",
        "training rows, by the change in a round: it is a sum of gradients",
        _SENT_BY,
    ),
    Disclosed(
        f"parameters/{Part.GATE}",
        "weights of the gates",
        _EARLIER,
        "aggregation",
        "training rows, by the change in a round",
        _SENT_BY,
    ),
    Disclosed(
        f"parameters/{Part.TOWER}",
        "weights of the towers",
        _EARLIER,
        "aggregation",
        "training rows and their labels, by the change in a round",
        _SENT_BY,
    ),
    Disclosed(
        f"parameters/{Part.OUTPUT_BIAS}",
        "bias of each tower's last layer",
        _EARLIER,
        "aggregation",
        "label share: it goes to the log odds of the base rate",
        _SENT_BY,
    ),
    Disclosed(
        f"parameters/{Part.NORMALIZATION}",
        "scale and shift of batch normalization below the towers",
        _EARLIER,
        "aggregation",
        "scale of the scenario's inputs",
        _SENT_BY,
    ),
    Disclosed(
        f"parameters/{Part.TOWER_NORMALIZATION}",
        "scale and shift of batch normalization in the towers",
        _EARLIER,
        "aggregation",
        "scale of the scenario's inputs",
        _SENT_BY,
    ),
    Disclosed(
        f"parameters/{STATISTICS}",
        "running means and variances of batch normalization, and their counters of batches",
        _EARLIER,
        "aggregation",
        "means and variances over training rows, directly",
        _SENT_BY,
    ),
    Disclosed(
        f"parameters/{Part.FEDERATED_EMBEDDING}",
        "whole federated table of an earlier model",
        (START,),
        "start of the tables",
        "which values the earlier run trained on",
        "with `--start-from`, where `federation.tables` is not `local`",
    ),
    Disclosed(
        "rows/TABLE/rows",
        "numbers of the rows of a federated table that training touched",
        (TRAIN,),
        "average over the scenarios that touched a row",
        "membership: which items, or other shared values, occur in training rows",
        "where `federation.tables` is not `local`",
    ),
    Disclosed(
        "rows/TABLE/values",
        "values of these rows after training, or their change (`federation.precision`)",
        (TRAIN,),
        "aggregation",
        "labels of the rows in which an item occurs, by the direction of the change",
        "where `federation.tables` is not `local`",
    ),
    Disclosed(
        "rows/TABLE/scales",
        "size of a step of each row's change in 8 bits",
        (TRAIN,),
        "reading of the change",
        "what the change reveals",
        "with `federation.precision=int8`",
    ),
    Disclosed(
        "scales/PART",
        "size of a step of the change in 8 bits, for each slice along the first axis of a tensor of this part",
        (TRAIN,),
        "reading of the change",
        "what the change reveals",
        "with `federation.precision=int8`",
    ),
    Disclosed(
        "rows/TABLE/counts",
        "number of uses of each of these rows in training",
        (TRAIN,),
        "weights of that average",
        "how often each item was shown, exactly",
        "where `federation.tables` is not `local`",
    ),
)
"""Arrays."""

DISCLOSED: Sequence[Disclosed] = (*NODE, *DESCRIPTION, *STATE, *FIGURES, *TENSORS)
"""Everything that leaves a scenario."""


def declared(path: str) -> Disclosed | None:
    """Return the declaration of a path in a message; None if there is none."""
    return next((each for each in DISCLOSED if each.covers(path)), None)
