"""Repeated measurements of one thing: their median, and how far they lie apart."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Median, extremes, quartiles and the values themselves, in the order in which they were measured."""
    low, first, median, third, high = (float(value) for value in np.quantile(values, [0, 0.25, 0.5, 0.75, 1]))
    return {"median": median, "min": low, "q1": first, "q3": third, "max": high, "runs": [float(v) for v in values]}
