"""The model of a GGUF file kept as a folder of plain numbers, so that it is dequantised once."""

from __future__ import annotations

import hashlib
from pathlib import Path

from lens_truth.io.files import alone_at, check_out, hash_of, write_folder_with
from lens_truth.io.runs import version_of
from lens_truth.models.gguf_files import load_gguf, opened_gguf
from lens_truth.models.gguf_header import Gguf
from lens_truth.models.gguf_tokenizer import gguf_tokenizer

_MAKERS = ("lens-truth", "transformers", "gguf", "tokenizers")


def gguf_as_folder(source: str, cache: Path, dtype: str) -> Path:
    """The folder in `cache` that holds a GGUF file's model and tokenizer as `save_pretrained` writes them, made if it
    is not there. Its name says what it was made of: the bytes of the file, the number format, the versions of what
    reads GGUF. It is there whole or not at all."""
    file = opened_gguf(source)
    made = hash_of(_digest(file), dtype, *(version_of(package) for package in _MAKERS))
    folder = cache / f"{file.path.stem}-{made}"
    check_out(cache, "--gguf-cache")
    with alone_at(folder):
        if not folder.is_dir():
            write_folder_with(folder, lambda temporary: _save(file, dtype, temporary))
    return folder


def _save(file: Gguf, dtype: str, folder: Path) -> None:
    load_gguf(str(file.path), str(file.path), attn=None, dtype=dtype).save_pretrained(folder)
    if (tokenizer := gguf_tokenizer(file)) is not None:
        tokenizer.save_pretrained(folder)


def _digest(file: Gguf) -> str:
    digest = hashlib.sha256()
    for path in file.files:
        with path.open("rb") as part:
            digest.update(hashlib.file_digest(part, "sha256").digest())
    return digest.hexdigest()
