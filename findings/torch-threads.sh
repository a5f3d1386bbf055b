#!/bin/sh
# torch.nn.functional.linear in float32 on a CPU: the bits of a product of 5 to 9 rows hang on the number of threads,
# those of fewer and of more rows do not. So a prompt that is read in one pass gives the same numbers on one core and on
# two, and one that goes on from a cache by a few tokens does not. Intel MKL, which computes it, has a mode for this
# (MKL_CBWR=AUTO,STRICT, before the process starts): then no product hangs on it, at the same speed.
#
# Guess before it was tried: rows are shared out among threads, so no product hangs on their number.
#
# Run it: sh findings/torch-threads.sh (torch 2.13.0, x86-64). It fails if this is no longer so.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cat >"$folder/products.py" <<'PY'
import hashlib, sys, torch
torch.set_num_threads(int(sys.argv[1]))
generator = torch.Generator().manual_seed(0)
for rows in (2, 4, 5, 9, 16, 40, 200):
    x, w = torch.randn(rows, 576, generator=generator), torch.randn(1536, 576, generator=generator)
    print(rows, hashlib.sha256(torch.nn.functional.linear(x, w).numpy().tobytes()).hexdigest()[:12])
PY
run() { env "$1" OMP_WAIT_POLICY=PASSIVE "$folder/venv/bin/python" "$folder/products.py" "$2"; }
run A=0 1 >"$folder/one"; run A=0 2 >"$folder/two"
run MKL_CBWR=AUTO,STRICT 1 >"$folder/strict-one"; run MKL_CBWR=AUTO,STRICT 2 >"$folder/strict-two"
differ=$(diff "$folder/one" "$folder/two" | sed -n 's/^< \([0-9]*\) .*/\1/p' | tr '\n' ' ')
echo "rows whose product differs between one thread and two: ${differ:-none}"
strict=$(diff "$folder/strict-one" "$folder/strict-two" | sed -n 's/^< \([0-9]*\) .*/\1/p' | tr '\n' ' ')
echo "the same in MKL's strict mode: ${strict:-none}"
[ "$differ" = "5 9 " ] && [ -z "$strict" ] || { echo "this has changed"; exit 1; }
