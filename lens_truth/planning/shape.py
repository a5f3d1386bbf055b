"""`ModelShape`: the sizes of a model from which follow what its passes cost. Numbers of multiplications are those that
`torch.utils.flop_counter` counts; see the formulas at each method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from lens_truth.errors import InputError

DTYPES: Mapping[str, int] = {"float32": 4, "float16": 2, "bfloat16": 2}
"""Bytes a number."""
FLOAT32 = 4
"""Bytes of a number of stored activations, and of logits whose log-probabilities are taken."""
DtypeName = Literal["float32", "float16", "bfloat16"]


@dataclass(frozen=True)
class Vision:
    """A vision tower with its projector."""

    n_per_token: int
    """Weights that multiply one patch."""
    n_patches: int
    """Of one image, a class token with them."""
    n_layers: int
    width: int
    image_tokens: int
    """Of one image, in the language model."""

    @property
    def flops(self) -> float:
        """Of one image: 2 a weight and patch, and each patch attends to all, 4 L T^2 d."""
        return 2.0 * self.n_per_token * self.n_patches + 4.0 * self.n_layers * self.n_patches**2 * self.width


@dataclass(frozen=True)
class ModelShape:
    """Sizes of a model, as `model_shape` reads them from its config. Weights need not be there.

    >>> shape: lens_truth.ModelShape = lens_truth.model_shape("7b")
    >>> shape.n_parameters, shape.weight_bytes
    """

    name: str
    n_layers: int
    """Decoder layers with attention."""
    d_model: int
    n_heads: int
    """Query heads of a layer."""
    n_kv_heads: int
    """Fewer than query heads under grouped-query attention."""
    d_head: int
    d_ff: int
    """Inner width of an MLP."""
    n_vocab: int
    n_parameters: int
    """Numbers of all weights; a tied embedding once, all experts, the vision tower with them."""
    n_per_token: int
    """Weights of the linear maps in the decoder layers that multiply one token: of experts those it goes through. The
    embedding (a look-up) and the unembedding (`n_logits`) are not among them."""
    n_logits: int
    """Weights that multiply a token of which logits are made: width times vocabulary."""
    dtype: DtypeName
    bits: int | None = None
    """Of a number of the decoder layers' linear maps where they are quantised."""
    n_quantised: int = 0
    """So many numbers are."""
    n_positions: int | None = None
    """The longest context, if the config says one."""
    vision: Vision | None = None
    has_tokenizer: bool = False

    @property
    def weight_bytes(self) -> int:
        """What the weights take in memory.

        >>> lens_truth.model_shape("70b").weight_bytes / 1e9
        """
        plain = (self.n_parameters - self.n_quantised) * DTYPES[self.dtype]
        return plain + (0 if self.bits is None else self.n_quantised * self.bits // 8)

    @property
    def kv_bytes(self) -> int:
        """Keys and values of one token, in all layers: 2 L KV D numbers.

        >>> lens_truth.model_shape("70b").kv_bytes  # an eighth of what 64 heads of their own would take
        """
        return 2 * self.n_layers * self.n_kv_heads * self.d_head * DTYPES[self.dtype]

    def forward_flops(self, tokens: float, pairs: float, logits: float = 0) -> float:
        """Of a forward pass: 2 for each weight and token (Kaplan et al. 2020, Table 1), 4 L H D for each token and each
        key that it attends to (the scores, and the values that they weigh; masked keys are computed too), and 2 d V
        for each token of which `logits` are made.

        >>> shape.forward_flops(tokens=512, pairs=512**2)

        Args:
            pairs: the sum over tokens of the keys that each attends to; T^2 of one row of T tokens.
        """
        attention = 4.0 * self.n_layers * self.n_heads * self.d_head * pairs
        return 2.0 * self.n_per_token * tokens + attention + 2.0 * self.n_logits * logits

    def backward_flops(self, tokens: float, pairs: float, logits: float = 0) -> float:
        """Of a backward pass to the heads' gains with frozen weights: as many as forward for linear maps, whose weights
        want no gradient (training takes twice as many), and twice as many for attention, both of whose sides do.

        >>> shape.backward_flops(tokens=512, pairs=512**2)
        """
        attention = 4.0 * self.n_layers * self.n_heads * self.d_head * pairs
        return self.forward_flops(tokens, pairs, logits) + attention

    def activation_bytes(self, rows: int) -> int:
        """What `capture` stores of so many rows: N L H D numbers of four bytes, and no header.

        >>> lens_truth.model_shape("7b").activation_bytes(20_000) / 1e9
        """
        return rows * self.n_layers * self.n_heads * self.d_head * FLOAT32

    def bytes_per_token(self, *, backward: bool = False) -> int:
        """What one token of a batch takes while it goes through, as `capture` and the others reckon when they choose
        how many go through at once: a generous guess of what the widest layer computes (with a backward pass to follow:
        all layers), keys and values beside it.

        >>> lens_truth.model_shape("7b").bytes_per_token(backward=True)
        """
        kept = 12 * self.d_model + 4 * self.d_ff
        cached = 2 * self.n_layers * self.n_heads * self.d_head
        return DTYPES[self.dtype] * (self.n_layers * kept if backward else kept + cached)

    def in_dtype(self, dtype: str) -> ModelShape:
        """The same with weights in another number format; `auto` is its own.

        >>> lens_truth.model_shape("7b").in_dtype("float32").weight_bytes

        Raises:
            InputError: for a format that `load` does not take.
        """
        if dtype == "auto":
            return self
        if dtype not in DTYPES:
            raise InputError(f"the number format is '{dtype}'; it is one of auto, {', '.join(DTYPES)}")
        return replace(self, dtype=dtype)  # pyright: ignore[reportArgumentType] (checked above)

    def with_vision(self, vision: Vision, n_parameters: int) -> ModelShape:
        """A multimodal child of it: the same language tower behind a vision tower of so many numbers.

        >>> child = shape.with_vision(tower, 304_000_000)
        """
        return replace(self, vision=vision, n_parameters=self.n_parameters + n_parameters)
