"""A gated model for a harness, in Python: `lm_eval_model`, `inspect_model`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lens_truth.errors import InputError, needs_package

if TYPE_CHECKING:
    from inspect_ai.model import Model
    from lm_eval.api.model import LM

    from lens_truth.gates.rows import Intervention
    from lens_truth.models.hooked import HookedModel


def lm_eval_model(model: str | Path | HookedModel, gate: Intervention | str | Path | None = None, **asked: Any) -> LM:
    """A model for lm-evaluation-harness: its own `hf`, with a gate or a shift on it for as long as it lives.

    Without a gate every number is that of `hf`, bit for bit. `results["config"]["lens_truth"]` holds hashes of weights
    and gate; answers that lm-eval keeps (`use_cache`) are kept apart for each of them. On the command line it is
    `python -m lens_truth.lm_eval --model lens_truth --model_args pretrained=NAME,gate=FILE`.

    >>> gated = lens_truth.lm_eval_model("zoo:llama-memory-chat", gate, batch_size=16)
    >>> lm_eval.simple_evaluate(gated, tasks=["my_task"], task_manager=manager)["results"]

    Args:
        model: a name as for `load`, or a hooked model, which stays gated as long as what is returned lives.
        gate: a gate or a shift, or a file of one.
        asked: instead of a gate `scores` (a file or `HeadScores`) with `lam`, `norm`, `site`; `device`, `dtype`,
            `batch_size`, `max_length`, `add_bos_token` and others of `hf`.

    Raises:
        InputError: if lm-eval is not installed, the model or the gate cannot be read or do not fit, or an argument is
            not known.
    """
    needs_package("lm-eval", "lm_eval", "lm-eval")
    from lens_truth.harnesses.gated_lm import GatedLM

    made: Any = GatedLM
    return made(str(model) if isinstance(model, Path) else model, gate=gate, **asked)


def inspect_model(
    model: str | Path | HookedModel, gate: Intervention | str | Path | None = None, **asked: Any
) -> Model:
    """A model for Inspect: its own `hf/`, with a gate or a shift on it for as long as it lives.

    Without a gate greedy answers are those of `hf/`, token by token. On the command line it is
    `inspect eval task.py --model lens_truth/NAME -M gate=FILE`.

    >>> gated = lens_truth.inspect_model("zoo:llama-memory-chat", gate)
    >>> inspect_ai.eval(task, model=gated, temperature=0, max_tokens=16)

    Args:
        model: a name as for `load`, or a hooked model, which stays gated as long as what is returned lives.
        gate: a gate or a shift, or a file of one.
        asked: instead of a gate `scores` (a file or `HeadScores`) with `lam`, `norm`, `site`; `device`, `dtype`,
            `batch_size`, `do_sample`, `use_chat_template` and others of `hf/`.

    Raises:
        InputError: if inspect_ai is not installed, the model or the gate cannot be read or do not fit, or an argument
            is not known.
    """
    needs_package("inspect", "inspect_ai", "inspect")
    from inspect_ai._util.error import PrerequisiteError
    from inspect_ai.model import get_model

    from lens_truth.models.hooks import name_of

    named = isinstance(model, str | Path)
    args: dict[str, Any] = {**asked, **({} if gate is None else {"gate": gate}), **({} if named else {"hooked": model})}
    name = str(model) if isinstance(model, str | Path) else name_of(model)
    try:
        return get_model(f"lens_truth/{name}", memoize=False, **args)
    except PrerequisiteError as error:
        raise InputError(str(error.message)) from None
