"""Whether a model class is accepted and right, or refused, by comparisons that know no module's name.

What attention computes is seen by watching PyTorch (`watch`), gates are done by hand on the weights that the heads are
seen to reach, and gradients by finite differences. Nothing of the package is used but what is examined.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass, field
from typing import Any

import torch
from architectures.hand import by_hand, kind_of_z, kv_heads, names_of, of_heads, times
from architectures.tiny import tiny
from architectures.watch import Seen, watched
from jaxtyping import Float
from torch import Tensor

import lens_truth
from lens_truth.errors import InputError
from lens_truth.models.hooks import gate_heads, hook_names

_T, _NEW = 11, 5


@dataclass
class Row:
    """What became of one model type."""

    model_type: str
    kind: str
    refused: str = ""
    untried: str = ""
    layers: str = ""
    heads: str = ""
    z: str = ""
    wrong: list[str] = field(default_factory=list[str])
    passed: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])

    def note(self, check: str, good: bool) -> None:
        (self.passed if good else self.wrong).append(check)


def examine(model_type: str) -> Row:
    """Builds a tiny model of the type and tries everything on it; `untried` says why Transformers cannot build one."""
    try:
        hf = tiny(model_type)
    except Exception as error:
        return Row(model_type, "", untried=f"{type(error).__name__}: {' '.join(str(error).split())[:140]}")
    row = Row(model_type, type(hf).__name__)
    ids = torch.randint(10, 90, (2, _T), generator=torch.Generator().manual_seed(3))
    given = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    try:
        with torch.no_grad():
            plain = hf(**given).logits
        logits, seen = watched(hf, given)
    except Exception as error:  # a class that cannot run by itself has to be refused, and no more
        plain, logits, seen = None, None, []
        row.notes.append(f"does not run on token ids alone ({type(error).__name__}: {str(error)[:80]})")
    before = {name: (id(value), value.clone()) for name, value in hf.state_dict(keep_vars=True).items()}
    modules = {name: id(module) for name, module in hf.named_modules()}
    try:
        model: Any = lens_truth.load(hf)
    except InputError as error:
        row.refused = str(error)
        return row
    if plain is None or logits is None:
        row.wrong.append("accepted although it does not run")
        return row
    with torch.no_grad():
        row.note("watched = plain", torch.equal(logits, hf(**given, use_cache=False).logits))
    after = {name: (id(value), value) for name, value in hf.state_dict(keep_vars=True).items()}
    same = list(before) == list(after) and all(
        before[name][0] == after[name][0] and torch.equal(before[name][1], after[name][1]) for name in after
    )
    row.note("state_dict and modules untouched", same and modules == {n: id(m) for n, m in hf.named_modules()})
    _examine_numbers(row, model, hf, given, plain, seen)
    return row


def _examine_numbers(row: Row, model: Any, hf: Any, given: dict[str, Tensor], plain: Tensor, seen: list[Seen]) -> None:
    names = hook_names(model)
    n_layers, n_heads = len(names), model.cfg.n_heads
    row.layers = f"{n_layers} of {model.cfg.n_layers}"
    ids, mask = given["input_ids"], given["attention_mask"]
    with torch.no_grad():
        hooked, _ = model.run_with_cache(ids, attention_mask=mask)
        # As it was watched: keys that lie in a cache may be multiplied in another order.
        _, cache = model.run_with_cache(ids, attention_mask=mask, use_cache=False)
    row.note("logits bit for bit", torch.equal(hooked, plain))
    z = [cache[name] for name in names]
    row.heads = f"{n_heads} x {'/'.join(map(str, dict.fromkeys(part.shape[-1] for part in z)))}"
    reached = [event for event in seen if event.weight is not None]
    if len(reached) != n_layers or len(seen) != n_layers:
        row.wrong.append(f"{len(seen)} attentions ran ({len(reached)} reach weights), hooks are {n_layers}")
        return
    row.note("z = what the weights behind attention are given", all(map(_same, z, [e.inputs for e in reached])))
    row.note(
        "as many heads of as much width",
        all(of_heads(e.out, n_heads).shape == part.transpose(1, 2).shape for e, part in zip(seen, z, strict=True)),
    )
    said = model.heads.n_kv_heads
    row.note(f"as many KV heads ({said})", math.gcd(*(kv_heads(event, n_heads) for event in seen)) == said)
    if row.wrong:
        return
    row.z = kind_of_z(hf, given, seen, z)
    if row.z == "mixed":
        row.wrong.append("a head's attention reaches other heads' z")
        return
    weights = names_of(hf, seen)

    def manual(gate: Float[Tensor, "L H"], **how: Tensor) -> Tensor:
        with torch.no_grad(), by_hand(hf, weights, seen, gate):
            return hf(**how).logits

    def attached(gate: Float[Tensor, "L H"], **how: Tensor) -> Tensor:
        with torch.no_grad(), lens_truth.HeadGate(gate).attach(model):
            return hf(**how).logits

    ones = torch.ones(n_layers, n_heads)
    gate = 1 + torch.rand(n_layers, n_heads, generator=torch.Generator().manual_seed(5))
    gate[0, 0] = -0.5
    row.note("identity gate bit for bit", torch.equal(attached(ones, **given), plain))
    folded: Any = lens_truth.HeadGate(gate).fold_into(model)
    gated = attached(gate, **given)
    with torch.no_grad():
        row.note("attach = fold", _close(gated, folded(**given).logits))
    row.note("attach = by hand", _close(gated, manual(gate, **given)))
    row.note("a gate moves the logits", not torch.allclose(gated, plain, rtol=1e-3))
    row.note(
        "head by head",
        all(
            _one_head(ones, layer, head, attached, manual, given, hf, seen, row.z)
            for layer in range(n_layers)
            for head in range(n_heads)
        ),
    )
    for side in ("left", "right"):
        padded = _padded(ids, side)
        row.note(f"{side} padding", _close(attached(gate, **padded), manual(gate, **padded), padded["attention_mask"]))
        alone, batch = manual(gate, **given), manual(gate, **padded)
        if not _close(batch[1], alone[1]) or not _close(
            *_real(batch, manual(gate, input_ids=ids[:1, :7], attention_mask=mask[:1, :7]), side)
        ):
            row.notes.append(f"Hugging Face's own logits change with {side} padding")
    _examine_generation(row, model, hf, gate, lambda: by_hand(hf, weights, seen, gate), ids)
    _examine_folders(row, hf, folded, gated, plain, given)
    _examine_slopes(row, given, weights, seen, n_layers, n_heads)
    with torch.no_grad():
        row.note("as before, gates taken off", torch.equal(hf(**given).logits, plain))


def _same(z: Tensor, inputs: Tensor | None) -> bool:
    return inputs is not None and torch.equal(z.reshape(-1), inputs.reshape(-1))


def _one_head(
    ones: Tensor, layer: int, head: int, attached: Any, manual: Any, given: Any, hf: Any, seen: list[Seen], kind: str
) -> bool:
    """A gate on one head against its columns, and (where nothing lies between) against its attention's output."""
    gate = ones.clone()
    gate[layer, head] = 1.7
    logits = attached(gate, **given)
    good = _close(logits, manual(gate, **given))
    if kind in ("plain", "gated"):
        good &= _close(logits, watched(hf, given, {layer: times(ones.shape[1], head, 1.7)})[0])
    return good


def _padded(ids: Tensor, side: str) -> dict[str, Tensor]:
    """Two rows, of which the first has seven tokens."""
    mask = torch.ones_like(ids)
    mask[0, 7:] = 0
    ids = ids.clone()
    ids[0, 7:] = 0
    if side == "left":
        ids[0], mask[0] = ids[0].roll(_T - 7), mask[0].roll(_T - 7)
    return {"input_ids": ids, "attention_mask": mask}


def _real(batch: Tensor, alone: Tensor, side: str) -> tuple[Tensor, Tensor]:
    return (batch[0, -7:] if side == "left" else batch[0, :7]), alone[0]


def _close(a: Tensor, b: Tensor, mask: Tensor | None = None) -> bool:
    if mask is not None:
        a, b = a[mask.bool()], b[mask.bool()]
    return a.shape == b.shape and torch.allclose(a, b, rtol=1e-3, atol=1e-4 * max(1.0, float(b.abs().max())))


def _examine_generation(row: Row, model: Any, hf: Any, gate: Tensor, scaled: Any, ids: Tensor) -> None:
    how = {
        "max_new_tokens": _NEW,
        "min_new_tokens": _NEW,
        "do_sample": False,
        "pad_token_id": 0,
        "return_dict_in_generate": True,
        "output_logits": True,
    }
    for name, given in (
        ("one row", {"input_ids": ids[1:], "attention_mask": torch.ones_like(ids[1:])}),
        ("two rows, padded left", _padded(ids, "left")),
    ):
        found: dict[tuple[str, bool], Tensor] = {}
        for cached in (True, False):
            try:
                with scaled():
                    found["by hand", cached] = _steps(hf.generate(**given, **how, use_cache=cached))
            except Exception as error:
                row.notes.append(f"Hugging Face's own generation fails ({type(error).__name__}: {str(error)[:60]})")
                return
            with lens_truth.HeadGate(gate).attach(model):
                found["attached", cached] = _steps(hf.generate(**given, **how, use_cache=cached))
        row.note(f"generate, {name}", all(_close(found["attached", c], found["by hand", c]) for c in (True, False)))
        if _close(found["by hand", True], found["by hand", False]):
            row.note(f"cached = uncached, {name}", _close(found["attached", True], found["attached", False]))
        else:
            row.notes.append(f"Hugging Face's own generation differs with and without cache ({name})")


def _steps(output: Any) -> Tensor:
    return torch.stack(output.logits)


def _examine_folders(row: Row, hf: Any, folded: Any, gated: Tensor, plain: Tensor, given: dict[str, Tensor]) -> None:
    for what, saved, wanted in (("save_pretrained", hf, plain), ("save_pretrained after fold", folded, gated)):
        with tempfile.TemporaryDirectory() as folder:
            saved.save_pretrained(folder)
            row.note(what, _close(_read(folder, hf, given), wanted))
            if saved is hf:
                try:
                    row.note("load(folder)", _close(lens_truth.load(folder)(**given).detach(), wanted))
                except InputError as error:
                    row.wrong.append(f"load(folder): {error}")


def _read(folder: str, hf: Any, given: dict[str, Tensor]) -> Tensor:
    """Logits of what `save_pretrained` wrote, in Hugging Face alone."""
    read = type(hf).from_pretrained(folder, attn_implementation=hf.config._attn_implementation).eval()
    with torch.no_grad():
        return read(**given).logits


def _examine_slopes(
    row: Row, given: dict[str, Tensor], weights: list[str], seen: list[Seen], n_layers: int, n_heads: int
) -> None:
    """The gradient at the gate against finite differences of weights scaled by hand, in double precision."""
    double = _double(row.model_type)
    target = given["input_ids"][:, 1:, None]

    def margin(logits: Tensor) -> Tensor:
        return logits[:, :-1].log_softmax(-1).gather(-1, target).sum()

    try:
        with torch.no_grad():
            start = margin(double(**given).logits)
        assert start.dtype == torch.float64
    except (RuntimeError, AssertionError) as error:
        row.notes.append(f"does not run in double precision ({str(error)[:60]})")
        return
    model: Any = lens_truth.load(double)
    gate = torch.ones(n_layers, n_heads, dtype=torch.float64, requires_grad=True)
    with torch.enable_grad(), gate_heads(model, gate):
        (slope,) = torch.autograd.grad(margin(double(**given).logits), gate)

    def moved(layer: int, head: int, step: float) -> Tensor:
        factors = torch.ones_like(slope)
        factors[layer, head] += step
        with torch.no_grad(), by_hand(double, weights, seen, factors):
            return margin(double(**given).logits)

    def agrees(step: float) -> Tensor:
        found = torch.zeros_like(slope)
        for at in torch.ones_like(slope).nonzero().tolist():
            found[*at] = (moved(*at, step) - moved(*at, -step)) / (2 * step)
        return torch.isclose(slope, found, rtol=2e-3, atol=2e-3 * float(found.abs().max()))

    # Norms that compute in single precision want a large step; experts and tokens that are chosen anew a small one.
    good = agrees(1e-3)
    for step in (1e-4, 1e-5):
        good = good if good.all() else good | agrees(step)
    row.note("slopes = finite differences", bool(good.all()))


def _double(model_type: str) -> Any:
    """The same model in double precision, which not every implementation of experts has."""
    double = tiny(model_type).double()
    for config in {id(config): config for m in double.modules() if (config := getattr(m, "config", None))}.values():
        config._experts_implementation = "eager"
    return double
