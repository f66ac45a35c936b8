"""Throughput over a network of 1 ms delay and 1 Gb/s, compared with the cost model of docs/notes/cluster.md.

    python3 tests/mpi/network.py target/release/boltzflow [--recipe runs/lj13_fab.toml] [--steps 30]

Hosts are network namespaces of this machine, made here and removed at the end (Linux, root, Open MPI).
The wire between them is a program of its own, since not every kernel has netem: packets to a host
leave one after the other at the rate and arrive after the delay. Prints, for the same recipe, seconds per
step on one rank of one and two threads, on two ranks of this machine, and on two ranks on two hosts, with the
bytes per step and the waiting that metrics.csv says, and what the model says of the last from the one before.
"""

import argparse
import csv
import fcntl
import os
import select
import struct
import subprocess
import sys
import tempfile
import time
from collections import deque
from pathlib import Path

HOSTS = ["10.203.7.1", "10.203.7.2"]
MTU = 60000


def command(*words, **options):
    return subprocess.run(words, check=True, **options)


def name(host):
    return f"boltz{os.getpid()}-{host.rsplit('.', 1)[1]}"


def open_wire(host):
    """A TUN device in a namespace of its own, and our end of it."""
    command("ip", "netns", "add", name(host))
    end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    device = f"bz{os.getpid() % 100000}-{host.rsplit('.', 1)[1]}"
    fcntl.ioctl(end, 0x400454CA, struct.pack("16sH", device.encode(), 0x0001 | 0x1000))
    command("ip", "link", "set", device, "netns", name(host), "mtu", str(MTU))
    inside = ["ip", "netns", "exec", name(host)]
    command(*inside, "ip", "link", "set", "lo", "up")
    command(*inside, "ip", "address", "add", f"{host}/24", "dev", device)
    command(*inside, "ip", "link", "set", device, "up", "txqueuelen", "1000")
    return end


def carry(ends, delay, rate):
    """Moves packets until it is killed."""
    address = {bytes(int(part) for part in host.split(".")): end for host, end in ends.items()}
    free = dict.fromkeys(ends.values(), 0.0)
    waiting = {end: deque() for end in ends.values()}
    while True:
        due = min((queue[0][0] for queue in waiting.values() if queue), default=None)
        rest = None if due is None else max(0.0, due - time.perf_counter())
        for source in select.select(list(free), [], [], rest)[0]:
            try:
                packet = os.read(source, 65535)
            except BlockingIOError:
                continue
            target = address.get(packet[16:20])
            if target is None:
                continue
            now = time.perf_counter()
            free[source] = max(now, free[source]) + 8 * len(packet) / rate
            waiting[target].append((free[source] + delay, packet))
        now = time.perf_counter()
        for target, queue in waiting.items():
            while queue and queue[0][0] <= now:
                try:
                    os.write(target, queue[0][1])
                except BlockingIOError:
                    break
                queue.popleft()


def rows(folder):
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def seconds_per_step(folder):
    """Of the steps between the first and the last row, without evaluations; bytes and waiting, too."""
    found = rows(folder)
    first, last = found[0], found[-1]
    steps = int(last["step"]) - int(first["step"])
    mean = lambda key: sum(float(row[key] or 0) for row in found[1:]) / (len(found) - 1)
    seconds = (float(last["train_seconds"]) - float(first["train_seconds"])) / steps
    return seconds, mean("bytes_per_step"), mean("waiting_share")


def ping(host, other):
    """Round trip of a small packet, in seconds."""
    program = (
        "import socket,sys,time\n"
        "s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM);s.bind((sys.argv[1],7000));s.settimeout(5)\n"
        "t=[]\n"
        "for _ in range(50):\n"
        " b=time.perf_counter();s.sendto(b'x',(sys.argv[2],7000));s.recv(9);t.append(time.perf_counter()-b)\n"
        "print(sorted(t)[25])\n"
    )
    echo = (
        "import socket,sys\n"
        "s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM);s.bind((sys.argv[1],7000))\n"
        "while True:\n m,a=s.recvfrom(9);s.sendto(m,a)\n"
    )
    answering = subprocess.Popen(["ip", "netns", "exec", name(other), sys.executable, "-c", echo, other])
    time.sleep(0.5)
    try:
        inside = ["ip", "netns", "exec", name(host), sys.executable, "-c", program, host, other]
        return float(command(*inside, capture_output=True, text=True).stdout)
    finally:
        answering.kill()
        answering.wait()


def messages(recipe, moved, arguments):
    """Seconds per step that the network adds for two ranks, as in docs/notes/cluster.md. Of the
    messages of an update, the two of the gradient are announced first and take three delays."""
    updates = 8
    for line in recipe.splitlines():
        if line.startswith("updates_per_annealing"):
            updates = int(line.split("=")[1])
    delays = 5 + 2 + updates * (1 + 3 + 3)
    return delays * arguments.delay + 8 * 0.5 * moved / arguments.rate


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary")
    parser.add_argument("--recipe", default="runs/lj13_fab.toml")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--delay", type=float, default=1e-3, help="seconds, one way")
    parser.add_argument("--rate", type=float, default=1e9, help="bits a second")
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    binary = str(Path(arguments.binary).resolve())
    text = Path(arguments.recipe).read_text()
    kept = [line for line in text.splitlines() if not line.startswith(("reference_samples", "every_steps"))]
    text = "\n".join(
        f"steps = {arguments.steps}" if line.startswith("steps =") else line for line in kept
    ).replace("[evaluate]", f"[evaluate]\nevery_steps = {arguments.steps}\nsamples = 100")

    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        (work / "recipe.toml").write_text(text)
        agent = work / "agent"
        agent.write_text(
            "#!/bin/sh\n# ssh's place: a host is a namespace.\n"
            'host=$1; shift; last=${host##*.}\n'
            f'exec ip netns exec boltz{os.getpid()}-$last unshare --uts sh -c "hostname host$last; $*"\n'
        )
        agent.chmod(0o755)
        common = ["--allow-run-as-root", "--bind-to", "none", "-n", "2"]
        launchers = {
            "1 rank, 1 thread": [],
            "1 rank, 2 threads": [],
            "2 ranks, this machine": ["mpirun", "--oversubscribe", *common],
            "2 ranks, 2 hosts": [
                *["ip", "netns", "exec", name(HOSTS[0]), "unshare", "--uts", "sh", "-c"],
                'hostname host1; exec "$@"',
                *["sh", "mpirun", *common, "--host", ",".join(HOSTS)],
                *["--mca", "plm_rsh_agent", str(agent), "--mca", "btl", "tcp,self"],
                *["--mca", "pml", "ob1", "--mca", "btl_tcp_if_include", "10.203.7.0/24"],
                *["--mca", "oob_tcp_if_include", "10.203.7.0/24"],
            ],
        }
        pid = None
        try:
            ends = {host: open_wire(host) for host in HOSTS}
            pid = os.fork()
            if pid == 0:
                try:
                    os.nice(-10)
                except OSError:
                    pass
                carry(ends, arguments.delay, arguments.rate)
            for end in ends.values():
                os.close(end)
            print(f"round trip {1e3 * ping(*HOSTS):.2f} ms")
            found = {label: [] for label in launchers}
            for turn in range(arguments.rounds):
                for number, (label, launcher) in enumerate(launchers.items()):
                    folder = work / f"run-{turn}-{number}"
                    threads = "2" if "2 threads" in label else "1"
                    train = [binary, "--threads", threads, "train", "recipe.toml", "-o", str(folder)]
                    job = subprocess.run([*launcher, *train], cwd=work, capture_output=True, text=True)
                    if job.returncode != 0:
                        sys.exit(f"{label} ended with {job.returncode}:\n{job.stdout}{job.stderr}")
                    found[label].append(seconds_per_step(folder))
                    seconds, moved, waiting = found[label][-1]
                    print(
                        f"{label:<22} {seconds:.3f} s/step  {moved / 1e6:7.3f} MB/step  "
                        f"{100 * waiting:5.1f} % waiting",
                        flush=True,
                    )
            label = list(launchers)
            best = {name: min(found[name]) for name in label}
            predicted = best[label[2]][0] + messages(text, best[label[3]][1], arguments)
            measured = best[label[3]][0]
            ratio = best[label[1]][0] / best[label[2]][0]
            print(f"2 ranks x 1 thread do {100 * ratio:.1f} % of the steps of 1 rank x 2 threads")
            print(
                f"2 hosts: {1 / measured:.3f} steps/s, by the model {1 / predicted:.3f} "
                f"({100 * (predicted / measured - 1):+.1f} %)"
            )
        finally:
            if pid:
                os.kill(pid, 9)
                os.waitpid(pid, 0)
            for host in HOSTS:
                subprocess.run(["ip", "netns", "del", name(host)], check=False)


if __name__ == "__main__":
    main()
