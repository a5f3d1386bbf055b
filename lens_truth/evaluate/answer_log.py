"""`answers.jsonl`: every answer is written down as it is given, so that a killed run goes on where it stopped."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from lens_truth.errors import InputError
from lens_truth.evaluate.answers import Answer
from lens_truth.gates.gate import HeadGate
from lens_truth.io.files import hash_of, writing
from lens_truth.io.runs import version_of
from lens_truth.models.batches import tokenizer_of
from lens_truth.models.hooks import device_of, inner_model


class AnswerLog:
    """Answers by what determines them (model, gate, prompt, length limit), so that a run with other flags takes what is
    the same in both. A line: `{"key", "model", "benchmark", "id", "gate", "answer", "margin"}`."""

    def __init__(self, path: Path, model: Any, name: str, weights: str) -> None:
        """Reads what the file holds (a killed run leaves its last line cut off), or makes it with its first answer. Its
        readers see the model's `name`; `weights` is the hash of its weights, which takes a while to compute."""
        self._path = path
        self._model = name
        versions = (f"{package} {version_of(package)}" for package in ("lens-truth", "torch", "transformers"))
        self._settings = hash_of(weights, _settings(model), *versions)
        self._known: dict[str, Answer] = {}
        self._file: IO[str] | None = None
        content = path.read_bytes() if path.is_file() else b""
        self._keep = content.rfind(b"\n") + 1
        for number, line in enumerate(content[: self._keep].splitlines(), start=1):
            try:
                row = json.loads(line)
                self._known[row["key"]] = _answer(row["answer"], row["margin"])
            except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
                raise InputError(f"{path}, line {number}: is not an answer; delete the file to begin anew") from error

    def __enter__(self) -> AnswerLog:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            with writing(self._path):
                self._file.close()

    def keys(self, gate: HeadGate | None, prompts: Sequence[str], n_new: int, margins: bool) -> list[str]:
        """Names the answers to some prompts (given by what is in them) by all that they depend on."""
        acts = "" if gate is None else hash_of(gate.site, gate.values.numpy().tobytes())
        shared = hash_of(self._settings, acts, str(n_new), str(margins))
        return [hash_of(shared, prompt) for prompt in prompts]

    def get(self, key: str) -> Answer | None:
        """What was answered before, if anything."""
        return self._known.get(key)

    def add(self, key: str, benchmark: str, id: str, gate: str, answer: Answer) -> Answer:
        """Writes an answer down, at once. The one that was written first is given back, and counts: rounding may have
        made another in another batch, and a run that goes on knows only the first."""
        if key in self._known:
            return self._known[key]
        row = {"key": key, "model": self._model, "benchmark": benchmark, "id": id, "gate": gate}
        row |= {"answer": answer.text, "margin": answer.margin}
        line = json.dumps(row, ensure_ascii=False) + "\n"
        with writing(self._path):
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._path.open("a", encoding="utf-8", newline="")
                self._file.truncate(self._keep)  # half a line is no answer
            self._file.write(line)
            self._file.flush()
        self._known[key] = answer
        return answer


def _answer(text: Any, margin: Any) -> Answer:
    """What stands in a line, if it can be one: a text, and a finite number or none."""
    if not isinstance(text, str) or not (margin is None or (type(margin) in (int, float) and math.isfinite(margin))):
        raise ValueError
    return Answer(text, None if margin is None else float(margin))


def _settings(model: Any) -> str:
    """What answers depend on beside the weights: configuration, how they are computed, tokenizer, image processor."""
    hf, tokenizer = inner_model(model), tokenizer_of(model)
    processor = getattr(model, "image_processor", None)
    config = {name: value for name, value in hf.config.to_dict().items() if name != "_name_or_path"}
    return hash_of(
        json.dumps(config, sort_keys=True, default=str),
        f"{hf.dtype} {device_of(model).type} {hf.config._attn_implementation} {hf.generation_config.eos_token_id}",
        tokenizer.backend_tokenizer.to_str() if tokenizer.is_fast else repr(tokenizer),
        *([] if processor is None else [getattr(processor, "to_json_string", processor.__repr__)()]),
    )
