#!/bin/sh
# bitsandbytes 0.50.2 on a processor with AVX512-BF16: reading `state_dict()` of a 4-bit layer that has run once changes
# what the layer computes. Its first forward pass in evaluation mode repacks the weight for the processor, with scales
# [blocks a row, rows]; `state_dict()` unpacks it in place and leaves the scales in that order, so that they belong to
# other blocks from then on. `save_pretrained` reads `state_dict()` too, and a hash of all weights.
#
# Guess before it was tried: `state_dict()` only reads. Below, outputs of up to about 50 move by more than 10.
#
# Run it: sh findings/bitsandbytes-state-dict.sh. It fails if this is no longer so; other processors do not repack.
set -eu
grep -q avx512_bf16 /proc/cpuinfo || { echo "this processor has no AVX512-BF16, so there is nothing to see here"; exit 0; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 bitsandbytes==0.50.2
cat > "$folder/layer.py" <<'PYTHON'
import torch
from bitsandbytes.nn import Linear4bit, Params4bit

torch.manual_seed(0)
layer = Linear4bit(256, 256, bias=False, quant_type="nf4", compute_dtype=torch.float32)
weight = torch.randn(256, 256)
layer.weight = Params4bit(weight, requires_grad=False, quant_type="nf4", compress_statistics=False, module=layer)
layer = layer.to("cpu").eval()
rows = torch.randn(4, 256)
with torch.no_grad():
    first, second = layer(rows), layer(rows)
    layer.state_dict()
    third = layer(rows)
print(f"two passes agree: {torch.equal(first, second)}")
print(f"a pass after state_dict() differs by over 10: {(first - third).abs().max() > 10}")
PYTHON
lines=$("$folder/venv/bin/python" -W ignore "$folder/layer.py" 2> /dev/null)
echo "$lines"
[ "$lines" = "two passes agree: True
a pass after state_dict() differs by over 10: True" ] || { echo "this has changed"; exit 1; }
