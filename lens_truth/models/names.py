"""What a model's name stands for: an id, a folder, `zoo:NAME`. It is looked at before anything heavy is imported."""

from __future__ import annotations

from pathlib import Path

from lens_truth.errors import InputError
from lens_truth.io.readers import read_json
from lens_truth.models.weight_files import check_weight_files

ADAPTER = "adapter_config.json"
ZOO = Path(__file__).parent.parent / "zoo" / "checkpoints"


def model_source(name: str) -> str:
    """What `from_pretrained` is to be given for a model name; an InputError says if there is nothing of that name, or
    a file or folder that is no checkpoint."""
    if name.startswith("zoo:"):
        folder = ZOO / name.removeprefix("zoo:")
        if not (folder / "config.json").is_file():
            known = ", ".join(sorted(f"zoo:{path.parent.name}" for path in ZOO.glob("*/config.json")))
            raise InputError(f"there is no model '{name}' in the zoo; it holds {known}")
        return str(folder)
    looks_like_a_path = name.startswith((".", "/", "~")) or name.count("/") > 1 or not name
    path = Path(name).expanduser()
    if path.is_file():
        raise InputError(f"model '{name}' is a file; {_GGUF if path.suffix == '.gguf' else 'give the folder it is in'}")
    if path.is_dir():
        _check_folder(name, path)
    elif looks_like_a_path:
        raise InputError(f"model '{name}': there is no such folder")
    return str(path) if looks_like_a_path else name


_GGUF = (
    "llama.cpp's GGUF is read by Transformers: `AutoModelForCausalLM.from_pretrained(FOLDER, gguf_file=FILE)` and the "
    "tokenizer likewise; save both with `save_pretrained`, and give that folder"
)


def _check_folder(name: str, folder: Path) -> None:
    """What lies in a folder that a checkpoint cannot be loaded from, and what to give instead."""
    has_config, has_adapter = (folder / "config.json").is_file(), (folder / ADAPTER).is_file()
    if has_adapter:
        raise InputError(adapter_found(name, folder / ADAPTER, beside=has_config))
    if any(folder.glob("*.gguf")) and not any(_weights(folder)):
        raise InputError(f"model '{name}' holds a GGUF file; {_GGUF}")
    if not has_config:
        inside = sorted(path.parent.name for path in folder.glob("*/config.json"))
        hint = f"; checkpoints lie in {', '.join(inside)}" if inside else ""
        raise InputError(f"model '{name}': the folder holds no config.json{hint}")
    check_weight_files(name, folder)


def _weights(folder: Path) -> list[Path]:
    return [path for kind in ("*.safetensors", "*.bin") for path in folder.glob(kind)]


def adapter_found(name: str, config: Path, *, beside: bool) -> str:
    """The sentence that refuses an adapter: without a model, or `beside` full weights."""
    base = read_json(config).get("base_model_name_or_path")
    where = "beside full weights, which may hold it already or not" if beside else "without the model it is for"
    cure = "or take its files away if the weights hold it already" if beside else "and give that folder"
    return (
        f"model '{name}' holds an adapter (of {base or 'an unnamed model'}) {where}: merge it with peft "
        f"(`AutoPeftModelForCausalLM.from_pretrained(FOLDER).merge_and_unload().save_pretrained(NEW)`), {cure}"
    )
