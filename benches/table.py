#!/usr/bin/env python3
"""Markdown tables of benches/README.md from `boltzflow bench --json`.

    boltzflow --threads 2 bench --json > bench.json && python3 benches/table.py bench.json
"""

import json
import sys

# Seconds of one core for 1000 samples, by the published implementation (benches/README.md says where
# from); its rows on two cores count twice.
PUBLISHED = {
    "dw4-published: sample + log q": 2 * 1.5,
    "dw4-published: log q": 2 * 1.4,
    "dw4-published: log q + input gradient": 2 * 5.0,
    "dw4-published: log q + parameter gradient": 2 * 0.40 / 32 * 1000,
    "lj13-published: sample + log q": 2 * 12.4,
    "lj13-published: log q": 2 * 12.4,
    "lj13-published: log q + input gradient": 74.0,
    "lj13-published: log q + parameter gradient": 5.2 / 32 * 1000,
}
# What a large product reached on one core of its machine, GF/s.
PUBLISHED_PEAK = 148 / 2


def significant(value):
    """Three significant digits."""
    return f"{float(f'{value:.3g}'):g}"


def main():
    with open(sys.argv[1]) if len(sys.argv) > 1 else sys.stdin as file:
        rows = json.load(file)
    threads = rows[0]["threads"]
    peaks = [row["peak_gflops"] for row in rows]
    print(f"{threads} threads; peak {min(peaks):.0f} to {max(peaks):.0f} GF/s.\n")
    print("| flow: operation | batch | MFLOP a sample | samples/s | GF/s | share of peak | peak RSS, MB |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        memory = row["peak_rss_mb"]
        print(
            f"| {row['name']} | {row['batch']} | {significant(row['megaflop_per_sample'])}"
            f" | {significant(row['samples_per_second'])} | {row['gflops']:.0f}"
            f" | {100 * row['share_of_peak']:.0f} % | {'?' if memory is None else f'{memory:.0f}'} |"
        )
    print("\n| core-seconds for 1000 samples | published | here | faster | at equal peak |")
    print("|---|---|---|---|---|")
    for row in rows:
        if (theirs := PUBLISHED.get(row["name"])) is not None:
            ours = 1000 * threads / row["samples_per_second"]
            equal = theirs / ours * PUBLISHED_PEAK / (row["peak_gflops"] / threads)
            print(
                f"| {row['name']} | {significant(theirs)} | {significant(ours)}"
                f" | {theirs / ours:.1f} × | {equal:.1f} × |"
            )


if __name__ == "__main__":
    main()
