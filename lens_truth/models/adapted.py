"""Models with adapters in them, PEFT's layers around some of their modules: put on, found in a `PeftModel`, merged."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from lens_truth.errors import InputError
from lens_truth.models.adapter_files import (
    ROOT,
    adapter_folder,
    check_kind,
    check_loaded,
    needs_peft,
    read_config,
    said_of,
    weights_in,
)
from lens_truth.models.checkpoint import opened
from lens_truth.models.structure import modules_of

_NAME = "default"


def put_on(hf: Any, adapter: str) -> Any:
    """`hf` itself with an adapter from a folder or a hub in it, in single precision, as PEFT loads it, and what the
    adapter sees through around it; an InputError says what does not fit. As of any model with an adapter,
    `save_pretrained` saves the adapter alone."""
    peft, folder = needs_peft(), adapter_folder(adapter)
    from lens_truth.models.sighted import put_sight_on  # it imports TransformerLens

    hf = put_sight_on(hf, folder)
    from peft.tuners.tuners_utils import cast_adapter_dtype

    config = read_config(folder)
    with opened(weights_in(folder)) as file:
        tensors: dict[str, Tensor] = {name.removeprefix(ROOT): file.get_tensor(name) for name in list(file.keys())}
    with said_of(adapter), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"peft\.")
        _resize(hf, tensors)
        config.inference_mode = True
        peft.inject_adapter_in_model(config, hf, _NAME)
        cast_adapter_dtype(hf, _NAME)  # before the weights come, which half precision would round
        check_loaded(peft.set_peft_model_state_dict(hf, tensors), config)
    hf._hf_peft_config_loaded = True
    return hf.eval()


def _resize(hf: Any, tensors: dict[str, Tensor]) -> None:
    """Makes room for the tokens that were added in training, whose embeddings lie with the adapter."""
    embedding = hf.get_input_embeddings()
    path = next(path for path, module in hf.named_modules() if module is embedding)
    for name in (f"{path}.weight", f"{path}.base_layer.weight"):
        if name in tensors and (rows := len(tensors[name])) != len(embedding.weight):
            hf.resize_token_embeddings(rows, mean_resizing=False)


def without_peft_model(model: Any) -> Any:
    """The Hugging Face model inside a `PeftModel`, with the adapters' layers in it; other models themselves.

    Raises:
        InputError: if an adapter acts outside of those layers: it puts virtual tokens before the text, or changes with
            it.
    """
    if "peft" in sys.modules and isinstance(model, needs_peft().PeftModel):
        for config in model.peft_config.values():
            check_kind(config)
        return model.get_base_model()
    return model


def plain_model(model: Any, what: str) -> PreTrainedModel:
    """The Hugging Face model inside of whatever holds it, into which something (`what`) is to be folded; an InputError
    says if there is none."""
    plain = without_peft_model(getattr(model, "original_model", model))
    if not isinstance(plain, PreTrainedModel):
        raise InputError(f"a {what} is folded into a Hugging Face model; {type(plain).__name__} is not one")
    return plain


def adapter_states(hf: nn.Module) -> list[Any]:
    """What adapters do beside their weights: of each layer which are active, merged, switched off, and how strong."""
    return [
        (
            path,
            type(layer).__name__,
            *(
                getattr(layer, name, None)
                for name in ("active_adapters", "merged_adapters", "disable_adapters", "scaling")
            ),
        )
        for path, layer in _wrappers(hf)
    ]


def merged(twin: Any) -> Any:
    """A `shared_copy` with what adapters make of each module in the module itself; the shared weights stay as they are.

    An InputError refuses what cannot be merged without loss: quantised weights, and adapters that PEFT does not merge.
    """
    for path, layer in list(_wrappers(twin)):
        parent, _, name = path.rpartition(".")
        for module in layer.modules():
            for key, parameter in module._parameters.items():
                if parameter is not None:
                    _check_plain(path, parameter)
                    module._parameters[key] = nn.Parameter(parameter.detach().clone(), requires_grad=False)
        try:
            setattr(twin.get_submodule(parent), name, _alone(layer))
        except (ValueError, RuntimeError, NotImplementedError) as error:
            raise InputError(f"the adapter at {path} cannot be merged into its base: {error}") from error
    _untie(twin)
    twin.__dict__.pop("peft_config", None)
    twin._hf_peft_config_loaded = False
    return twin


def kept(twin: Any) -> Any:
    """A `shared_copy` whose `save_pretrained` writes the adapter, without the name of a base that is not its own any
    more. An InputError refuses one that lets its base see, since what it sees with would not be saved."""
    if getattr(twin, "sight_apart", False):
        raise InputError("an adapter that lets its base see is not kept apart from it: leave out keep_adapter=True")
    for config in getattr(twin, "peft_config", {}).values():
        config.base_model_name_or_path = None
        twin._hf_peft_config_loaded = True
    return twin


def _alone(layer: Any) -> nn.Module:
    """The module inside an adapter's layer, as the layer computes now."""
    if hasattr(layer, "unload_and_optionally_merge_module"):  # whole modules, or tokens, that were trained
        if layer.disable_adapters:
            return layer.original_module
        return layer.unload_and_optionally_merge_module(merge=True, safe_merge=False, adapter_names=None)
    if layer.disable_adapters and layer.merged:
        layer.unmerge()
    elif not layer.disable_adapters and not layer.merged:
        layer.merge()
    return layer.get_base_layer()


def _untie(twin: Any) -> None:
    """Where an adapter changed the embeddings or the head alone, they are no longer one tensor."""
    words, head = twin.get_input_embeddings(), twin.get_output_embeddings()
    if head is not None and words.weight is not head.weight:
        for config in (twin.config, twin.config.get_text_config()):
            config.tie_word_embeddings = False


def _check_plain(path: str, parameter: Any) -> None:
    if type(parameter.data) is not Tensor or not parameter.is_floating_point() or parameter.is_meta:
        raise InputError(
            f"an adapter is not merged into the weights at {path}, which are quantised or not in memory: fold with "
            "keep_adapter=True, or load the base in floats"
        )


def _wrappers(hf: nn.Module) -> Iterator[tuple[str, Any]]:
    """The outermost of PEFT's layers, each with its path."""
    if "peft" not in sys.modules:
        return
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    inside = ""
    for path, module in modules_of(hf):
        if not (inside and path.startswith(inside)) and isinstance(module, BaseTunerLayer | AuxiliaryTrainingWrapper):
            inside = f"{path}."
            yield path, module
