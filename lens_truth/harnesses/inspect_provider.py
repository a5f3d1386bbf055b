"""The model provider `lens_truth/NAME` of Inspect: its own `hf/`, whose Hugging Face model is a hooked one's, under a
gate. Imports inspect_ai; `inspect_model` is for users."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import transformers
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.model import ChatMessage, GenerateConfig, ModelAPI, ModelOutput
from inspect_ai.model._providers.hf import HuggingFaceAPI
from inspect_ai.tool import ToolChoice, ToolInfo
from transformers import PreTrainedTokenizerBase

from lens_truth.errors import InputError
from lens_truth.harnesses.asked_for import (
    OF_GATES,
    check_arguments,
    check_by_name,
    device_or_default,
    intervention_of,
    loaded,
)
from lens_truth.harnesses.under_gate import UnderGate

_ASKING = (
    "chat_template",
    "do_sample",
    "enable_thinking",
    "hidden_states",
    "tokenizer_call_args",
    "use_chat_template",
)
"""Arguments of `hf/` that say how the model is asked."""
_LOADING = ("attn_implementation", "device", "dtype", "model_path", "trust_remote_code")
_BATCH = 32
"""Rows of a batch by default, as many as `hf/` takes."""


class GatedProvider(HuggingFaceAPI):
    """`hf/` of Inspect with a gate or a shift on the model for as long as the provider lives.

    Prompts, batches, stops and log-probabilities are Inspect's own; what is loaded is what `lens_truth.load` loads.
    Temperature 0 is greedy, for which `hf/` wants `do_sample=false`; `batch_size` counts, which `hf/` passes over.
    """

    def __init__(  # not the parent's, which would load a plain model
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008 (as Inspect's)
        **model_args: Any,
    ) -> None:
        """`model_args` are OF_GATES, what `hf/` knows, and `hooked`: a model that is loaded already."""
        ModelAPI.__init__(self, model_name, None, api_key, [], config)
        try:
            self._load(model_args)
        except InputError as error:
            raise PrerequisiteError(str(error)) from None  # which Inspect prints without a traceback
        if config.seed is not None:
            transformers.set_seed(config.seed)
        self.batch_size = model_args.get("batch_size")
        self.chat_template = model_args.get("chat_template")
        self.use_chat_template = model_args.get("use_chat_template")
        self.tokenizer_call_args = model_args.get("tokenizer_call_args") or {}
        self.enable_thinking = model_args.get("enable_thinking")
        self.hidden_states = model_args.get("hidden_states")
        self._sampling = model_args.get("do_sample") is not False
        self.do_sample = self._sampling
        # Inspect keeps answers under a hash of the request, the model's name and this, but not of the model's arguments
        # (`_cache_key` in inspect_ai/model/_cache.py, 0.3.285).
        self.base_url = f"lens-truth:{self.under.fingerprint}"

    def _load(self, asked: dict[str, Any]) -> None:
        check_arguments(asked, (*OF_GATES, *_ASKING, *_LOADING, "batch_size", "hooked"), "Inspect")
        intervention = intervention_of(asked)
        name = str(asked.get("model_path") or self.model_name)
        if asked.get("hooked") is not None:
            check_by_name({key: asked.get(key) for key in _LOADING})
        model = loaded(
            asked.get("hooked") or name,
            device_or_default(asked.get("device")),
            asked.get("dtype"),
            trust_remote_code=asked.get("trust_remote_code"),
            attn=asked.get("attn_implementation"),
        )
        if not isinstance(model.tokenizer, PreTrainedTokenizerBase):
            raise InputError(f"model '{name}' has no tokenizer, and a harness asks in words")
        self.under = UnderGate(model, intervention)
        self.model: Any = self.under.hf
        self.device = str(self.model.device)
        self.tokenizer: Any = deepcopy(model.tokenizer)  # the model's own stays as it is
        self.tokenizer.pad_token = self.tokenizer.eos_token
        self.tokenizer.padding_side = "left"

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        """Inspect's, by name; what comes out says under which gate it was written."""
        greedy = config.temperature == 0
        self.do_sample = self._sampling and not greedy  # read before anything is waited for
        if greedy:
            config = config.model_copy(update={"temperature": None})
        output = await super().generate(input, tools, tool_choice, config)
        output.metadata = {**(output.metadata or {}), "lens_truth": self.under.identity}
        return output

    def max_connections(self) -> int:
        """How many rows are asked at once."""
        return int(self.batch_size or _BATCH)

    def close(self) -> None:
        """Takes the gate off and lets the model go."""
        self.under.close()
        super().close()
