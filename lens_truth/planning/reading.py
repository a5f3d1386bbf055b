"""`model_shape`: a model's sizes from its config alone; no weights are loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from lens_truth.errors import InputError
from lens_truth.io.readers import is_object
from lens_truth.models.names import GGUF, base_and_adapter, model_source
from lens_truth.models.packages import PYPI
from lens_truth.planning.llama import LLAMA_2
from lens_truth.planning.shape import DtypeName, ModelShape

_QUANTISED = {"load_in_4bit": 4, "load_in_8bit": 8}
_METHODS = {"fp8": 8, "finegrained_fp8": 8, "fbgemm_fp8": 8, "mxfp4": 4}


def model_shape(name: str, dtype: str = "auto") -> ModelShape:
    """The sizes of a model, in a second or so: its config is read, its class made without weights.

    >>> lens_truth.model_shape("7b").n_parameters  # Llama 2's shapes 7b, 13b and 70b need no model
    >>> lens_truth.model_shape("zoo:llama-base"), lens_truth.model_shape("folder/config.json")

    Args:
        name: as `load` takes it; also a `config.json` alone, and `7b`, `13b`, `70b` for the shapes of Llama 2. An
            adapter's few numbers are left out.
        dtype: number format of the weights; `auto` as `load` has it, and bfloat16 for a shape.

    Raises:
        InputError: if there is no such model, its config cannot be read or makes no decoder whose heads are found, or
            there is no such number format.
    """
    if name in LLAMA_2:
        return LLAMA_2[name].in_dtype(dtype)
    from lens_truth.models.structure import check_decoder
    from lens_truth.models.weight_files import why
    from lens_truth.planning.counting import counted

    source = _source(name)
    try:
        check_decoder(config := _config_of(source), f"model '{name}'")
        own: DtypeName | None = "bfloat16" if source.endswith(GGUF) else None
        own = "float32" if name.startswith(PYPI) else own
        shape = counted(name, config, own, _bits(config), has_tokenizer=_has_tokenizer(source))
    except InputError:
        raise
    except ModuleNotFoundError as error:
        raise InputError(f"model '{name}' needs the Python package {error.name}, which is not installed") from error
    except Exception as error:  # whatever a class makes of a config
        raise InputError(f"the config of model '{name}' tells no shape: {why(error)}") from error
    return shape.in_dtype(dtype)


def _source(name: str) -> str:
    """What a config is read from."""
    base, _ = base_and_adapter(name)
    path = Path(base).expanduser()
    if path.is_file() and path.suffix == ".json":
        return str(path)
    if (path / "config.json").is_file():  # whether weights are beside it does not matter here
        return str(path)
    return model_source(base)


def _config_of(source: str) -> Any:
    if source.endswith(GGUF):
        from lens_truth.models.gguf_config import gguf_config
        from lens_truth.models.gguf_header import opened_gguf

        return gguf_config(opened_gguf(source))
    import transformers

    config = cast("Any", transformers.AutoConfig.from_pretrained(source))
    return getattr(config, "thinker_config", config)


def _has_tokenizer(source: str) -> bool:
    """Whether one lies beside the config; of an id of a hub it is looked for when it is needed."""
    path = Path(source)
    if source.endswith(GGUF) or not path.exists():
        return True
    return path.is_dir() and any(
        (path / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")
    )


def _bits(config: Any) -> int | None:
    """Of a quantised number, as the config has it; None if nothing is quantised."""
    said: Any = getattr(config, "quantization_config", None)
    if said is None:
        return None
    said = said if is_object(said) else said.to_dict()
    method = said.get("quant_method")
    method = str(getattr(method, "value", method))
    bits: Any = next((bits for flag, bits in _QUANTISED.items() if said.get(flag)), None)
    bits = bits or said.get("bits") or _METHODS.get(method)
    if not isinstance(bits, int):
        raise InputError(
            f"how many bits a number has under quantisation by '{method}' is not known here: plan "
            "with the checkpoint that it was made from, whose weights take more"
        )
    return bits
