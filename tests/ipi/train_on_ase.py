"""Trains on ASE's Lennard-Jones calculator over sockets, with a client killed halfway.

    python tests/ipi/train_on_ase.py target/release/boltzflow [--steps 1000]

Three things must hold: a training whose second client is killed halfway ends as one whose clients live,
byte for byte; no configuration is lost; and energies are those of the built-in potential to 1e-8.
Needs ASE (pip install ase); run it from the root of the repository.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from ase import units

RECIPE = """
format = 1
target = "{target}"
seed = 1
[flow]
base_scale = 0.7
augmentation_scale = 0.3
[[flow.layers]]
coupling = "pairwise"
repeat = 2
width = 8
basis = 8
[train]
steps = {steps}
batch_size = 16
learning_rate = {{ peak = 2e-3, warm_up_steps = 10 }}
[train.fab]
intermediate_distributions = 1
leapfrog_steps = 2
updates_per_annealing = 2
buffer = {{ min_batches = 4, max_batches = 32 }}
[evaluate]
every_steps = {steps}
samples = 200
reference_samples = 0
"""


class Clients:
    """ASE clients as processes of their own; those that are left are ended with the block."""

    def __init__(self, name, count, server):
        socket = Path(f"/tmp/ipi_{name}")
        while not socket.exists():
            if server.poll() is not None:
                sys.exit(f"boltzflow ended with exit code {server.returncode} before it listened")
            time.sleep(0.05)
        command = [sys.executable, "examples/ipi/ase_client.py", name]
        self.processes = [subprocess.Popen(command) for _ in range(count)]

    def __enter__(self):
        return self.processes

    def __exit__(self, *_):
        for process in self.processes:
            # They are sent home by the server.
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                sys.exit("a client was not sent home")


def rows(folder):
    """Rows of metrics.csv without columns of times."""
    lines = [line.split(",") for line in (folder / "metrics.csv").read_text().splitlines()]
    kept = [i for i, name in enumerate(lines[0]) if not name.endswith(("seconds", "per_second"))]
    return [[line[i] for i in kept] for line in lines]


def steps_done(folder):
    """The last step in metrics.csv, 0 if there is none yet."""
    if not (folder / "metrics.csv").exists():
        return 0
    last = rows(folder)[-1][0]
    return int(last) if last.isdigit() else 0


def parameters(folder):
    """The bytes of the model's numbers; its header holds times."""
    data = (folder / "model.safetensors").read_bytes()
    return data[8 + int.from_bytes(data[:8], "little") :]


def run(command, name, clients, kill_at=None):
    """Runs boltzflow with clients, of which one is killed when `kill_at` = (folder, step) is reached;
    returns what it said on standard error."""
    server = subprocess.Popen([str(c) for c in command], stderr=subprocess.PIPE, text=True)
    with Clients(name, clients, server) as processes:
        if kill_at:
            folder, step = kill_at
            while steps_done(folder) < step:
                if server.poll() is not None:
                    sys.exit("the training ended before a client could be killed")
                time.sleep(0.05)
            processes[1].send_signal(signal.SIGKILL)
        said = server.communicate()[1]
    print(said, end="", file=sys.stderr)
    if server.returncode != 0:
        sys.exit(f"{command} ended with exit code {server.returncode}")
    return said


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("boltzflow", type=Path)
    parser.add_argument("--steps", type=int, default=200)
    options = parser.parse_args()
    name = f"ase_{os.getpid()}"
    with tempfile.TemporaryDirectory() as folder:
        check(options, name, Path(folder))


def check(options, name, work):
    target = Path("examples/ipi/argon4.toml").read_text().replace("unix:argon4", f"unix:{name}")
    (work / "ase.toml").write_text(target)
    recipe = work / "recipe.toml"
    recipe.write_text(RECIPE.format(target=work / "ase.toml", steps=options.steps))

    whole, robbed = work / "whole", work / "robbed"
    begin = time.time()
    run([options.boltzflow, "train", recipe, "-o", whole], name, 2)
    print(f"{options.steps} steps with two clients: {time.time() - begin:.0f} s")
    begin = time.time()
    kill_at = (robbed, options.steps // 2)
    said = run([options.boltzflow, "train", recipe, "-o", robbed], name, 2, kill_at)
    print(f"{options.steps} steps, one client killed halfway: {time.time() - begin:.0f} s")
    assert "closed the connection; 1 left" in said, "the lost client was not reported"
    assert rows(whole) == rows(robbed), "the metrics differ"
    assert len(parameters(whole)) > 1000 and parameters(whole) == parameters(robbed)
    last = dict(zip(rows(whole)[0], rows(whole)[-1]))
    print(f"the models are the same, byte for byte, after {last['energy_evaluations']} energies")
    assert int(last["step"]) == options.steps

    # The same flow, once on ASE and once on the built-in potential.
    own = work / "own"
    own.mkdir()
    for file in ["config.toml", "model.safetensors"]:
        (own / file).write_bytes((whole / file).read_bytes())
    (own / "target.toml").write_text(builtin(target))
    sample = [options.boltzflow, "sample", "-n", 200]
    run([*sample, whole, "-o", work / "whole.npz"], name, 1)
    subprocess.run([str(c) for c in [*sample, own, "-o", work / "own.npz"]], check=True)
    ours, theirs = (np.load(work / file) for file in ["own.npz", "whole.npz"])
    assert (ours["positions"] == theirs["positions"]).all()
    finite = np.isfinite(ours["energies"])
    assert finite.sum() > 150 and (finite == np.isfinite(theirs["energies"])).all()
    a, b = ours["energies"][finite], theirs["energies"][finite]
    worst = (np.abs(a - b) / np.maximum(1, np.abs(b))).max()
    print(f"energies deviate by {worst:.1e} from the built-in potential, in {len(a)} configurations")
    assert worst < 1e-8
    # Planted: an energy that is off by 1e-7.
    assert (np.abs(a * (1 + 1e-7) - b) / np.maximum(1, np.abs(b))).max() > 1e-8


def builtin(target):
    """The target as a built-in potential. The two meet in atomic units, since ASE has older constants."""
    hartree, bohr, boltzmann = 4.3597447222060e-18, 5.29177210544e-11, 1.380649e-23
    length = float(re.search(r'length = "([0-9.]+) angstrom"', target)[1]) * 1e-10
    kelvin = float(re.search(r'temperature = "([0-9.]+) K"', target)[1])
    trap = re.search("trap = [0-9.]+", target)[0]
    epsilon = 119.8 * units.kB / units.Ha * hartree / (boltzmann * kelvin)
    r_m = 2 ** (1 / 6) * 3.405 / units.Bohr * bohr / length
    return f"""
format = 1
name = "builtin"
kind = "lennard_jones"
particles = 4
dimension = 3
epsilon = {epsilon!r}
r_m = {r_m!r}
{trap}
"""


if __name__ == "__main__":
    main()
