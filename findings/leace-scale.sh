#!/bin/sh
# concept-erasure 0.2.4: LeaceFitter with its default shrinkage gives another projection for the same features in a smaller
# unit. `optimal_linear_shrinkage` adds the rounding unit 2.2e-16 to numbers that go with the fourth power of the variance,
# so that of features which vary by a few thousandths or less the covariance is taken for a multiple of the identity. What
# is erased is erased all the same, but no longer with the least change (Theorem 4.3): the projection is then the
# orthogonal one along the difference of class means. Heads of small models do vary so little: 10 of the 270 of
# SmolLM2-135M-Instruct on statements about cities.
#
# 400 rows, 8 features of different size, a label in five of them; the same rows times 10, .1, .01 and .001. Theorem 4.3
# knows no unit: the projection ought to be the same in all.
#
# Guess before it was tried: shrinkage does not depend on the unit of the features.
#
# Run it: sh findings/leace-scale.sh. It fails if this is no longer so.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 concept-erasure==0.2.4
cat > "$folder/scale.py" <<'PYTHON'
import torch
from concept_erasure import LeaceFitter

labels = torch.arange(400) % 2
noise = torch.randn(400, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
features = noise @ torch.diag(torch.tensor([4.0, 2, 1, 1, 1, 1, 0.5, 0.25], dtype=torch.float64))
features += labels[:, None] * torch.tensor([2.0, 1, 1, 0, 0, 0, 0.5, 0.25], dtype=torch.float64)
whole = LeaceFitter.fit(features, labels, svd_tol=1e-9).eraser.P
for scale in (10, 0.1, 0.01, 0.001):
    P = LeaceFitter.fit(scale * features, labels, svd_tol=1e-9).eraser.P
    left = (features @ P.T)[labels == 1].mean(0) - (features @ P.T)[labels == 0].mean(0)
    print(f"times {scale}: moved by {(P - whole).abs().max():.3f}, means apart by {left.norm():.3f}")
PYTHON
lines=$("$folder/venv/bin/python" "$folder/scale.py" 2> /dev/null)
echo "$lines"
[ "$lines" = "times 10: moved by 0.000, means apart by 0.000
times 0.1: moved by 0.000, means apart by 0.000
times 0.01: moved by 0.006, means apart by 0.000
times 0.001: moved by 1.802, means apart by 0.000" ] || { echo "this has changed"; exit 1; }
