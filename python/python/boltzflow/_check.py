"""Whether an energy function is what training takes for granted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, List, Optional, Sequence, Union

import numpy.typing as npt

from . import _boltzflow
from ._arguments import number_of_threads
from ._potential import Energy, as_energy


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    #: "fine"; "caution", where training works; or "wrong", where it would not be right.
    severity: str
    #: The numbers, and what to do if it is not fine.
    text: str

    def __str__(self) -> str:
        return f"{self.what:<12} {self.severity:<8} {self.text}"


def check(
    energy: Energy,
    *,
    particles: Optional[Union[int, Sequence[str]]] = None,
    dimension: int = 3,
    species: Optional[Sequence[Any]] = None,
    structures: Optional[npt.ArrayLike] = None,
    batch: int = 1024,
    threads: Optional[int] = None,
) -> List[Finding]:
    """Looks at forces, symmetries, overlaps and failures of an energy function.

    It takes some ten thousand evaluations. The arguments are those of `train`.

    >>> import boltzflow
    >>> findings = boltzflow.check("dw4")
    >>> {finding.severity for finding in findings}
    {'fine'}
    """
    target = as_energy(energy, particles, dimension, species, structures, batch)
    return [Finding(*found) for found in _boltzflow.check(target, number_of_threads(threads))]
