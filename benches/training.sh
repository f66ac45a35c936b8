#!/usr/bin/env bash
# How long a training takes to its first step, and whether its memory grows over 10 000 steps; Linux.
#
#   bash benches/training.sh [path of boltzflow]
set -euo pipefail
cd "$(dirname "$0")/.."
boltzflow=${1:-target/release/boltzflow}
work=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null || true; rm -rf "$work"' EXIT

# A training from the start leaves a checkpoint right before its first step.
for recipe in runs/dw4_brief.toml runs/lj13_fab.toml; do
    start=$(date +%s%N)
    "$boltzflow" train "$recipe" -o "$work/first" > "$work/log" 2>&1 &
    pid=$!
    until compgen -G "$work/first/checkpoint*.json" > /dev/null; do
        kill -0 "$pid" 2>/dev/null || { cat "$work/log" >&2; exit 1; }
        sleep 0.01
    done
    echo "$recipe: $((($(date +%s%N) - start) / 1000000)) ms to the first step"
    kill -9 "$pid"
    wait "$pid" 2>/dev/null || true
    rm -r "$work/first"
done

cat > "$work/tiny.toml" <<'RECIPE'
format = 1
target = "dw4"
seed = 0

[[flow.layers]]
coupling = "pairwise"
repeat = 1
width = 4

[train]
objective = "fab"
steps = 10100
batch_size = 16

[train.fab]
intermediate_distributions = 2

[evaluate]
every_steps = 1000
samples = 500
RECIPE
"$boltzflow" train "$work/tiny.toml" -o "$work/tiny" > "$work/log" 2>&1 &
pid=$!
for step in 1000 2000 5000 10000; do
    until [ "$(tail -qn 1 "$work/tiny/metrics.csv" 2>/dev/null | cut -d, -f1 | tr -cd 0-9)0" -ge "${step}0" ]; do
        kill -0 "$pid" 2>/dev/null || { cat "$work/log" >&2; exit 1; }
        sleep 0.05
    done
    echo "step $step: $(awk '/^VmRSS/ { print $2 }' "/proc/$pid/status") kB resident"
done
wait "$pid"
pid=
