"""The model `lens_truth` of lm-evaluation-harness: its own `hf`, whose Hugging Face model is a hooked one's, under a
gate. Imports lm-eval; `lm_eval_model` is for users."""

from __future__ import annotations

from copy import deepcopy
from importlib import import_module
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from lens_truth.errors import InputError
from lens_truth.harnesses.asked_for import OF_GATES, check_arguments, check_by_name, intervention_of, loaded, spreads
from lens_truth.harnesses.cache_tables import table_of_its_own
from lens_truth.harnesses.under_gate import UnderGate
from lens_truth.io.files import hash_of
from lens_truth.models.hooks import name_of
from lens_truth.models.loading import load_tokenizer

HFLM: Any = import_module("lm_eval.models.huggingface").HFLM
"""Without types: what lm-eval decorates has none."""
_ASKING = (
    "add_bos_token",
    "chat_template_args",
    "enable_thinking",
    "logits_cache",
    "max_length",
    "mixed_precision_dtype",
    "prefix_token_id",
    "softmax_dtype",
    "think_end_token",
    "truncation",
)
"""Arguments of `hf` that change what the model is shown, or how its numbers are read: handed on as they are."""
_BATCHES = ("batch_size", "max_batch_size")
_LOADING = ("attn_implementation", "parallelize", "peft", "revision", "tokenizer")


class GatedLM(HFLM):
    """`hf` of lm-evaluation-harness with a gate or a shift on the model for as long as the instance lives.

    Everything that asks and scores is lm-eval's own. What is loaded is what `lens_truth.load` loads; without a gate all
    numbers are those of `hf`, bit for bit.
    """

    def __init__(
        self,
        pretrained: Any,
        *,
        device: Any = None,
        dtype: Any = None,
        trust_remote_code: Any = False,
        **asked: Any,
    ) -> None:
        """`pretrained` is a name, or a model hooked already; `asked` are OF_GATES and what `hf` knows."""
        check_arguments(asked, (*OF_GATES, *_ASKING, *_BATCHES, *_LOADING), "lm-eval")
        self._intervention = intervention_of(asked)
        self._given = {"dtype": dtype, "attn": asked.get("attn_implementation"), "spread": ""}
        self._hooked: Any = None if isinstance(pretrained, str) else pretrained
        if self._hooked is not None:
            elsewhere = None if device == self._hooked.cfg.device else device
            its = {
                "dtype": dtype,
                "device": elsewhere,
                **{key: asked.get(key) for key in _LOADING if key != "tokenizer"},
            }
            check_by_name(its)
        device = "cuda" if device is None else device
        name = _whole_name(pretrained, asked) if isinstance(pretrained, str) else name_of(pretrained)
        if self._hooked is not None:
            device = str(self._hooked.cfg.device)
        elif spreads(device, asked.get("parallelize")):
            self._given["spread"] = "auto" if asked.get("parallelize") else device
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self._asking = {key: asked[key] for key in _ASKING if asked.get(key) is not None}
        how = {key: asked[key] for key in (*_BATCHES, "tokenizer") if asked.get(key) is not None}
        super().__init__(
            pretrained=name,
            device=device,
            trust_remote_code=bool(trust_remote_code),
            parallelize=bool(self._given["spread"]),
            **self._asking,
            **how,
        )
        self.under = UnderGate(self._hooked, self._intervention)

    def _get_config(self, pretrained: str, *, trust_remote_code: bool = False, **_: Any) -> None:
        """Loads the model, on the device that `hf` has settled on: its config is asked for first."""
        if self._hooked is None:
            device = self._given["spread"] or str(self.device)
            self._hooked = loaded(
                pretrained,
                device,
                self._given["dtype"],
                trust_remote_code=trust_remote_code,
                attn=self._given["attn"],
            )
        self._config = self._hooked.original_model.config

    def _create_tokenizer(
        self, pretrained: Any, tokenizer: Any, *, add_bos_token: bool | None = None, **how: Any
    ) -> None:
        """The one that was loaded with the model, or one that is named."""
        found: Any = self._hooked.tokenizer
        if isinstance(tokenizer, str):
            found = load_tokenizer(tokenizer, trust_remote_code=bool(how.get("trust_remote_code")))
        elif tokenizer is not None:
            found = tokenizer
        if not isinstance(found, PreTrainedTokenizerBase):
            raise InputError(f"model '{pretrained}' has no tokenizer: name one (tokenizer=NAME)")
        if add_bos_token is not None:
            found = deepcopy(found)  # the model's own stays as it is
            found.add_bos_token = add_bos_token  # as `from_pretrained(..., add_bos_token=...)` sets it
        self.tokenizer = found

    def _create_model(self, *_: Any, **__: Any) -> None:
        """The Hugging Face model inside, on which hooks act."""
        self._model = self._hooked.original_model

    @property
    def tokenizer_name(self) -> str:
        """By which lm-eval keeps prompts; a GGUF file's tokenizer has no name of its own."""
        tokenizer: Any = self.tokenizer
        return str(tokenizer.name_or_path or self.pretrained).replace("/", "__")

    def set_cache_hook(self, cache_hook: Any) -> None:
        """Called with the file of `--use_cache`, which would give what one model answered for any other's answer."""
        if cache_hook.dbdict is not None:
            its = hash_of(self.under.fingerprint, repr(sorted(self._asking.items())))
            table_of_its_own(cache_hook.dbdict, its)
        super().set_cache_hook(cache_hook)

    def get_model_info(self) -> dict[str, Any]:
        """What `hf` says of itself, and which weights ran under which gate."""
        return {**super().get_model_info(), "lens_truth": self.under.identity}


def _whole_name(pretrained: str, asked: dict[str, Any]) -> str:
    """Revision and adapter, which `hf` takes apart, as our names have them."""
    revision, peft = asked.get("revision"), asked.get("peft")
    name = pretrained if revision in (None, "main") else f"{pretrained}@{revision}"
    return name if peft is None else f"{name}+{peft}"


import_module("lm_eval.api.registry").register_model("lens_truth")(GatedLM)
