"""Energies of JAX and PyTorch, whose gradients they compute themselves: see the examples."""

import pytest

import autodiff


@pytest.mark.parametrize("library", ["jax", "torch"])
def test_the_example_has_the_energies_of_dw4_and_trains(library):
    pytest.importorskip(library)
    autodiff.main(library)
