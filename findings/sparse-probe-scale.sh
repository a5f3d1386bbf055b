#!/bin/sh
# TransformerLens 4.3.0: `fit_sparse_probe(features, labels, k=..., preprocess="standardize")` chooses its k coordinates by
# the difference of class means in raw units, and standardises only what it has chosen. So a coordinate that is large
# and says nothing is preferred to a small one that tells the classes apart; `preprocess` changes nothing about that.
#
# 400 rows, 50 coordinates: number 0 has the label in it (three standard deviations), number 1 is noise, 300 times as large
# as the others, as a few coordinates of every trained residual stream are. With k = 1, "none" and "standardize" both
# choose number 1 and are right in .45 of held-out rows; divided by their standard deviation before, number 0: .875.
#
# Guess before it was tried: "standardize" comes before the choice. Whoever reads a sparse probe of a residual stream as
# "no few neurons know" may have looked at its largest coordinates.
#
# Run it: sh findings/sparse-probe-scale.sh. It fails if this is no longer so.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0 transformer-lens==4.3.0
cat > "$folder/scale.py" <<'PYTHON'
import torch
from transformer_lens.tools.analysis import fit_sparse_probe

labels = torch.arange(400) % 2
features = torch.randn(400, 50, generator=torch.Generator().manual_seed(0))
features[:, 0] += 3 * labels
features[:, 1] *= 300
for title, x, how in (
    ("none", features, "none"),
    ("standardize", features, "standardize"),
    ("divided before", features / features.std(0), "standardize"),
):
    found = fit_sparse_probe(x, labels, k=1, preprocess=how)
    print(f"{title}: coordinate {found.selected_features.item()}, accuracy {found.metrics.accuracy:.3f}")
PYTHON
lines=$("$folder/venv/bin/python" "$folder/scale.py" 2> /dev/null)
echo "$lines"
[ "$lines" = "none: coordinate 1, accuracy 0.450
standardize: coordinate 1, accuracy 0.450
divided before: coordinate 0, accuracy 0.875" ] || { echo "this has changed"; exit 1; }
