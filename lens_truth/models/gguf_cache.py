"""The model of a GGUF file kept as a folder of plain numbers, so that it is dequantised once."""

from __future__ import annotations

import os
from pathlib import Path

from lens_truth.io.files import alone_at, check_out, file_hash, hash_of, write_folder_with
from lens_truth.io.runs import version_of
from lens_truth.models.gguf_header import Gguf, opened_gguf
from lens_truth.models.packages import CACHE, cache_folder

_MAKERS = ("lens-truth", "transformers", "gguf", "tokenizers")


def cached_folder(source: str, dtype: str) -> str | None:
    """The folder that holds a GGUF file's model and tokenizer as `save_pretrained` writes them, in the cache. It is
    made if it is not there, whole or not at all, where the environment names the cache (`LENS_TRUTH_GGUF_CACHE`); where
    it names none, None is given instead. Its name says of what it was made: the bytes of the file, the number format,
    the versions of what reads GGUF."""
    path, cache = Path(source), cache_folder()
    named = bool(os.environ.get(CACHE))
    if not named and not (cache.is_dir() and any(its.name.startswith(f"{path.stem}-") for its in cache.iterdir())):
        return None  # before the file is read for its hash
    file = opened_gguf(source)
    made = hash_of(*map(file_hash, file.files), dtype, *map(version_of, _MAKERS))
    folder = cache / f"{file.path.stem}-{made}"
    if not named:
        return str(folder) if folder.is_dir() else None
    check_out(cache, CACHE)
    with alone_at(folder):
        if not folder.is_dir():
            write_folder_with(folder, lambda temporary: _save(file, dtype, temporary))
    return str(folder)


def _save(file: Gguf, dtype: str, folder: Path) -> None:
    # torch and transformers, which who finds a folder can do without
    from lens_truth.models.gguf_files import load_gguf
    from lens_truth.models.gguf_tokenizer import gguf_tokenizer

    load_gguf(str(file.path), str(file.path), attn=None, dtype=dtype).save_pretrained(folder)
    if (tokenizer := gguf_tokenizer(file)) is not None:
        tokenizer.save_pretrained(folder)
