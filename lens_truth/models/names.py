"""What a model's name stands for: an id, a folder, a GGUF file, `zoo:NAME`. It is looked at before anything heavy is
imported."""

from __future__ import annotations

import re
from pathlib import Path

from lens_truth.errors import InputError
from lens_truth.io.readers import read_json

ADAPTER = "adapter_config.json"
GGUF = ".gguf"
_LATER_PART = re.compile(r"-(?!00001)\d{5}-of-\d{5}\.gguf$")
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
    if name.endswith(GGUF):
        if not path.is_file():
            raise InputError(f"model '{name}': there is no such file")
        return str(path)
    if path.is_file():
        raise InputError(f"model '{name}' is a file; give the folder it is in")
    if path.is_dir():
        if (file := _only_gguf(name, path)) is not None:
            return str(file)
        _check_folder(name, path)
    elif looks_like_a_path:
        raise InputError(f"model '{name}': there is no such folder")
    return str(path) if looks_like_a_path else name


def _only_gguf(name: str, folder: Path) -> Path | None:
    """The GGUF file of a folder without other weights, or the first part of one that was split."""
    files = sorted(file for file in folder.glob(f"*{GGUF}") if not _LATER_PART.search(file.name))
    if not files or any(_weights(folder)):
        return None
    if len(files) > 1:
        raise InputError(
            f"model '{name}' holds {len(files)} GGUF files; give one of them ({', '.join(file.name for file in files)})"
        )
    return files[0]


def _check_folder(name: str, folder: Path) -> None:
    """What lies in a folder that a checkpoint cannot be loaded from, and what to give instead."""
    has_config, has_adapter = (folder / "config.json").is_file(), (folder / ADAPTER).is_file()
    if has_adapter:
        raise InputError(adapter_found(name, folder / ADAPTER, beside=has_config))
    if not has_config:
        inside = sorted(path.parent.name for path in folder.glob("*/config.json"))
        hint = f"; checkpoints lie in {', '.join(inside)}" if inside else ""
        raise InputError(f"model '{name}': the folder holds no config.json{hint}")


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
