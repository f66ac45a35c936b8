"""The same recipe under MPI: any number of ranks, killed ranks, signals, a potential that is lost.

    python3 tests/mpi/check.py target/release/boltzflow [equal] [resume] [signal] [kill] [fatal]

The binary must be built with `--features mpi`. Without names, all sections run; `equal` is part of
`.ci/run`. MPIRUN is the launcher and its options (default: Open MPI's, oversubscribed).
"""

import json
import os
import random
import shlex
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

MPIRUN = shlex.split(
    os.environ.get("MPIRUN", "mpirun --oversubscribe --allow-run-as-root --bind-to none")
)

RECIPE = """
format = 1
target = "{target}"
seed = 3
[flow]
augmentation_scale = 0.3
base_scale = {base_scale}
[[flow.layers]]
coupling = "pairwise"
repeat = 2
width = 8
basis = 8
[train]
objective = "fab"
steps = {steps}
batch_size = 80
[train.fab]
intermediate_distributions = 1
leapfrog_steps = 2
updates_per_annealing = 2
buffer = {{ min_batches = 2, max_batches = 6 }}
[evaluate]
every_steps = 10
samples = 200
[checkpoint]
every_seconds = {every_seconds}
"""


def launch(binary, ranks, arguments, folder):
    """The job of a command on so many ranks, in a session of its own."""
    launcher = [*MPIRUN, "-n", str(ranks)] if ranks > 1 else []
    return subprocess.Popen(
        [*launcher, binary, "--threads", "1", *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(binary, ranks, arguments, folder):
    """Its output; it must succeed."""
    job = launch(binary, ranks, arguments, folder)
    output, _ = job.communicate(timeout=600)
    if job.returncode != 0:
        sys.exit(f"{arguments} on {ranks} ranks ended with {job.returncode}:\n{output}")
    return output


def processes(job):
    """Process ids of the job's ranks, in their order."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if os.getsid(int(entry.name)) != job.pid and os.getpgid(int(entry.name)) != job.pid:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                if parent != job.pid:
                    continue
            environment = dict(
                item.split("=", 1)
                for item in (entry / "environ").read_bytes().decode(errors="replace").split("\0")
                if "=" in item
            )
        except (OSError, ValueError):
            continue
        for name in ("OMPI_COMM_WORLD_RANK", "PMI_RANK"):
            if name in environment:
                found[int(environment[name])] = int(entry.name)
    return [found[rank] for rank in sorted(found)]


def without_clocks(value):
    """JSON without times and the checksums over them."""
    if isinstance(value, dict):
        return {
            key: without_clocks(inner)
            for key, inner in value.items()
            if "seconds" not in key and "per_second" not in key and key != "head_crc32"
        }
    return value


def traces(folder):
    """Everything that a run leaves that depends neither on a clock nor on other ranks."""
    clocks = ("seconds", "per_second", "bytes_per_step", "waiting_share")
    found = {}
    rows = [line.split(",") for line in (folder / "metrics.csv").read_text().splitlines()]
    kept = [i for i, name in enumerate(rows[0]) if not name.endswith(clocks)]
    found["metrics"] = [[row[i] for i in kept] for row in rows]
    model = (folder / "model.safetensors").read_bytes()
    found["model"] = model[8 + struct.unpack("<Q", model[:8])[0] :]
    head = max(folder.glob("checkpoint-*.json"))
    found["head"] = without_clocks(json.loads(head.read_text()))
    found["arrays"] = head.with_suffix(".safetensors").read_bytes()
    found["evaluation"] = without_clocks(json.loads((folder / "evaluation.json").read_text()))
    return found


def same(found, wanted, what):
    for name, value in wanted.items():
        if found[name] != value:
            sys.exit(f"{what}: {name} differs")


def recipe(work, name="recipe", target="dw4", base_scale=2.0, steps=40, every_seconds=60):
    (work / f"{name}.toml").write_text(
        RECIPE.format(target=target, base_scale=base_scale, steps=steps, every_seconds=every_seconds)
    )


def equal(binary, work):
    """1, 2, 3 and 4 ranks: training, evaluation, samples, estimates, reference."""
    recipe(work)

    def everything(ranks, seed=3):
        name = f"ranks-{ranks}-{seed}"
        run(binary, ranks, ["train", "recipe.toml", "-o", name, "--seed", str(seed)], work)
        found = traces(work / name)
        evaluation = run(binary, ranks, ["evaluate", name, "-n", "500", "--json"], work)
        found["evaluate"] = without_clocks(json.loads(evaluation[evaluation.index("{") :]))
        run(binary, ranks, ["sample", name, "-n", "1000", "-o", f"{name}.npz"], work)
        found["samples"] = (work / f"{name}.npz").read_bytes()
        for extra in (["--ais"], ["--resample", "300"]):
            output = f"{name}{extra[0]}.npz"
            run(binary, ranks, ["sample", name, "-n", "5000", *extra, "-o", output], work)
            found[f"samples {extra[0]}"] = (work / output).read_bytes()
        told = run(binary, ranks, ["estimate", name, "-n", "6000", "--json"], work)
        found["estimate"] = json.loads(told[told.index("{") :])
        reference = ["reference", "dw4", "-n", "200", "--chains", "320", "-o", f"{name}-r.npz"]
        run(binary, ranks, [*reference, "--seed", str(seed)], work)
        found["reference"] = (work / f"{name}-r.npz").read_bytes()
        return found

    one = everything(1)
    for ranks in (2, 3, 4):
        same(everything(ranks), one, f"{ranks} ranks")
    # Planted: another seed must make a difference everywhere.
    other = everything(2, seed=4)
    equal_keys = [name for name in one if one[name] == other[name]]
    if equal_keys:
        sys.exit(f"another seed changes nothing in {equal_keys}")
    print("equal: 1, 2, 3 and 4 ranks leave the same bytes")
    return one


def wait_for_step(folder, step, job):
    """Waits for a checkpoint of `step` or later."""
    while job.poll() is None:
        if any(int(f.stem.split("-")[1]) >= step for f in folder.glob("checkpoint-*.json")):
            return
        time.sleep(0.005)


def untouched(binary, work, **options):
    recipe(work, **options)
    run(binary, 1, ["train", "recipe.toml", "-o", "untouched"], work)
    return traces(work / "untouched")


def resume(binary, work):
    """Stopped on R ranks, going on with R'."""
    want = untouched(binary, work, every_seconds=1e-6)
    train = ["train", "recipe.toml", "-o", "run"]
    for number, ranks in enumerate((4, 1, 3, 2)):
        job = launch(binary, ranks, train, work)
        wait_for_step(work / "run", 7 * number + 5, job)
        os.kill(processes(job)[-1] if ranks > 1 else job.pid, signal.SIGTERM)
        output, _ = job.communicate(timeout=120)
        if job.returncode != 3 or "stopped by SIG" not in output:
            sys.exit(f"{ranks} ranks ended with {job.returncode} at SIGTERM:\n{output}")
    run(binary, 4, train, work)
    same(traces(work / "run"), want, "resumed on 4, 1, 3, 2 and 4 ranks")
    print("resume: 4, 1, 3, 2 and 4 ranks in turn leave the bytes of one")


def stop(binary, work):
    """SIGTERM to one rank, SIGUSR1 to the launcher."""
    want = untouched(binary, work, every_seconds=60)
    for number, (who, what) in enumerate([(0, signal.SIGTERM), (2, signal.SIGTERM), (None, signal.SIGUSR1)]):
        name = f"run-{number}"
        train = ["train", "recipe.toml", "-o", name]
        job = launch(binary, 3, train, work)
        while not (work / name / "metrics.csv").exists() or len(
            (work / name / "metrics.csv").read_text().splitlines()
        ) < 4:
            time.sleep(0.005)
        os.kill(job.pid if who is None else processes(job)[who], what)
        output, _ = job.communicate(timeout=120)
        if job.returncode != 3 or "stopped by SIG" not in output:
            sys.exit(f"signal to {who}: ended with {job.returncode}:\n{output}")
        run(binary, 3, train, work)
        same(traces(work / name), want, f"signal to {who}")
    print("signal: to rank 0, to rank 2 and to the launcher, each leaves a checkpoint of that step")


def kill(binary, work, times=10):
    """kill -9 of a random rank at a random moment."""
    want = untouched(binary, work, every_seconds=1e-6)
    chance = random.Random(9)
    met = 0
    for number in range(times):
        name = f"run-{number}"
        train = ["train", "recipe.toml", "-o", name]
        job = launch(binary, 3, train, work)
        # Some step, since on a busy machine no time is sure to meet the training; then a moment within it.
        wait_for_step(work / name, chance.randrange(30), job)
        time.sleep(0.05 * chance.random())
        victim = chance.randrange(3)
        ranks = processes(job)
        if job.poll() is not None or len(ranks) < 3:
            sys.exit(f"kill {number}: the job was not running")
        os.kill(ranks[victim], signal.SIGKILL)
        output, _ = job.communicate(timeout=60)
        if job.returncode == 0 or "signal 9" not in output.lower():
            sys.exit(f"kill {number} of rank {victim}: ended with {job.returncode}:\n{output}")
        met += any((work / name).glob("checkpoint-*.json"))
        run(binary, 1 + number % 4, train, work)
        same(traces(work / name), want, f"kill {number} of rank {victim}")
    print(f"kill: {times} of {times} ended with a message and resumed to the same bytes, {met} from a checkpoint")


def client(path, stopped, answers=None):
    """An i-PI client for springs between all pairs; goes away after `answers` answers."""
    connection = socket.socket(socket.AF_UNIX)
    while not stopped.is_set():
        try:
            connection.connect(path)
            break
        except OSError:
            time.sleep(0.02)
    connection.settimeout(0.2)

    def receive(count):
        data = b""
        while len(data) < count:
            try:
                piece = connection.recv(count - len(data))
            except socket.timeout:
                if stopped.is_set():
                    raise EOFError from None
                continue
            if not piece:
                raise EOFError
            data += piece
        return data

    have = None
    try:
        while answers is None or answers > 0:
            word = receive(12).strip()
            if word == b"STATUS":
                connection.sendall((b"HAVEDATA" if have else b"READY").ljust(12))
            elif word == b"INIT":
                receive(4)
                receive(struct.unpack("<i", receive(4))[0])
            elif word == b"POSDATA":
                receive(144)
                count = struct.unpack("<i", receive(4))[0]
                x = struct.unpack(f"<{3 * count}d", receive(24 * count))
                energy, forces = 0.0, [0.0] * (3 * count)
                for i in range(count):
                    for j in range(i):
                        for k in range(3):
                            gap = x[3 * i + k] - x[3 * j + k]
                            energy += 0.05 * gap * gap
                            forces[3 * i + k] -= 0.1 * gap
                            forces[3 * j + k] += 0.1 * gap
                have = energy, forces
            elif word == b"GETFORCE":
                energy, forces = have
                message = b"FORCEREADY".ljust(12) + struct.pack("<d", energy)
                message += struct.pack("<i", len(forces) // 3) + struct.pack(f"<{len(forces)}d", *forces)
                connection.sendall(message + bytes(72) + struct.pack("<i", 1) + b" ")
                have = None
                answers = None if answers is None else answers - 1
            else:
                break
    except (EOFError, OSError):
        pass
    connection.close()


TARGET = """
format = 1
name = "springs"
kind = "ipi"
address = "unix:boltzflow-{process}-{{rank}}"
species = ["A", "A", "A"]
length = "1 bohr"
temperature = "1 hartree"
trap = 1.0
wait_seconds = 2.0
"""


def fatal(binary, work):
    """Each rank has its own i-PI clients; those of one rank go away for good."""
    (work / "springs.toml").write_text(TARGET.format(process=os.getpid()))
    recipe(work, target="springs.toml", base_scale=1.0, steps=6)

    def job_with_clients(name, ranks, lives):
        stopped = threading.Event()
        job = launch(binary, ranks, ["train", "recipe.toml", "-o", name], work)
        threads = [
            threading.Thread(
                target=client, args=(f"/tmp/ipi_boltzflow-{os.getpid()}-{rank}", stopped, life)
            )
            for rank, life in enumerate(lives)
        ]
        for thread in threads:
            thread.start()
        output, _ = job.communicate(timeout=300)
        stopped.set()
        for thread in threads:
            thread.join()
        return job.returncode, output

    code, output = job_with_clients("untouched", 1, [None])
    if code != 0:
        sys.exit(f"one rank ended with {code}:\n{output}")
    code, output = job_with_clients("run", 2, [None, 900])
    words = ["the potential failed: on rank 1: ", "A checkpoint of step"]
    if code != 3 or any(word not in output for word in words):
        sys.exit(f"a potential that is lost on rank 1 ended with {code}:\n{output}")
    code, output = job_with_clients("run", 2, [None, None])
    if code != 0 or "resuming after step" not in output:
        sys.exit(f"resuming ended with {code}:\n{output}")
    same(traces(work / "run"), traces(work / "untouched"), "a potential lost on rank 1")
    print("fatal: a potential that is lost on rank 1 stops all, and the training goes on from its checkpoint")


SECTIONS = {"equal": equal, "resume": resume, "signal": stop, "kill": kill, "fatal": fatal}


def main():
    if len(sys.argv) < 2 or any(name not in SECTIONS for name in sys.argv[2:]):
        sys.exit(__doc__)
    binary = str(Path(sys.argv[1]).resolve())
    for name in sys.argv[2:] or SECTIONS:
        with tempfile.TemporaryDirectory() as work:
            SECTIONS[name](binary, Path(work))


if __name__ == "__main__":
    main()
