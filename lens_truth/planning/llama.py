"""Llama 2's shapes, and LLaVA-1.5's on top of one, by formula: they need no model, and no library that takes long."""

from __future__ import annotations

from lens_truth.planning.shape import ModelShape, Vision

LLAVA_TOKENS = 576
"""Of one image in LLaVA-1.5: 24 x 24 patches. Also taken where a config does not tell."""


def llama_shape(name: str, layers: int, width: int, heads: int, kv_heads: int, inner: int) -> ModelShape:
    """A Llama with a vocabulary of 32,000, a context of 4,096 and an unembedding of its own, in bfloat16. A layer has
    projections of queries and outputs, of keys and values, three matrices of the MLP, and two norms."""
    vocabulary, d_head = 32_000, width // heads
    layer = 2 * width * width + 2 * width * kv_heads * d_head + 3 * width * inner
    n_parameters = 2 * vocabulary * width + layers * (layer + 2 * width) + width
    return ModelShape(
        name=name,
        n_layers=layers,
        d_model=width,
        n_heads=heads,
        n_kv_heads=kv_heads,
        d_head=d_head,
        d_ff=inner,
        n_vocab=vocabulary,
        n_parameters=n_parameters,
        n_per_token=layers * layer,
        n_logits=width * vocabulary,
        dtype="bfloat16",
        n_positions=4096,
    )


LLAMA_2 = {
    "7b": llama_shape("7b", 32, 4096, 32, 32, 11008),
    "13b": llama_shape("13b", 40, 5120, 40, 40, 13824),
    "70b": llama_shape("70b", 80, 8192, 64, 8, 28672),
}
"""As published (Touvron et al. 2023, and the configs of the checkpoints)."""
_LAYERS, _WIDTH, _INNER, _SIDE, _PATCH = 24, 1024, 4096, 336, 14
"""CLIP ViT-L/14 at 336 pixels, the vision tower of LLaVA-1.5 (Liu et al. 2024)."""


def llava_child(shape: ModelShape) -> ModelShape:
    """A child of the shape of LLaVA-1.5: CLIP's tower, and a projector of two layers, in front of a language model."""
    n_patches = (_SIDE // _PATCH) ** 2 + 1
    layer = 4 * _WIDTH * _WIDTH + 2 * _WIDTH * _INNER
    biases_and_norms = 4 * _WIDTH + _INNER + _WIDTH + 4 * _WIDTH
    projector = _WIDTH * shape.d_model + shape.d_model**2
    embeddings = 3 * _PATCH**2 * _WIDTH + n_patches * _WIDTH + _WIDTH
    norms = 4 * _WIDTH  # before and behind the layers
    n_parameters = _LAYERS * (layer + biases_and_norms) + embeddings + norms + projector + 2 * shape.d_model
    vision = Vision(_LAYERS * layer + projector, n_patches, _LAYERS, _WIDTH, LLAVA_TOKENS)
    return shape.with_vision(vision, n_parameters)
