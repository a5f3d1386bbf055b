#!/bin/sh
# nam-causal-head-gating 0.1.0 (causal head gating, arXiv 2505.13737): a gate that begins, or that the first fit leaves, below
# .018 or above .982 is not drawn by the penalty at all, so its role is what it was at the beginning. The penalty is on the
# logit clamped to [-4, 4], and what is clamped has no slope; the logit itself is not held there. A head without any effect
# ought to be 1 when gates are drawn to 1 and 0 when they are drawn to 0, which is called irrelevant. Of the gates that begin
# uniformly between 0 and 1, as they do by default, one in 28 begins out of reach, and the first fit, with steps of 1 in the
# logit, drives more there.
#
# One layer of two heads, the second of which writes nothing; gates begin at .02, then at .01; 5 updates without and 40 with
# the penalty, all other settings as they are by default.
#
# Guess before it was tried: the penalty decides about a head that has no effect, wherever it begins.
#
# Run it: sh findings/head-gating-clamp.sh. It fails if this is no longer so.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0 nam-causal-head-gating==0.1.0
cat > "$folder/clamp.py" <<'PYTHON'
import torch
from causal_head_gating import CHGTrainer
from causal_head_gating.data import MaskedSequenceDataset
from transformers import LlamaConfig, LlamaForCausalLM

torch.manual_seed(0)
shape = {"vocab_size": 32, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
model = LlamaForCausalLM(LlamaConfig(**shape)).eval().requires_grad_(False)
model.model.layers[0].self_attn.o_proj.weight[:, 8:] = 0
rows = torch.randint(1, 32, (32, 8))
for begin in (0.02, 0.01):
    data = MaskedSequenceDataset(0, input_ids=rows, loss_masks=torch.ones_like(rows).bool())
    trainer = CHGTrainer(model, data, mask_init_range=(begin, begin))
    for _ in trainer.fit(num_updates=5, num_reg_updates=40, verbose=False):
        pass
    found = trainer.get_final_masks()
    drawn = ", ".join(f"{float(found[name][0, 1]):.2f}" for name in ("necessary", "sufficient"))
    print(f"begun at {begin}: drawn to 1 and to 0 it is {drawn}")
PYTHON
lines=$("$folder/venv/bin/python" "$folder/clamp.py" 2> "$folder/errors") || { cat "$folder/errors"; exit 1; }
echo "$lines"
[ "$lines" = "begun at 0.02: drawn to 1 and to 0 it is 1.00, 0.00
begun at 0.01: drawn to 1 and to 0 it is 0.01, 0.01" ] || { echo "this has changed"; exit 1; }
