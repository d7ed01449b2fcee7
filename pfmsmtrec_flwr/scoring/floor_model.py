"""Saved predictors without a network: one for each task, linear or of boosted trees.

Examples
--------
The log odds of a row are the intercept, a weight for each value, and the weighted numbers.

>>> import numpy as np
>>> from pfmsmtrec_flwr.data.store.reader import Split
>>> from pfmsmtrec_flwr.scoring.floor_model import LinearPredictor
>>> predictor = LinearPredictor((np.array([0.0, 1.0]),), numeric=np.array([2.0]), intercept=-1.0)
>>> values, numbers = np.array([[0], [1]], dtype=np.int32), np.array([[0.5], [0.0]], dtype=np.float32)
>>> predictor.probabilities(Split(values, numbers, np.zeros((2, 1), np.uint8), None, None)).tolist()
[0.5, 0.5]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pfmsmtrec_flwr.data.arrays import Array
from pfmsmtrec_flwr.data.store.reader import Split
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.model import ModelSpec
from pfmsmtrec_flwr.training.evaluation import Predictions

Tables = tuple[NDArray[np.float64], ...]
"""A number for each value of each categorical column: (V,) for a column of V values."""


@dataclass(frozen=True, slots=True)
class LinearPredictor:
    """Predictor of one task, whose log odds are a sum.

    Attributes
    ----------
    tables
        Weight of each value of each column; empty: no column counts.
    numeric
        Weight of each numeric column (N,); empty: none counts.
    intercept
        Log odds of a row without any of these.
    """

    tables: Tables
    numeric: NDArray[np.float64]
    intercept: float

    @classmethod
    def constant(cls, rate: float) -> LinearPredictor:
        """Return a predictor of the same probability for every row; 0 and 1 are allowed."""
        from scipy.special import logit

        return cls((), np.empty(0), float(logit(rate)))

    def probabilities(self, rows: Split) -> NDArray[np.float64]:
        """Return the probabilities (n,) of rows."""
        log_odds = np.full(len(rows), self.intercept)
        for column, table in enumerate(self.tables):
            log_odds += table[rows.categorical[:, column]]
        if len(self.numeric):
            log_odds += np.asarray(rows.numeric, dtype=np.float64) @ self.numeric
        from scipy.special import expit

        found: NDArray[np.float64] = expit(log_odds)
        return found

    def on_rates(self, wide: Sequence[int], rates: Tables) -> LinearPredictor:
        """Return the predictor of rows whose wide columns were replaced by rates, before the other numeric columns."""
        weighted = [rate * weight for rate, weight in zip(rates, self.numeric, strict=False)]
        return LinearPredictor(_spread(self.tables, wide, weighted), self.numeric[len(wide) :], self.intercept)

    def of_values(self, values: Sequence[Array]) -> LinearPredictor:
        """Return the predictor of rows with other numbers of values; `values` has the old number of each new one."""
        return replace(self, tables=_chosen(self.tables, values))

    def tensors(self) -> dict[str, Tensor]:
        """Return the state, by name."""
        numbers = {"intercept": np.float64(self.intercept), "numeric": self.numeric}
        return {name: torch.from_numpy(np.array(value)) for name, value in numbers.items()} | _named(self.tables)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> LinearPredictor:
        """Read what `tensors` returned."""
        return cls(_tables(tensors), tensors["numeric"].numpy(), float(tensors["intercept"]))

    def fits(self, sizes: Sequence[int], numeric: int) -> bool:
        """Return whether the predictor is for columns with `sizes` values each and `numeric` numeric columns."""
        return [len(table) for table in self.tables] in ([], list(sizes)) and len(self.numeric) in (0, numeric)


@dataclass(frozen=True)
class TreePredictor:
    """Predictor of one task by boosted trees.

    Attributes
    ----------
    text
        Trees in LightGBM's own text format.
    tables
        Number that stands for each value of each column in the trees: a category, or a rate.
    order
        Columns in the order of the trees' inputs; numeric columns follow.
    """

    text: str
    tables: Tables
    order: tuple[int, ...]

    @classmethod
    def of_categories(cls, text: str, sizes: Sequence[int]) -> TreePredictor:
        """Return the predictor whose columns are categories, with these numbers of values."""
        return cls(text, tuple(np.arange(size, dtype=np.float64) for size in sizes), tuple(range(len(sizes))))

    def probabilities(self, rows: Split) -> NDArray[np.float64]:
        """Return the probabilities (n,) of rows.

        Raises
        ------
        UserError
            LightGBM is not installed.
        """
        columns = [self.tables[column][rows.categorical[:, column]] for column in self.order]
        inputs = np.column_stack([*columns, np.asarray(rows.numeric, dtype=np.float64)])
        found: NDArray[np.float64] = self._booster.predict(inputs)
        return found

    def on_rates(self, wide: Sequence[int], rates: Tables) -> TreePredictor:
        """Return the predictor of rows whose wide columns were replaced by rates, before the other numeric columns."""
        left = [column for column in range(len(self.tables) + len(wide)) if column not in wide]
        return TreePredictor(
            self.text, _spread(self.tables, wide, rates), (*(left[each] for each in self.order), *wide)
        )

    def of_values(self, values: Sequence[Array]) -> TreePredictor:
        """Return the predictor of rows with other numbers of values; `values` has the old number of each new one."""
        return replace(self, tables=_chosen(self.tables, values))

    def tensors(self) -> dict[str, Tensor]:
        """Return the state, by name; the text is UTF-8."""
        text = np.frombuffer(self.text.encode(), dtype=np.uint8).copy()
        order = np.array(self.order, dtype=np.int64)
        return {"trees": torch.from_numpy(text), "order": torch.from_numpy(order)} | _named(self.tables)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> TreePredictor:
        """Read what `tensors` returned."""
        text = tensors["trees"].numpy().tobytes().decode()
        return cls(text, _tables(tensors), tuple(tensors["order"].tolist()))

    @cached_property
    def _booster(self) -> Any:
        return lightgbm_library().Booster(model_str=self.text)

    def fits(self, sizes: Sequence[int], numeric: int) -> bool:
        """Return whether the predictor is for columns with `sizes` values each and `numeric` numeric columns."""
        inputs = f"\nmax_feature_idx={len(sizes) + numeric - 1}\n"
        columns = sorted(self.order) == list(range(len(sizes)))
        return columns and [len(table) for table in self.tables] == list(sizes) and inputs in self.text


KeptPredictor = LinearPredictor | TreePredictor


@dataclass(frozen=True, slots=True)
class FloorModel:
    """Predictors of a scenario's tasks.

    Attributes
    ----------
    spec
        Inputs and tasks.
    predictors
        Predictor of each task, in their order.
    """

    spec: ModelSpec
    predictors: tuple[KeptPredictor, ...]

    def predictions(self, rows: Split) -> Predictions:
        """Return the predictions for rows; the scenario of pooled rows is their last column."""
        found = [predictor.probabilities(rows) for predictor in self.predictors]
        return Predictions.of(np.stack(found, axis=1).astype(np.float32))

    def tensors(self) -> dict[str, Tensor]:
        """Return the state, by the number of the task and a name."""
        return {
            f"{task}.{name}": tensor
            for task, predictor in enumerate(self.predictors)
            for name, tensor in predictor.tensors().items()
        }

    @classmethod
    def from_tensors(cls, spec: ModelSpec, tensors: Mapping[str, Tensor]) -> FloorModel:
        """Read what `tensors` returned.

        Raises
        ------
        ValueError
            The tensors do not fit the inputs and tasks.
        """
        found = []
        for task in range(len(spec.tasks)):
            prefix = f"{task}."
            own = {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}
            try:
                predictor = (TreePredictor if "trees" in own else LinearPredictor).from_tensors(own)
            except KeyError as error:
                raise ValueError(f"task {task} has no tensor {error}") from None
            if not predictor.fits([field.rows for field in spec.fields for _ in range(field.most)], spec.numeric):
                raise ValueError(f"the columns of task {task} are others")
            found.append(predictor)
        return cls(spec, tuple(found))


def lightgbm_library() -> ModuleType:
    """Return LightGBM.

    Raises
    ------
    UserError
        It is not installed.
    """
    try:
        import lightgbm
    except ImportError:
        raise UserError("trees need LightGBM, which is not installed: pip install 'pfmsmtrec-flwr[trees]'") from None
    return lightgbm


def _spread(tables: Tables, wide: Sequence[int], rates: Sequence[NDArray[np.float64]]) -> Tables:
    """Return the tables of all columns, from those of the narrow columns and those of the wide ones."""
    narrow, of_wide = iter(tables), dict(zip(wide, rates, strict=True))
    return tuple(of_wide[column] if column in of_wide else next(narrow) for column in range(len(tables) + len(wide)))


def _chosen(tables: Tables, values: Sequence[Array]) -> Tables:
    return tuple(table[own] for table, own in zip(tables, values, strict=False))


def _named(tables: Tables) -> dict[str, Tensor]:
    return {f"table.{column}": torch.from_numpy(table) for column, table in enumerate(tables)}


def _tables(tensors: Mapping[str, Tensor]) -> Tables:
    def found() -> Iterator[NDArray[np.float64]]:
        column = 0
        while (table := tensors.get(f"table.{column}")) is not None:
            yield table.numpy()
            column += 1

    return tuple(found())
