#!/bin/sh
# scikit-learn 1.5 to 1.7.2: StratifiedGroupKFold with shuffle=True does not stratify; from 1.8.0 on it does
# (scikit-learn's pull request 32540). The rows of a group go with the fold that was chosen for another group.
#
# 120 rows, half of each class, in random order, each a group of its own, five folds: every fold should be half and half.
# Seen with 1.7.2: shares of a class that differ by .375 from fold to fold; with 1.8.0: none that differ.
# For whoever probes rows without partners this moves more than the folds: p-values against permuted labels, which are
# uniform with stratified folds, had a mean of .41 to .48 under 1.5.0 in our own tests.
#
# Run it: sh findings/sklearn-folds.sh. It fails if this is no longer so.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
cat > "$folder/folds.py" <<'PYTHON'
import numpy as np
import sklearn
from sklearn.model_selection import StratifiedGroupKFold

widest = 0.0
for seed in range(20):
    labels = np.random.default_rng(seed).permutation(np.repeat([0, 1], 60))
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(labels, labels, np.arange(120))
    shares = [labels[test].mean() for _, test in folds]
    widest = max(widest, max(shares) - min(shares))
print(f"scikit-learn {sklearn.__version__}: shares differ by {widest:.3f}")
PYTHON
for case in 1.7.2:0.375 1.8.0:0.000; do
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check "scikit-learn==${case%%:*}" numpy==2.3.5
    line=$("$folder/venv/bin/python" "$folder/folds.py")
    echo "$line"
    case $line in
        *" by ${case##*:}") ;;
        *) echo "this has changed: expected ${case##*:}" && exit 1 ;;
    esac
done
