"""The files of weights in a checkpoint's folder: which are read, and what is said where they are not there, not whole
or not what they should be. Headers alone are read, before anything heavy is imported."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from zipfile import is_zipfile

from lens_truth.errors import InputError, first_line

KINDS = ("model.safetensors", "pytorch_model.bin")
"""The file of a checkpoint in one piece, as it is looked for; `.index.json` behind it, the index of one in several."""
OTHER_PARTS = re.compile(r"vision|visual|image|audio|speech|talker|code2wav|perceiver|resampler|connector|mtp")
"""What names the parts of a checkpoint that are not its language tower."""
_INTEGERS = {"I8", "U8", "I16", "U16", "I32", "U32", "I64", "U64", "BOOL"}
_READ = {".safetensors", ".bin", ".json", ".model", ".txt"}
_POINTER = b"version https://git-lfs"
_OTHERS = (
    (
        r"(model|pytorch_model)-\d+-of-\d+\.\w+",
        "the index that belongs to {} (model.safetensors.index.json, pytorch_model.bin.index.json) is not there: fetch "
        "it too",
    ),
    (
        r"(model|pytorch_model)\.\w+(-\d+-of-\d+)?\.(safetensors|bin)",
        "{} is a variant of it: load it with Transformers (`from_pretrained(FOLDER, variant=...)`), and save it with "
        "`save_pretrained`",
    ),
    (
        r"consolidated.*|.*\.(pth|pt|ckpt)|original",
        "{} is in another format than Hugging Face's: convert it, or take the checkpoint that was published for "
        "Transformers",
    ),
    (
        r"tf_model\.h5|flax_model\.msgpack|.*\.onnx",
        "{} is TensorFlow's, Flax's or ONNX's: load it with the Transformers that wrote it, and save PyTorch's weights",
    ),
    (
        r"global_step\d+|pytorch_model_fsdp.*|.*\.distcp|mp_rank_.*",
        "{} is a part that one process of a training run saved: gather the parts (DeepSpeed's `zero_to_fp32.py`, "
        "`accelerate merge-weights`)",
    ),
    (r".*\.(safetensors|bin)", "{} has another name: if it holds all weights, rename it to one of these"),
    (r"config\.json", "beside {} no weights are there: fetch them too"),
)
"""What may lie in the place of weights, and what to do then."""


def check_weight_files(name: str, folder: Path) -> None:
    """Raises an InputError unless a folder holds weights, whole as far as headers tell, in a file that is read."""
    for path in folder.iterdir():
        if path.suffix in _READ and path.is_file() and path.stat().st_size < 1000 and _POINTER in path.read_bytes():
            raise InputError(f"{path}: is a pointer to what it should be: `git lfs pull` fetches that")
    for kind in KINDS:
        single, index = folder / kind, folder / f"{kind}.index.json"
        if not single.is_file() and not index.is_file():
            continue
        found = [single] if single.is_file() else sorted({*weight_map(index).values()})
        if missing := [path.name for path in found if not path.is_file()]:
            raise InputError(
                f"model '{name}': {len(missing)} of the {len(found)} files of weights that {index.name} names are not "
                f"there (first: {missing[0]}): fetch them anew"
            )
        quantised = "quantization_config" in (folder / "config.json").read_text("utf-8", errors="replace")
        for path in found:
            _check_file(path, quantised=quantised)
        return
    inside = sorted(path.name for path in folder.iterdir())
    said = next(text.format(name) for like, text in _OTHERS for name in inside if re.fullmatch(like, name))
    raise InputError(f"model '{name}': the folder holds neither {KINDS[0]} nor {KINDS[1]}; {said}")


def weight_map(index: Path) -> dict[str, Path]:
    """The file of every tensor, as the index of a checkpoint in several files says."""
    try:
        weights: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        files = {tensor: index.parent / Path(shard).name for tensor, shard in weights.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{index}: is not an index of weight files ({error!r})") from error
    if not files:
        raise InputError(f"{index}: is not an index of weight files (it names none)")
    return files


def _check_file(path: Path, *, quantised: bool) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(head := file.read(8), "little")
        header = file.read(length) if path.suffix == ".safetensors" and length < size else b""
    try:
        tensors = {name: its for name, its in json.loads(header or "{}").items() if name != "__metadata__"}
        end = 8 + length + max(its["data_offsets"][1] for its in tensors.values()) if tensors else 1
        whole = [name for name, its in tensors.items() if its["dtype"] in _INTEGERS and len(its["shape"]) > 1]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        return  # whoever reads it says what is wrong
    if size < end or (head.startswith(b"PK") and not is_zipfile(path)):
        raise InputError(f"{path}: is cut off after {size} bytes: fetch it anew")
    if whole and not quantised:
        raise InputError(
            f"{path}: holds whole numbers ({whole[0]}: {tensors[whole[0]]['dtype']}), and config.json says "
            "nothing of how they are quantised: give the checkpoint in full precision"
        )


def why(error: BaseException) -> str:
    """What Transformers or PyTorch says, or in its place what to do where they ask for code to be run."""
    if isinstance(error, pickle.UnpicklingError) or "Weights only load failed" in str(error):
        return (
            "a .bin file that holds more than tensors, or is damaged; nothing in it is run: load it where it was made, "
            "and save again with `save_pretrained`, which writes safetensors"
        )
    if "custom code" in str(error):
        return (
            "it brings code of its own (auto_map in config.json), which runs only under `trust_remote_code=True` "
            "(`--trust-remote-code`): give it if you trust where it is from"
        )
    if "backend tokenizer" in str(error):
        return (
            "it holds no tokenizer.json or tokenizer.model (or vocab.json with merges.txt) that can be read: fetch it"
        )
    return first_line(error)
