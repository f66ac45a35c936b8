"""Whether the errors that the reference sampler states of a molecule are right: many seeds of it.

    python tests/openmm/calibrate.py target/release/boltzflow [SEEDS [SWEEPS [THREADS [FOLDER]]]]

Alanine dipeptide by `boltzflow reference aldp` with seeds 0, 1, …; for each quantity its mean over
seeds, the error of that mean by their scatter, how wide they scatter over what each states (1 is
right), and the share of seeds that are within 2 of their stated errors of a known value. The
samples of each seed go to FOLDER, if one is given.
"""

import json
import math
import statistics
import subprocess
import sys
import time

KT = 2.494338785
OMEGAS = ["dihedral: ACE:CH3 ACE:C ALA:N ALA:CA", "dihedral: ALA:CA ALA:C NME:N NME:C"]
#: Name, known value and its error. The first three and phi > 0 are by another program; log Z is
#: that of the flow in runs/aldp_fab.
KNOWN = {
    "energy / kJ/mol": (-98.43, 0.11),
    "virial": (63.0, 0.0),
    "phi > 0 / %": (0.26, 0.04),
    "log Z": (-31.119, 0.001),
    "cis ACE-ALA / %": (None, None),
    "cis ALA-NME / %": (None, None),
}


def share(histogram, bins):
    """Percentage in these bins, and its error."""
    width = histogram["centres"][0][1] - histogram["centres"][0][0]
    inside = 100 * width * sum(histogram["density"][b] for b in bins)
    return inside, 100 * width * math.hypot(*(histogram["error"][b] for b in bins))


def run(program, seed, sweeps, threads, folder):
    command = [
        program, "--threads", threads, "reference", "aldp", "--json", "--seed", str(seed),
        "--transitions", sweeps, "--bins", "4", "--histogram", "phi",
    ]
    for omega in OMEGAS:
        command += ["--histogram", omega]
    if folder:
        command += ["-o", f"{folder}/{seed}.npz"]
    start = time.time()
    found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    phi, *omegas = found["histograms"]
    values = {
        "energy / kJ/mol": (KT * found["energy"], KT * found["energy_error"]),
        "virial": (found["virial"], found["virial_error"]),
        "phi > 0 / %": share(phi, [2, 3]),
        "log Z": (found["log_z"], found["log_z_error"]),
        "cis ACE-ALA / %": share(omegas[0], [1, 2]),
        "cis ALA-NME / %": share(omegas[1], [1, 2]),
    }
    said = "; ".join(f"{name} {value:.3f} ± {error:.3f}" for name, (value, error) in values.items())
    worth = found["exchange"]["effective_samples"] or 0
    print(f"seed {seed}: {time.time() - start:.0f} s, {worth:.0f} samples; {said}", flush=True)
    return values


def main(program, seeds="20", sweeps="300", threads="2", folder=None):
    runs = [run(program, seed, sweeps, threads, folder) for seed in range(int(seeds))]
    print(f"\n{'':16} {'mean':>9} {'error':>7} {'known':>14} {'scatter':>8} within 2")
    for name, (known, of_known) in KNOWN.items():
        values = [values[name][0] for values in runs]
        errors = [values[name][1] for values in runs]
        mean = statistics.mean(values)
        scatter = statistics.stdev(values)
        stated = math.sqrt(statistics.mean(e * e for e in errors))
        truth, unsure = (mean, 0.0) if known is None else (known, of_known)
        within = sum(abs(v - truth) < 2 * math.hypot(e, unsure) for v, e in zip(values, errors))
        beside = "" if known is None else f"{known} ± {of_known}"
        print(
            f"{name:16} {mean:9.3f} {scatter / math.sqrt(len(values)):7.3f} {beside:>14} "
            f"{scatter / stated if stated else 0:8.2f} {within}/{len(values)}"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
