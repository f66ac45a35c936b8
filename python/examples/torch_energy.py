"""An energy in PyTorch: torch.autograd.grad makes the gradient."""

import numpy as np
import torch

import boltzflow

I, J = (torch.as_tensor(index) for index in np.triu_indices(4, 1))


def energy(x):
    """U/kT of configurations [batch, particles, dimension]: every pair in two wells."""
    r = (x[:, I] - x[:, J]).norm(dim=-1)
    return (0.9 * (r - 4) ** 4 - 4 * (r - 4) ** 2).sum(-1)


def energy_and_gradient(x):
    x = torch.from_numpy(x).requires_grad_()
    U = energy(x)
    # Configurations are independent, so the sum's gradient is that of each.
    (gradient,) = torch.autograd.grad(U.sum(), x)
    return U.detach(), gradient


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
