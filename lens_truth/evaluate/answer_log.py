"""`answers.jsonl`: every answer is written down as it is given, so that a killed run goes on where it stopped."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from lens_truth.decoding.decoder import Decoder
from lens_truth.errors import InputError, notice
from lens_truth.evaluate.answers import Answer
from lens_truth.gates.rows import Intervention
from lens_truth.io.files import hash_of, writing
from lens_truth.models.hooks import inner_model
from lens_truth.models.provenance import setup_hash


class AnswerLog:
    """Answers by what determines them (model, gate, prompt, length limit), so that a run with other flags takes what is
    the same in both. A line: `{"key", "model", "benchmark", "id", "gate", "answer", "margin", "weights"}`, and the
    `tokens` of an answer that was sampled."""

    def __init__(self, path: Path, model: Any, name: str, weights: str) -> None:
        """Reads what the file holds (a killed run leaves its last line cut off), or makes it with its first answer. Its
        readers see the model's `name`; `weights` is the hash of its weights, which takes a while to compute."""
        self._path = path
        self._model = name
        inner_model(model)  # which writes the answers
        self._settings = hash_of(weights, setup_hash(model))
        self._known: dict[str, Answer] = {}
        self._file: IO[str] | None = None
        content = path.read_bytes() if path.is_file() else b""
        self._keep = content.rfind(b"\n") + 1
        self._weights, older = weights, 0
        for number, line in enumerate(content[: self._keep].splitlines(), start=1):
            try:
                row = json.loads(line)
                self._known.update([_entry(row)])
                older += "weights" not in row
            except (ValueError, LookupError, TypeError, OverflowError, RecursionError):
                problem = "is not an answer; delete the file to begin anew"
                raise InputError(f"{path}, line {number}: {problem}") from None
        if older:
            notice(
                f"{path}: {older} of its answers came from an earlier build, which named weights in another way; they "
                "are asked again"
            )

    def __enter__(self) -> AnswerLog:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            with writing(self._path):
                self._file.close()

    def keys(self, gate: Intervention | Decoder | None, prompts: Sequence[str], n_new: int, margins: bool) -> list[str]:
        """Names the answers to some prompts (given by what is in them) by all that they depend on."""
        does = None if gate is None else gate.acts
        acts = "" if does is None else hash_of(does[0], does[1].detach().float().numpy().tobytes())
        shared = hash_of(self._settings, acts, str(n_new), str(margins))
        keys = [hash_of(shared, prompt) for prompt in prompts]
        for key in keys if margins else ():
            if (known := self._known.get(key)) is not None and known.margin is None:
                del self._known[key]  # half an answer
        return keys

    def get(self, key: str) -> Answer | None:
        """What was answered before, if anything."""
        return self._known.get(key)

    def add(self, key: str, benchmark: str, id: str, gate: str, answer: Answer) -> Answer:
        """Writes an answer down, at once. The one that was written first is given back, and counts: rounding may have
        made another in another batch, and a run that goes on knows only the first."""
        if key in self._known:
            return self._known[key]
        if answer.margin is not None and not math.isfinite(answer.margin):
            raise InputError(f"{self._path}: the margin of '{id}' under gate '{gate}' is {answer.margin}, not a number")
        row = {"key": key, "model": self._model, "benchmark": benchmark, "id": id, "gate": gate}
        row |= {"answer": answer.text, "margin": answer.margin, "weights": self._weights}
        row |= {"tokens": answer.tokens} if answer.tokens else {}
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


def _entry(row: dict[str, Any]) -> tuple[str, Answer]:
    """The key and the answer of a line; whatever is wrong with it raises something."""
    key, text, margin = row["key"], row["answer"], row["margin"]
    finite = margin is None or (type(margin) in (int, float) and math.isfinite(margin))
    tokens = row.get("tokens", [])
    if not (type(key) is type(text) is str and finite and all(type(token) is int for token in tokens)):
        raise ValueError
    return key, Answer(text, margin, tuple(tokens))
