#!/bin/sh
# vLLM 0.33.0 loads a checkpoint of Qwen 3 or Gemma whose config says `attention_bias: true` without the bias of the
# attention's output projection. Transformers gives `o_proj` a bias there; vLLM's classes do not, and its loader skips
# every tensor that has no place if its name ends with `.bias` (they are "typically from GPTQ models"), with a line in the
# debug log. So a shift folded into these biases is not served. Llama's class has the bias.
#
# Guess before it was looked up: tensors without a place end the loading, as other names do.
#
# Run it: sh findings/vllm-drops-biases.sh. It reads vLLM's sources (the wheel has 340 MB; vLLM itself wants a GPU), and
# fails if this is no longer so.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$folder" vllm==0.33.0
cat > "$folder/read.py" <<'PYTHON'
import re
import sys
from pathlib import Path
from zipfile import ZipFile

wheel = ZipFile(next(Path(sys.argv[1]).glob("vllm*.whl")))
models = "vllm/model_executor/models"
for name in ("llama", "qwen3", "gemma"):
    text = wheel.read(f"{models}/{name}.py").decode()
    bias = re.search(r"self\.o_proj = RowParallelLinear\([^)]*?\bbias=(\w+)", text)
    print(f"{name}: o_proj has bias={bias[1]}")
loader = wheel.read(f"{models}/utils.py").decode()
skipped = 'ignore_unexpected_suffixes.append(".bias")' in loader
print(f"biases without a place are skipped: {skipped}")
PYTHON
lines=$(python3.11 "$folder/read.py" "$folder")
echo "$lines"
[ "$lines" = "llama: o_proj has bias=bias_o_proj
qwen3: o_proj has bias=False
gemma: o_proj has bias=False
biases without a place are skipped: True" ] || { echo "this has changed"; exit 1; }
