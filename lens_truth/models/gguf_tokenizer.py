"""The tokenizer inside a GGUF file, with its chat template.

A sentencepiece vocabulary is Transformers' business (`convert_gguf_tokenizer`). A byte-level one is put together here:
how it splits text, the file says by a name only, and names that Transformers does not know it takes for GPT-2's way
without a word; special tokens with letters beyond the byte alphabet (DeepSeek's) it cuts into pieces.
"""

from __future__ import annotations

from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from transformers.integrations.gguf.gguf_tokenizer_mapping import (
    GGUF_PRE_TOKENIZER_SPLITS,
    GGUF_TOKENIZER_MAPPING,
    convert_gguf_tokenizer,  # pyright: ignore[reportUnknownVariableType]
)

from lens_truth.errors import InputError, first_line, notice
from lens_truth.models.gguf_header import Gguf

_AS_GPT2 = ("a.x-4.0", "exaone4", "gigachat", "gpt-2", "granite-docling", "jais", "mellum", "mpt", "olmo", "phi-2")
_DIGIT_BY_DIGIT = ("codeshell", "command-r", "exaone", "minerva-7b", "refact", "smollm", "starcoder")
_LIKE = {"hunyuan": "qwen2", "stablelm2": "qwen2"}
_WHOLE_WORDS = (
    *("falcon-h1", "falcon3", "jina-v5-nano", "lfm2", "llama-bpe", "llama-v3", "llama3", "midm-2.0", "pixtral"),
    "tekken",
)
"""What `tokenizer.ggml.pre` may be, and what llama.cpp does then (its `llama-vocab.cpp`): split as GPT-2 does; the same
after every digit; as another name. In the last, a word that is a token is one, whatever the merges make of it, and a
text begins with the token for that unless the file says otherwise."""
_CONTROL, _USER_DEFINED = 3, 4
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
    kind = of.get("tokenizer_type")
    try:
        backend = _byte_level(file, of) if kind == "gpt2" else convert_gguf_tokenizer(file.architecture, of)[0]
        if kind == "llama" and not of.get("add_prefix_space", True):
            _no_space_in_front(backend)
        special = {name: file.metadata.get(f"tokenizer.ggml.{entry}_token_id") for name, entry in _SPECIAL.items()}
        begins = kind == "llama" or (kind == "gpt2" and of.get("pre_tokenizer_type") in _WHOLE_WORDS)
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


def _byte_level(file: Gguf, of: dict[str, Any]) -> Tokenizer:
    """Byte-level BPE, split as the file says."""
    name: str = of.get("pre_tokenizer_type", "default")
    merges = [tuple(merge.split(" ")) for merge in of.get("merges", ())]
    vocabulary = {token: number for number, token in enumerate(of["tokens"])}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=name in _WHOLE_WORDS))
    parts: list[Any] = [pre_tokenizers.ByteLevel(add_prefix_space=False)]
    if (pattern := GGUF_PRE_TOKENIZER_SPLITS.get(_LIKE.get(name, name))) is not None:
        split = pre_tokenizers.Split(Regex(pattern), "isolated")
        parts = [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    elif name in _DIGIT_BY_DIGIT:
        parts.insert(0, pre_tokenizers.Digits(individual_digits=True))
    elif name not in _AS_GPT2:
        notice(
            f"{file.path}: how its tokenizer splits text ('{name}') is not known; GPT-2's way is taken, and some words "
            "may become other tokens: better give the tokenizer of the checkpoint that it was made from (`tokenizer=`)"
        )
    backend.pre_tokenizer = pre_tokenizers.Sequence(parts)
    backend.decoder = decoders.ByteLevel()
    kinds = of.get("token_type", ())
    for number, (token, kind) in enumerate(zip(of["tokens"], kinds, strict=False)):
        if kind in (_CONTROL, _USER_DEFINED) and vocabulary[token] == number:
            backend.add_tokens([AddedToken(token, special=kind == _CONTROL, normalized=False)])
    return backend


def _no_space_in_front(backend: Any) -> None:
    if isinstance(backend.pre_tokenizer, pre_tokenizers.Metaspace):
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
        backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
