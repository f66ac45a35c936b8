"""An energy in JAX: jax.value_and_grad makes the gradient, jax.vmap the batch."""

import jax
import jax.numpy as jnp
import numpy as np

import boltzflow

jax.config.update("jax_enable_x64", True)

I, J = np.triu_indices(4, 1)


def energy(x):
    """U/kT of one configuration [particles, dimension]: four particles, every pair in two wells."""
    r = jnp.linalg.norm(x[I] - x[J], axis=-1)
    return jnp.sum(0.9 * (r - 4) ** 4 - 4 * (r - 4) ** 2)


# [batch, particles, dimension] -> energies [batch] and gradients. Compiled once for each size of
# batch, of which a training has a few.
energy_and_gradient = jax.jit(jax.vmap(jax.value_and_grad(energy)))


def main(steps=400):
    flow = boltzflow.train(
        energy_and_gradient,
        particles=4,
        dimension=2,
        flow={"augmentation_scale": 0.2, "base_scale": 1.5},
        train={"steps": steps, "batch_size": 128, "fab": {"buffer": {"min_batches": 8}}},
        evaluate={"samples": 2000},
    )
    print(flow)
    return flow


if __name__ == "__main__":
    main()
