"""A checkpoint is loaded whole or not at all: what its files hold is what its class has, tensor by tensor."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from lens_truth.errors import InputError, notice

_CAUSES = (
    (
        r"^(state_dict|model_state_dict|model|module)$",
        "the tensors lie one level deeper: save `torch.load(FILE)[NAME]` in its place",
    ),
    (
        r"lora_|base_layer|ia3_|prompt_encoder",
        "an adapter lies in them: merge it (`merge_and_unload()`) and save again",
    ),
    (
        r"qweight|qzeros|g_idx|absmax|quant_|weight_scale|weight_packed",
        "they are quantised in a way that config.json does not name or Transformers does not know: give the checkpoint "
        "in full precision that they were made from",
    ),
    (
        r"(^|\.)(score|classifier|classification_head|qa_outputs|v_head|value_head|reward_head)\.",
        "they are of a classifier or a reward model: give the language model that it was made from",
    ),
    (
        r"vision|visual|image|audio|speech|talker|mm_projector|multi_modal|resampler",
        "they are of a multimodal model, and config.json is not: give it the config.json that it was published with",
    ),
    (
        r"_fsdp_wrapped_module|_checkpoint_wrapped_module|_orig_mod|_forward_module|(^|\.)module\.",
        "their names are those of a wrapper for training: unwrap the model, and save again",
    ),
)
"""What a name among those that have no place in the class says of the files."""


class Report(NamedTuple):
    """What Transformers says that it could not load, tied tensors and those that the class declares optional apart."""

    missing: Sequence[str]
    unexpected: Sequence[str]
    mismatched: Sequence[tuple[str, tuple[int, ...], tuple[int, ...]]]
    """Names with their shape in the files and in the class."""


def load_whole(auto: Any, name: str, source: str | None, attn: str | None, **how: Any) -> Any:
    """The model that `auto.from_pretrained(source, **how)` loads; an InputError says what it did not load, and the
    likely cause. A prefix that all names bear (`module.`, `_orig_mod.`) is left out, and that is said. Attention is
    SDPA where nothing else is asked for, and eager where the class has nothing else, which is said too."""
    if attn is None:
        try:
            return load_whole(auto, name, source, "sdpa", **how)
        except ValueError as error:
            if isinstance(error, InputError) or "scaled_dot_product_attention" not in str(error):
                raise
        notice(f"{name}: its class has no SDPA in Transformers, so attention is eager: slower, and more memory")
        attn = "eager"
    how["attn_implementation"] = attn
    hf, report = _loaded(auto, source, how)
    if prefix := _prefix(report):
        del hf
        notice(f"{name}: the names of its tensors begin with '{prefix}', which was left out")
        hf, report = _loaded(auto, source, {**how, "key_mapping": {f"^{re.escape(prefix)}": ""}})
    if lacking := _lacking(report, len(hf.state_dict())):
        raise InputError(
            f"model '{name}' does not load whole as {type(hf).__name__}: its files {lacking}; {_cause(report, hf)}"
        )
    return hf


def tensors_read(hf: Any) -> tuple[int, int]:
    """How many tensors a model holds, and how many more of its names share one of them (tied embeddings)."""
    names = hf.state_dict(keep_vars=True)
    n = len({id(tensor) for tensor in names.values()})
    return n, len(names) - n


def _loaded(auto: Any, source: str | None, how: dict[str, Any]) -> tuple[Any, Report]:
    try:
        with _without_report():
            hf, info = auto.from_pretrained(source, output_loading_info=True, ignore_mismatched_sizes=True, **how)
    except RuntimeError as error:
        if "automatic conversion of the weights" not in str(error):
            raise
        raise RuntimeError("tensors that belong together, such as experts, differ in number or shape") from error
    mismatched = [(name, tuple(found), tuple(wanted)) for name, found, wanted in info["mismatched_keys"]]
    return hf, Report(sorted(info["missing_keys"]), sorted(info["unexpected_keys"]), sorted(mismatched))


@contextmanager
def _without_report() -> Generator[None, None, None]:
    """While open, Transformers does not log at length what did not load: that ends in a sentence of ours."""

    def others(record: logging.LogRecord) -> bool:
        return "LOAD REPORT" not in record.getMessage()

    logger = logging.getLogger("transformers.modeling_utils")
    logger.addFilter(others)
    try:
        yield
    finally:
        logger.removeFilter(others)


def _prefix(report: Report) -> str:
    """What stands before the right names of most of the tensors that are missing, or nothing."""
    missing = set(report.missing)
    dots = [(name, dot.end()) for name in report.unexpected for dot in re.finditer(r"\.", name)]
    found = Counter(name[:end] for name, end in dots if name[end:] in missing)
    prefix, count = max(found.items(), key=lambda item: item[1], default=("", 0))
    return prefix if 2 * count > len(missing) else ""


def _lacking(report: Report, n_tensors: int) -> str:
    """What is not right, with counts and the first names; nothing if all is."""
    parts: list[str] = []
    if names := report.missing:
        parts.append(f"lack {len(names)} of its {n_tensors} tensors ({_first(names)})")
    if names := report.unexpected:
        parts.append(f"hold {len(names)} that it has no place for ({_first(names)})")
    if report.mismatched:
        shapes = [f"{name} {list(found)} instead of {list(wanted)}" for name, found, wanted in report.mismatched]
        parts.append(f"hold {len(shapes)} of another shape ({_first(shapes)})")
    return ", ".join(parts)


def _first(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _cause(report: Report, hf: Any) -> str:
    """Why files and class differ, and what to do: the likeliest reason."""
    if any(0 in found for _, found, _ in report.mismatched):
        return "empty tensors are what DeepSpeed's ZeRO-3 leaves: gather the weights (`zero_to_fp32.py`)"
    for pattern, cause in _CAUSES:
        if any(re.search(pattern, name) for name in report.unexpected):
            return cause
    if report.mismatched:
        words = [name for name, _, _ in report.mismatched if re.search(r"embed_tokens|lm_head", name)]
        if len(words) == len(report.mismatched):
            return "vocab_size in config.json is not the number of tokens in the files"
        return "config.json is of another model, or of another version of this one"
    if all(name.startswith("lm_head.") for name in (*report.missing, *report.unexpected)):
        return (
            "the head was not saved, and config.json does not say that it is tied to the embedding: load the model "
            "with AutoModelForCausalLM where it was trained, and save again"
        )
    return _layers(report, hf) or (
        f"config.json or the files are of another class (config.json names {', '.join(hf.config.architectures or '-')})"
        ", or of another version of it"
    )


def _layers(report: Report, hf: Any) -> str:
    """What to say if some layers are too few or too many, and all else is right."""
    n_layers = getattr(hf.config.get_text_config(), "num_hidden_layers", 0)
    few, many = ({_layer(name) for name in names} for names in (report.missing, report.unexpected))
    if not few and min(many) >= n_layers:
        return f"num_hidden_layers in config.json ({n_layers}) is too small"
    if not many and -1 not in few and len(few) < n_layers:
        return (
            f"the files were cut off or one was left out (layer {', '.join(map(str, sorted(few)))}), or "
            f"num_hidden_layers in config.json ({n_layers}) is too large"
        )
    return ""


def _layer(name: str) -> int:
    """The number of the layer that a tensor belongs to; -1 if it stands outside."""
    found = re.search(r"layers\.(\d+)\.", name)
    return int(found[1]) if found else -1
