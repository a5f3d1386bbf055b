"""What the hash of weights sees, and that it is the same wherever they lie and however often it is made."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import build
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lens_truth.commands.score_sources import _kept
from lens_truth.errors import InputError
from lens_truth.io.files import OF_WEIGHTS, same_kind
from lens_truth.models import hashing
from lens_truth.models.hashing import is_hash_of, weights_hash
from lens_truth.scoring.activations import ActivationWriter
from lens_truth.scoring.scores import HeadScores

LANES = 64


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny weights fill a narrow state with many rows, as large ones fill the real one."""
    monkeypatch.setattr(hashing, "_LANES", LANES)
    monkeypatch.setattr(hashing, "_BLOCK", LANES // 4)


class Weights(nn.Module):
    """A module of given tensors."""

    def __init__(self, **tensors: Tensor) -> None:
        super().__init__()
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)


def numbers(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(48, 64, generator=torch.Generator().manual_seed(0)).to(dtype)


def swapped(one: int, other: int) -> Callable[[Tensor], None]:
    def edit(weights: Tensor) -> None:
        weights[[one, other]] = weights[[other, one]]

    return edit


def negated(*rows: int) -> Callable[[Tensor], None]:
    def edit(weights: Tensor) -> None:
        weights[list(rows)] *= -1

    return edit


def two_signs(apart: int) -> Callable[[Tensor], None]:
    """Of two numbers that share a lane if they are a multiple of its width apart."""

    def edit(weights: Tensor) -> None:
        weights.view(-1)[[1, 1 + apart]] *= -1

    return edit


def moved(weights: Tensor) -> None:
    weights.copy_(weights.roll(1, 0))


def heads_turned(weights: Tensor) -> None:
    weights.copy_(weights.view(6, 8, 64).flip(0).reshape(48, 64))


def columns(weights: Tensor) -> None:
    weights.copy_(weights.roll(8, 1))


def transposed(weights: Tensor) -> None:
    weights[:, :48] = weights[:, :48].T.clone()


def zeroed(weights: Tensor) -> None:
    weights[8:16] = 0


def negative_zeros(weights: Tensor) -> None:
    weights[0, 7:9] = -0.0


def last_bit(weights: Tensor) -> None:
    weights.view(torch.uint8)[-1, 0] ^= 1


EDITS: dict[str, Callable[[Tensor], None]] = {
    "last bit": last_bit,
    "rows": swapped(0, 1),
    "rows in the same lanes": swapped(0, 8),
    "heads": heads_turned,
    "columns": columns,
    "rolled": moved,
    "transposed": transposed,
    "negated": negated(*range(48)),
    "a row negated": negated(3),
    "two rows negated": negated(3, 11),
    "two signs": two_signs(2 * LANES),
    "two signs in half precision": two_signs(4 * LANES),
    "zeroed": zeroed,
    "negative zeros": negative_zeros,
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_it_sees_every_edit(edit: Callable[[Tensor], None], dtype: torch.dtype) -> None:
    weights = numbers(dtype)
    weights.view(-1)[7:9] = 0
    model = Weights(weights=weights)
    before = hashing._hashed(model)
    edit(weights)
    assert hashing._hashed(model) != before


def test_it_sees_flipped_bits_wherever_they_are() -> None:
    """Each alone, and any two in one lane: were the state a plain sum, two flips of the highest bit would cancel."""
    words = torch.zeros(3 * LANES, dtype=torch.int64)
    seen: set[str] = set()
    for first in range(0, 64, 7):
        for second in (None, *range(0, 64, 9), 63):
            words.zero_()
            words[5] = torch.tensor(1) << first
            words[5 + LANES] = 0 if second is None else torch.tensor(1) << second
            seen.add(hashing._hashed(Weights(words=words)))
    assert len(seen) == 10 * 9  # 63 is a multiple of 9, so it is tried twice


def test_it_sees_names_shapes_and_formats() -> None:
    weights = numbers()
    models = [
        Weights(a=weights, b=weights + 1),
        Weights(b=weights, a=weights + 1),
        Weights(a=weights, c=weights + 1),
        Weights(a=weights.T.contiguous().T, b=(weights + 1).view(64, 48)),
        Weights(a=weights.view(torch.int32), b=weights + 1),
        Weights(a=torch.cat([weights, weights + 1])),
    ]
    assert len({hashing._hashed(model) for model in models}) == len(models)


def test_order_in_memory_and_blocks_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor whether the tensors begin where 64-bit numbers do, are transposed views, or were mapped from a file."""
    odd = torch.arange(1001, dtype=torch.int16)
    plain = {"a": numbers(), "b": odd, "c": torch.tensor(True), "d": numbers(torch.bfloat16)[:5, :3].clone()}
    wanted = hashing._hashed(Weights(**plain))
    shifted = torch.cat([odd[:1], odd])[1:]
    assert shifted.storage_offset() % 4
    views = {"a": plain["a"].T.contiguous().T, "b": shifted, "c": plain["c"], "d": numbers(torch.bfloat16)[:5, :3]}
    assert hashing._hashed(Weights(**views)) == wanted
    save_file(plain, tmp_path / "weights.safetensors")
    assert hashing._hashed(Weights(**load_file(tmp_path / "weights.safetensors"))) == wanted
    monkeypatch.setattr(hashing, "_BLOCK", 4)
    assert hashing._hashed(Weights(**plain)) == wanted
    with torch.inference_mode():
        assert hashing._hashed(Weights(**{name: its.clone() for name, its in plain.items()})) == wanted


def test_it_is_what_python_computes() -> None:
    weights = numbers()
    lanes = [(lane + 1) * hashing._ODD % 2**64 for lane in range(LANES)]
    for at, word in enumerate(weights.view(torch.int64).flatten().tolist()):
        signed = lanes[at % LANES] - (lanes[at % LANES] >> 63 << 64)
        lanes[at % LANES] = (word + hashing._ODD * (signed ^ signed >> 32)) % 2**64
    said = b"weights (48, 64) torch.float32;" + b"".join(lane.to_bytes(8, "little") for lane in lanes)
    assert hashing._hashed(Weights(weights=weights)) == OF_WEIGHTS + hashlib.sha256(said).hexdigest()[:16]


def test_an_earlier_hash_is_known_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """SHA-256 over all bytes, computed only where one is met."""
    model = build("llama")
    digest = hashlib.sha256()
    for name, weights in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(weights.shape)} {weights.dtype}".encode() + weights.numpy().tobytes())
    earlier = digest.hexdigest()[:16]
    assert is_hash_of(earlier, model) and not same_kind(earlier, weights_hash(model))
    with torch.no_grad():
        model.lm_head.weight[0, 0] += 1
    assert not is_hash_of(earlier, model)
    monkeypatch.setattr(hashing, "_sha256", None)
    assert is_hash_of(weights_hash(model), model) and not is_hash_of(weights_hash(build("llama")), model)
    assert not is_hash_of(None, model)


def test_scores_of_an_earlier_build_are_taken(tmp_path: Path) -> None:
    model = build("llama")
    settings = {"weights": weights_hash(model), "setup": "s", "runs": ["r"], "seeds": [0], "template": "plain"}
    path = tmp_path / "scores.safetensors"
    for weights, taken in ((settings["weights"], True), (hashing._sha256(model), True), ("0" * 16, False)):
        HeadScores(np.ones((3, 4)), "truth", provenance={**settings, "weights": weights}).save(path)
        assert (_kept(path, "truth", settings, model) is not None) == taken
        assert _kept(path, "truth", {**settings, "setup": "other"}, model) is None


def test_activations_of_an_earlier_build_are_refused_in_its_name(tmp_path: Path) -> None:
    ActivationWriter(tmp_path, (2, 3, 4, 8), {"provenance": {"weights": "0" * 16}})
    with pytest.raises(InputError, match="activations of an earlier build, whose hash of the weights is of another"):
        ActivationWriter(tmp_path, (2, 3, 4, 8), {"provenance": {"weights": OF_WEIGHTS + "0" * 16}})
