"""What can go wrong in a way that a user can act on."""

from __future__ import annotations

import re
from typing import Optional

__all__ = ["BoltzflowError", "RecipeError", "TargetError", "FileError", "RunError"]


class BoltzflowError(Exception):
    """Every exception of boltzflow but for `KeyboardInterrupt` and those of your own functions."""


class _WrongValue(BoltzflowError, ValueError):
    """A value that is wrong, with its name and the way out."""

    message: str
    field: Optional[str]
    hint: Optional[str]
    file: Optional[str]

    def __init__(
        self, message: str, field: Optional[str] = None, file: Optional[str] = None
    ) -> None:
        super().__init__(f"{file}: {message}" if file else message)
        named = re.search(r"`([^`]+)`", message)
        self.message = message
        self.field = field or (named.group(1) if named else None)
        # Messages say what is wrong, a colon, and what would be right.
        _, colon, hint = message.partition(": ")
        self.hint = hint if colon else None
        self.file = file


class RecipeError(_WrongValue):
    """A wrong argument, or a wrong key or value of a recipe.

    `field` is its name, such as ``"train.steps"``, `hint` what would be right, `file` the recipe's
    file if it has one.

    >>> import boltzflow
    >>> try:
    ...     boltzflow.train("dw4", train={"stpes": 5})
    ... except boltzflow.RecipeError as error:
    ...     print(error.field, "|", error.hint)
    train.stpes | did you mean `steps`?
    """


class TargetError(_WrongValue):
    """An energy function or a target that cannot be trained on; `field` and `hint` as for
    `RecipeError`."""


class FileError(BoltzflowError, OSError):
    """A file that cannot be read or written, or that is damaged."""


class RunError(BoltzflowError, RuntimeError):
    """Something that cannot go on: what happened, and what to try."""
