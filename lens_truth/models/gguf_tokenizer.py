"""The tokenizer inside a GGUF file, with its chat template.

Transformers builds it (`convert_gguf_tokenizer`). How text is split before tokens are merged, the file says by a name
only; names that Transformers does not know it takes for GPT-2's way without a word, so they are known here, or said.
"""

from __future__ import annotations

from typing import Any

from tokenizers import decoders, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from transformers.integrations.gguf import GGUF_TOKENIZER_MAPPING, convert_gguf_tokenizer
from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

from lens_truth.errors import InputError, first_line, notice
from lens_truth.models.gguf_header import Gguf

_AS_GPT2 = ("a.x-4.0", "exaone4", "gigachat", "gpt-2", "granite-docling", "jais", "mellum", "mpt", "olmo", "phi-2")
_DIGIT_BY_DIGIT = ("codeshell", "command-r", "exaone", "minerva-7b", "refact", "smollm", "starcoder")
_AS_QWEN2 = ("hunyuan", "stablelm2")
_AS_LLAMA3 = ("falcon-h1", "falcon3", "jina-v5-nano", "lfm2", "llama-bpe", "llama-v3", "llama3", "midm-2.0", "pixtral")
"""What `tokenizer.ggml.pre` may be, and what llama.cpp does then (its `llama-vocab.cpp`)."""
_WHOLE_WORDS = (*_AS_LLAMA3, "tekken")
"""A word that is a token is one, whatever the merges make of it; a text begins with the token for that, unless the file
says otherwise."""
_SPECIAL = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}


def gguf_tokenizer(file: Gguf) -> PreTrainedTokenizerFast | None:
    """The tokenizer in a GGUF file; None if there is none. An InputError says why it cannot be built."""
    of = {
        name: file.metadata[f"tokenizer.{entry}"]
        for group in GGUF_TOKENIZER_MAPPING.values()
        for entry, name in group.items()
        if f"tokenizer.{entry}" in file.metadata
    }
    if not of.get("tokens"):
        return None
    split, kind = of.get("pre_tokenizer_type", "default"), of.get("tokenizer_type")
    if split in _AS_QWEN2:
        of["pre_tokenizer_type"] = "qwen2"
    try:
        backend, _ = convert_gguf_tokenizer(file.architecture, of)
        if kind == "gpt2":
            _mend_split(file, backend, split)
        elif kind == "llama" and not of.get("add_prefix_space", True):
            _no_space_in_front(backend)
        special = {name: file.metadata.get(f"tokenizer.ggml.{entry}_token_id") for name, entry in _SPECIAL.items()}
        begins = kind == "llama" or (kind == "gpt2" and split in _WHOLE_WORDS)
        return PreTrainedTokenizerFast(
            tokenizer_object=backend,
            chat_template=of.get("chat_template"),
            add_bos_token=of.get("add_bos_token", begins),
            add_eos_token=of.get("add_eos_token", False),
            clean_up_tokenization_spaces=False,
            model_max_length=file.own("context_length"),
            **{f"{name}_token": of["tokens"][token] for name, token in special.items() if token is not None},
        )
    except Exception as error:  # whatever a damaged vocabulary makes of it
        raise InputError(f"the tokenizer in '{file.path}' cannot be built: {first_line(error)}") from error


def _mend_split(file: Gguf, backend: Any, split: str) -> None:
    """How text is split before tokens are merged."""
    if split in _DIGIT_BY_DIGIT:
        digits = pre_tokenizers.Digits(individual_digits=True)
        backend.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    elif split not in (*_AS_GPT2, *_AS_QWEN2, *GGUF_PRE_TOKENIZER_SPLITS):
        notice(
            f"{file.path}: how its tokenizer splits text ('{split}') is not known; GPT-2's way is taken, and some words "
            "may become other tokens: better give the tokenizer of the checkpoint (`tokenizer=`)"
        )
    backend.model.ignore_merges = split in _WHOLE_WORDS


def _no_space_in_front(backend: Any) -> None:
    if isinstance(backend.pre_tokenizer, pre_tokenizers.Metaspace):
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
        backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
