"""Energy functions that tests share."""

import numpy as np


def pairs(particles):
    """First and second particle of every pair."""
    return np.triu_indices(particles, 1)


def dw4(x):
    """Four particles in the plane, u(r) = -4 (r - 4)^2 + 0.9 (r - 4)^4: the target dw4.

    With the batch along the last axis, every operation runs along memory.
    """
    d = _SIGNS.T @ np.ascontiguousarray(x.T)  # [dimension, pairs, batch]
    # Never zero, where there is no direction.
    r = np.sqrt(d[0] ** 2 + d[1] ** 2 + 1e-30)
    t = r - 4.0
    square = t * t
    energy = ((0.9 * square - 4.0) * square).sum(0)
    d *= (3.6 * square - 8.0) * t / r
    return energy, (_SIGNS @ d).T


_I, _J = pairs(4)
#: [particles, pairs]: 1 for the first particle of a pair and -1 for the second.
_SIGNS = (np.arange(4)[:, None] == _I) * 1.0 - (np.arange(4)[:, None] == _J)


def springs(x):
    """Each particle on a spring to the centre of mass."""
    x = x - x.mean(axis=1, keepdims=True)
    return 0.5 * (x**2).sum(axis=(1, 2)), x


#: A training that takes some milliseconds.
TINY = {
    "flow": {"layers": [{"coupling": "pairwise", "repeat": 1, "width": 4, "basis": 2}]},
    "train": {"objective": "reverse_kl", "steps": 1, "batch_size": 16},
    "evaluate": {"samples": 16},
}
