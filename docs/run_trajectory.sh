#!/usr/bin/env bash
# Runs the commands of trajectory.md as they are printed, with fewer steps and a smaller flow.
# Usage: docs/run_trajectory.sh FOLDER PYTHON; boltzflow is found by PATH, and PYTHON, in a folder
# where it is called python, has ase and tblite.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1"
PATH="$(cd "$(dirname "$2")" && pwd):$PATH"
export PATH OMP_NUM_THREADS=1
cd "$1"
cp "$root"/docs/trajectory/*.{py,toml} "$root/examples/ipi/molecule_client.py" .
blocks() {
    awk -v start="^\`\`\`$1\$" '$0 ~ start { inside = 1; next } /^```$/ { inside = 0 } inside' \
        "$root/docs/trajectory.md"
}
blocks bash >client.sh
blocks sh >run.sh
[ "$(grep -c boltzflow run.sh)" -ge 5 ] || { echo "the page's commands are missing" >&2; exit 1; }
smaller() { # FILE EXPRESSION…, each of which must change something
    for expression in "${@:2}"; do
        sed "$expression" "$1" >changed
        ! cmp -s "$1" changed || { echo "$1: nothing for $expression" >&2; exit 1; }
        mv changed "$1"
    done
}
smaller run.sh 's/md.xyz 60000/md.xyz 600/' 's/hot.xyz 40000/hot.xyz 300/' \
    's/-n [0-9]*000/-n 100/' 's/train.steps=20 *$/train.steps=2/' \
    's/train.steps=1000/train.steps=20/'
# A socket of its own, beside another run on this machine.
smaller client.sh "s/client.py ethanol /client.py ethanol_$$ /"
smaller ethanol.toml "s/unix:ethanol/unix:ethanol_$$/"
smaller ml.toml 's/^steps = .*/steps = 20/'
smaller fab.toml 's/^steps = .*/steps = 2/' 's/count = 1024/count = 128/'
for file in ml.toml fab.toml; do
    smaller $file 's/^batch_size = .*/batch_size = 16/' 's/^repeat = .*/repeat = 2/' \
        's/^samples = .*/samples = 100/'
done
bash client.sh &
client=$!
# The loop, and the client that waits in it.
trap 'pkill -P $client || true; kill $client 2>/dev/null || true' EXIT
bash -euxo pipefail run.sh
