"""Checks of arguments."""

from __future__ import annotations

import math
import operator
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from ._errors import RecipeError

Array = npt.NDArray[np.float64]


def whole(name: str, value: Any, least: int, most: int) -> int:
    """`value` if it is a whole number within these limits."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise RecipeError(f"`{name}` is {value!r}: use a whole number", name)
    if not least <= number <= most:
        raise RecipeError(f"`{name}` is {number}: use {least} to {most}", name)
    return number


def positive(name: str, value: Any) -> float:
    """`value` if it is a positive number."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 < number < math.inf:
        raise RecipeError(f"`{name}` is {value!r}: use a positive number", name)
    return number


def numbers(name: str, values: npt.ArrayLike) -> Array:
    """`values` as an array of float64."""
    try:
        if np.iscomplexobj(values):
            raise TypeError("it is complex")
        return np.ascontiguousarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"`{name}` is not an array of numbers: {error}", name) from error


def number_of_threads(threads: Optional[int]) -> int:
    """As the compiled half has it: 0 for all cores."""
    return 0 if threads is None else whole("threads", threads, 1, 1024)
