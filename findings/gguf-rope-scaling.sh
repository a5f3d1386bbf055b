#!/bin/sh
# transformers 5.23.0 with gguf 0.19.0: `from_pretrained(folder, gguf_file=...)` leaves out what a GGUF file says of scaled
# rotary frequencies (`llama.rope.scaling.type`, `.factor`) and of biases on a Llama's projections. The model loads
# without an error or a warning that names them, and computes something else than the file's own runtime: below, the
# logits are bit for bit those of a model without scaling, and (second line) of one without biases.
#
# Guess before it was tried: only the order of the rows of queries and keys needs care. Whoever probes a model that was
# tuned for long texts, from its GGUF file, probes another model.
#
# Run it: sh findings/gguf-rope-scaling.sh. It fails if this is no longer so.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0 gguf==0.19.0 accelerate==1.15.0
cat > "$folder/scaling.py" <<'PYTHON'
import sys
from pathlib import Path

import gguf
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

SHAPE = dict(vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4)
SHAPE |= dict(num_key_value_heads=4, max_position_embeddings=256, initializer_range=0.3, rms_norm_eps=1e-6)
NAMES = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v"}
NAMES |= {"self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up"}
NAMES |= {"mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
TOP = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def made(**more):
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**SHAPE, **more)).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    return model


def stored(name):
    module, _, part = name.rpartition(".")
    if module in TOP:
        return f"{TOP[module]}.{part}"
    _, _, layer, inside = module.split(".", 3)
    return f"blk.{layer}.{NAMES[inside]}.{part}"


def written(model, folder, scaling):
    writer = gguf.GGUFWriter(folder / "model.gguf", "llama")
    writer.add_block_count(2), writer.add_context_length(256), writer.add_embedding_length(32)
    writer.add_feed_forward_length(64), writer.add_head_count(4), writer.add_head_count_kv(4)
    writer.add_layer_norm_rms_eps(1e-6), writer.add_rope_dimension_count(8), writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(64)
    if scaling:
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR), writer.add_rope_scaling_factor(scaling)
    for name, tensor in model.state_dict().items():
        if "q_proj" in name or "k_proj" in name:  # as llama.cpp stores them: rotated pairs side by side
            tensor = tensor.reshape(4, 2, 4, *tensor.shape[1:]).swapaxes(1, 2).reshape(tensor.shape)
        writer.add_tensor(stored(name), tensor.contiguous().numpy())
    writer.write_header_to_file(), writer.write_kv_data_to_file(), writer.write_tensors_to_file(), writer.close()
    return AutoModelForCausalLM.from_pretrained(folder, gguf_file="model.gguf").eval()


def compared(title, model, scaling, without):
    folder = Path(sys.argv[1]) / title
    folder.mkdir()
    ids = torch.arange(3, 43)[None]
    with torch.no_grad():
        read, own, plain = (its(ids).logits for its in (written(model, folder, scaling), model, without))
    apart = (read - own).abs().max() / own.abs().max()
    print(f"{title}: {apart > 0.1} that logits differ by over a tenth, {torch.equal(read, plain)} that it was left out")


plain = made()
scaled = made(rope_parameters={"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0})
scaled.load_state_dict(plain.state_dict())
compared("linear scaling", scaled, 4.0, plain)
biased = made(attention_bias=True)
bare = made()
bare.load_state_dict({name: tensor for name, tensor in biased.state_dict().items() if not name.endswith("bias")})
compared("biases", biased, None, bare)
PYTHON
lines=$("$folder/venv/bin/python" "$folder/scaling.py" "$folder" 2> /dev/null)
echo "$lines"
[ "$lines" = "linear scaling: True that logits differ by over a tenth, True that it was left out
biases: True that logits differ by over a tenth, True that it was left out" ] || { echo "this has changed"; exit 1; }
