"""Names of the array types that the rooms of `data/` share."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
"""An array whose element type its user states in words."""
Floats: TypeAlias = npt.NDArray[np.float32]
"""An array of single-precision numbers."""
