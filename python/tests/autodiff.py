"""The examples of JAX and PyTorch, also for a Python that has PyTorch and no pytest."""

import pathlib
import runpy

import numpy as np

EXAMPLES = pathlib.Path(__file__).resolve().parents[1] / "examples"


def main(library):
    """The example's energy is that of DW4, and trains."""
    import boltzflow

    example = runpy.run_path(str(EXAMPLES / f"{library}_energy.py"), run_name="example")
    energy = example["energy_and_gradient"]
    x = np.random.default_rng(0).normal(scale=3, size=(50, 4, 2))
    U, gradient = boltzflow.energies("dw4", x)
    ours, slope = boltzflow.energies(boltzflow.Potential(energy, 4, dimension=2), x)
    assert np.allclose(ours, U, rtol=1e-6) and np.allclose(slope, gradient, rtol=1e-5, atol=1e-5)
    wrong, _ = boltzflow.energies(boltzflow.Potential(energy, 4, dimension=2), 1.01 * x)
    assert not np.allclose(wrong, U, rtol=1e-6)
    flow = example["main"](steps=3)
    assert np.isfinite(flow.evaluation["log_z"])
