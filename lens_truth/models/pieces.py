"""Tokenizers of which SentencePiece's own file is all there is, held against SentencePiece itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lens_truth.errors import notice

_TEXT = "the cat"


def check_pieces(name: str, folder: Path, tokenizer: Any) -> None:
    """Warns where SentencePiece's own file is all there is, and Transformers cuts a text otherwise than that says."""
    if not (folder / "tokenizer.model").is_file() or (folder / "tokenizer.json").is_file():
        return
    from sentencepiece import SentencePieceProcessor

    pieces: Any = SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    if (found := tokenizer.encode(_TEXT, add_special_tokens=False)) != (own := pieces.encode(_TEXT)):
        notice(
            f"{name}: Transformers reads tokenizer.model alone otherwise than SentencePiece: '{_TEXT}' as {found}, not "
            f"{own}; fetch tokenizer.json and tokenizer_config.json too"
        )
