"""Speed of the package, for its README: python tests/measure.py [WHAT ...].

call       cost of a call of a NumPy function per configuration, beyond the function's own
dw4        runs/dw4_fab.toml with DW4 as a NumPy function and built in, three times each
dw4_short  300 steps of the same, five times each
threads    samples a second from 1, 2 and 4 Python threads
import     time to import, beyond NumPy's
ase        constant calculator in this process, against one client of ASE over a socket
"""

import pathlib
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np

import boltzflow
from energies import dw4, springs

ROOT = pathlib.Path(__file__).resolve().parents[2]


def best(function, repeats=7):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def call():
    for size in (1, 16, 64, 256, 1024):
        x = np.random.default_rng(0).normal(size=(size, 4, 2))
        rounds = 200
        # Many batches in one call of the library, as training does it.
        many = boltzflow.Potential(springs, particles=4, dimension=2, batch=size)
        whole = np.tile(x, (rounds, 1, 1))
        through = best(lambda: boltzflow.energies(many, whole)) / rounds
        alone = best(lambda: [springs(x) for _ in range(rounds)]) / rounds
        print(
            f"call of {size:5}: {1e6 * alone:7.1f} us the function, "
            f"{1e6 * (through - alone):6.1f} us around it, "
            f"{1e6 * (through - alone) / size:7.3f} us per configuration"
        )


def timed_training(name, **short):
    """Trains runs/dw4_fab.toml; returns seconds, and seconds of all cores."""
    energy = "dw4" if name == "built in" else boltzflow.Potential(dw4, 4, dimension=2)
    start, cpu = time.perf_counter(), time.process_time()
    flow = boltzflow.train(energy, recipe=ROOT / "runs/dw4_fab.toml", **short)
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    energies = flow.metrics["energy_evaluations"][-1]
    found = flow.evaluation
    print(
        f"{name:9} {wall:6.1f} s wall, {cpu:6.1f} s CPU, {energies:.0f} energies, ESS reverse "
        f"{100 * found['reverse_ess']:.1f} %, forward {100 * (found['forward_ess'] or 0):.1f} %",
        flush=True,
    )
    return wall, cpu


def dw4_training(pairs=3, **short):
    times = [
        (timed_training("NumPy", **short), timed_training("built in", **short))
        for _ in range(pairs)
    ]
    for place, what in enumerate(("wall", "CPU")):
        ratio = np.median([ours[place] / theirs[place] for ours, theirs in times])
        print(f"NumPy over built in, {what}: {100 * (ratio - 1):+.1f} % (median of {pairs})")


def dw4_short():
    evaluate = {"every_steps": 300, "reference_samples": 0, "samples": 1000}
    dw4_training(pairs=5, train={"steps": 300}, evaluate=evaluate)


def threads():
    flow = boltzflow.load(ROOT / "runs/dw4_fab")
    count, repeats = 2000, 8
    flow.sample(count, threads=1)
    base = None
    for number in (1, 2, 4):
        def work():
            for repeat in range(repeats):
                flow.sample(count, seed=repeat, threads=1)
        start = time.perf_counter()
        running = [threading.Thread(target=work) for _ in range(number)]
        [thread.start() for thread in running]
        [thread.join() for thread in running]
        rate = number * repeats * count / (time.perf_counter() - start)
        base = base or rate
        print(f"{number} Python threads: {rate:9.0f} samples/s, {rate / base:.2f} times one")


def import_time():
    def run(code):
        return best(lambda: subprocess.run([sys.executable, "-c", code], check=True), 7)

    bare, numpy, ours = (run(c) for c in ("pass", "import numpy", "import boltzflow"))
    print(f"import: {ours - numpy:.3f} s beyond NumPy's {numpy - bare:.3f} s")


def molecule():
    """Atoms of three elements with a calculator that returns constants."""
    from ase import Atoms
    from ase.calculators.calculator import Calculator, all_changes

    class Constant(Calculator):
        implemented_properties = ["energy", "forces"]

        def calculate(self, atoms=None, properties=None, system_changes=all_changes):
            super().calculate(atoms, properties, system_changes)
            self.results = {"energy": 0.0, "forces": np.zeros((len(atoms), 3))}

    atoms = Atoms("CHOH", np.random.default_rng(0).normal(size=(4, 3)))
    atoms.calc = Constant()
    return atoms


def ase():
    import boltzflow.ase

    x = np.random.default_rng(1).normal(size=(4000, 4, 3))
    potential = boltzflow.ase.Potential(molecule(), temperature_K=300)
    here = len(x) / best(lambda: boltzflow.energies(potential, x), 3)
    print(f"in this process: {here:9.0f} energies/s")
    socket = pathlib.Path(tempfile.mkdtemp()).name
    target = {
        "kind": "ipi", "species": ["C", "H", "O", "H"], "address": f"unix:{socket}",
        "length": "1 angstrom", "temperature": "300 K",
    }
    client = subprocess.Popen([sys.executable, __file__, "client", socket])
    times = []

    def timed(x):
        # A server lives as long as a call: its clients' start is not counted.
        start = time.perf_counter()
        boltzflow.energies(target, x)
        times.append(time.perf_counter() - start)

    try:
        timed(np.tile(x, (2, 1, 1)))
    finally:
        client.kill()
        client.wait()
    remote = 2 * len(x) / times[0]
    print(f"over a socket: {remote:9.0f} energies/s, {here / remote:.1f} times slower")


def client():
    from ase.calculators.socketio import SocketClient

    atoms = molecule()
    for _ in range(200):
        try:
            SocketClient(unixsocket=sys.argv[2]).run(atoms)
            return
        except (FileNotFoundError, ConnectionRefusedError):
            time.sleep(0.05)


WHAT = {
    "call": call, "dw4": dw4_training, "dw4_short": dw4_short, "threads": threads,
    "import": import_time, "ase": ase,
}

if __name__ == "__main__":
    if sys.argv[1:2] == ["client"]:
        client()
    else:
        for name in sys.argv[1:] or WHAT:
            WHAT[name]()
