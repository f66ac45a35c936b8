"""What needs a target and no flow."""

from __future__ import annotations

import json
from typing import Any, Dict, Optional, Tuple

import numpy as np
import numpy.typing as npt

from . import _boltzflow
from ._arguments import Array, number_of_threads, numbers, whole
from ._errors import RecipeError
from ._potential import Energy, as_energy
from ._samples import Samples


def targets() -> Dict[str, str]:
    """Names of the targets that come with boltzflow, with a line about each.

    >>> import boltzflow
    >>> "dw4" in boltzflow.targets()
    True
    """
    return dict(_boltzflow.targets())


def energies(
    energy: Energy, x: npt.ArrayLike, *, threads: Optional[int] = None
) -> Tuple[Array, Array]:
    """Energies [samples] in kT and gradients of `x` [samples, particles, dimension] by a target.

    Where there is no finite energy it is infinite.

    >>> import boltzflow, numpy as np
    >>> U, gradient = boltzflow.energies("dw4", np.ones([3, 4, 2]))
    >>> U.shape, gradient.shape
    ((3,), (3, 4, 2))
    """
    positions = numbers("x", x)
    if positions.ndim != 3:
        raise RecipeError(
            f"`x` has the shape {list(positions.shape)}: use [samples, particles, dimension]", "x"
        )
    target = as_energy(energy, None, 3, None, None, 1024)
    found, gradients = _boltzflow.evaluate_energy(target, positions, number_of_threads(threads))
    return found, gradients.reshape(positions.shape)


def reference(
    energy: Energy,
    count: int,
    *,
    chains: Optional[int] = None,
    seed: int = 0,
    threads: Optional[int] = None,
) -> Tuple[Samples, Dict[str, Any]]:
    """`count` samples of a target by Monte Carlo without a flow.

    Returns samples without weights, and a report with log Z, mean energy and their errors: what a
    flow is compared with. `chains` are at least as many; more find rare wells.

    >>> import boltzflow
    >>> samples, report = boltzflow.reference("harmonic", 100)
    >>> len(samples), abs(report["virial"] - report["degrees_of_freedom"]) < 1
    (100, True)
    """
    drawn, populations, report = _boltzflow.reference(
        as_energy(energy, None, 3, None, None, 1024),
        whole("count", count, 1, 10_000_000),
        None if chains is None else whole("chains", chains, 1, 10_000_000),
        whole("seed", seed, 0, 2**64 - 1),
        number_of_threads(threads),
    )
    positions, _, found = drawn
    read: Dict[str, Any] = json.loads(report)
    return Samples(positions, None, np.asarray(found), populations=populations), read
