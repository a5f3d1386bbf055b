"""Tiny multimodal models of every family, built from their real config classes, with processors and tokenizers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken
from transformers import (
    CLIPVisionConfig,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    InternVLConfig,
    InternVLForConditionalGeneration,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    MistralConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5OmniThinkerConfig,
    Qwen2_5OmniThinkerForConditionalGeneration,
    Qwen2Config,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    SiglipVisionConfig,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import LlavaOnevisionImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from lens_truth.zoo.tokenizer import build_tokenizer

TOKENS = {
    "llava": ["<image>"],
    "qwen": ["<|image_pad|>", "<|vision_start|>", "<|vision_end|>", "<|video_pad|>", "<|AUDIO|>"],
    "internvl": ["<IMG_CONTEXT>", "<img>", "</img>"],
    "gemma3": ["<image_soft_token>", "<start_of_image>", "<end_of_image>"],
}
PINPOINTS = [[56, 112], [112, 56], [112, 112]]
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
CLIP = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 56,
    "patch_size": 14,
}
QWEN_CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% elif 'text' in c %}{{ c['text'] }}"
    "{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAVA_CHAT = (  # as published: text of an image turn comes after the image, and contents have to be lists
    "{% for message in messages %}{% if message['role'] != 'system' %}{{ message['role'].upper() + ': '}}{% endif %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}"
    "{% if message['role'] != 'assistant' %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] + ' '}}"
    "{% endfor %}{% else %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{% generation %}{{ content['text'] + ' '}}{% endgeneration %}{% endfor %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
INTERNVL_CHAT = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n'}}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for content in message['content'] %}"
    "{% if content['type'] == 'image' %}{{ '<IMG_CONTEXT>\n' }}{% elif content['type'] == 'text' %}"
    "{{ content['text'] }}{% endif %}{% endfor %}{% endif %}{{'<|im_end|>\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{'<|im_start|>assistant\n' }}{% endif %}"
)

GEMMA3_CHAT = (  # an image is the token that opens it; what follows that is left to the processor
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\n' }}"
    "{% if message['content'] is string %}{{ message['content'] | trim }}{% else %}{% for item in message['content'] %}"
    "{% if item['type'] == 'image' %}{{ '<start_of_image>' }}{% elif item['type'] == 'text' %}{{ item['text'] | trim }}"
    "{% endif %}{% endfor %}{% endif %}{{ '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)


def tokenizer_for(kind: str, folder: Path) -> Any:
    """A byte-level tokenizer with the family's image tokens and its published chat template, saved to `folder`."""
    tokenizer = build_tokenizer(chat=True)
    tokenizer.add_special_tokens(
        {"additional_special_tokens": [AddedToken(token, special=True, normalized=False) for token in TOKENS[kind]]}
    )
    tokenizer.chat_template = {
        "llava": LLAVA_CHAT,
        "qwen": QWEN_CHAT,
        "internvl": INTERNVL_CHAT,
        "gemma3": GEMMA3_CHAT,
    }[kind]
    tokenizer.save_pretrained(folder)
    return PreTrainedTokenizerFast.from_pretrained(folder)


def _qwen_ids(tokenizer: Any) -> dict[str, int]:
    image, start, end, video, _ = tokenizer.convert_tokens_to_ids(TOKENS["qwen"])
    return {
        "image_token_id": image,
        "vision_start_token_id": start,
        "vision_end_token_id": end,
        "video_token_id": video,
    }


def _llava(tokenizer: Any, text: Any) -> PreTrainedModel:
    vision = CLIPVisionConfig(**CLIP)
    image = tokenizer.convert_tokens_to_ids("<image>")
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_id=image, vision_feature_layer=-2)
    return LlavaForConditionalGeneration(config)


def _llava_next(tokenizer: Any, text: Any) -> PreTrainedModel:
    config = LlavaNextConfig(
        vision_config=CLIPVisionConfig(**CLIP),
        text_config=text,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=PINPOINTS,
        vision_feature_layer=-2,
    )
    return LlavaNextForConditionalGeneration(config)


def _onevision(tokenizer: Any, text: Any) -> PreTrainedModel:
    config = LlavaOnevisionConfig(
        vision_config=SiglipVisionConfig(**CLIP, vision_use_head=False),
        text_config=text,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=PINPOINTS,
        vision_aspect_ratio="anyres_max_2",
    )
    return LlavaOnevisionForConditionalGeneration(config)


def _rope(sections: list[int], **more: Any) -> dict[str, Any]:
    return {"rope_type": "default", "mrope_section": sections, "rope_theta": 10000.0, **more}


def _qwen2_5_vl(tokenizer: Any, text: Any) -> PreTrainedModel:
    vision = {"depth": 2, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2, "out_hidden_size": 32}
    vision |= {"patch_size": 14, "window_size": 56, "fullatt_block_indexes": [1]}
    text = {**TEXT, "vocab_size": len(tokenizer), "rope_parameters": _rope([1, 1, 2])}
    return Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(text_config=text, vision_config=vision, **_qwen_ids(tokenizer))
    )


def _qwen3_vl(tokenizer: Any, text: Any) -> PreTrainedModel:
    vision = {"depth": 2, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2, "out_hidden_size": 32}
    vision |= {"patch_size": 14, "deepstack_visual_indexes": [0], "num_position_embeddings": 64}
    text = {**TEXT, "vocab_size": len(tokenizer), "head_dim": 8}
    text["rope_parameters"] = _rope([2, 1, 1], mrope_interleaved=True)
    return Qwen3VLForConditionalGeneration(
        Qwen3VLConfig(text_config=text, vision_config=vision, **_qwen_ids(tokenizer))
    )


def _omni(tokenizer: Any, text: Any) -> PreTrainedModel:
    ids = _qwen_ids(tokenizer)
    vision = {"depth": 2, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2, "out_hidden_size": 32}
    vision |= {"patch_size": 14, "window_size": 56, "fullatt_block_indexes": [1]}
    audio = {"d_model": 16, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 16, "output_dim": 32}
    text = {**TEXT, "vocab_size": len(tokenizer), "rope_parameters": _rope([1, 1, 2])}
    config = Qwen2_5OmniThinkerConfig(
        text_config=text,
        vision_config=vision,
        audio_config={**audio, "num_mel_bins": 8, "max_source_positions": 20, "n_window": 4},
        image_token_id=ids["image_token_id"],
        video_token_id=ids["video_token_id"],
        audio_token_id=tokenizer.convert_tokens_to_ids("<|AUDIO|>"),
        vision_start_token_id=ids["vision_start_token_id"],
        vision_end_token_id=ids["vision_end_token_id"],
    )
    return Qwen2_5OmniThinkerForConditionalGeneration(config)


def _internvl(tokenizer: Any, text: Any) -> PreTrainedModel:
    vision = {**CLIP, "image_size": [56, 56], "patch_size": [14, 14]}
    config = InternVLConfig(
        vision_config=vision,
        text_config=text,
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
    )
    return InternVLForConditionalGeneration(config)


def _gemma3(tokenizer: Any, text: Any) -> PreTrainedModel:
    image, start, end = tokenizer.convert_tokens_to_ids(TOKENS["gemma3"])
    config = Gemma3Config(
        text_config={**TEXT, "vocab_size": len(tokenizer), "head_dim": 8, "query_pre_attn_scalar": 8},
        vision_config={**CLIP, "vision_use_head": False},
        mm_tokens_per_image=4,
        image_token_index=image,
        boi_token_index=start,
        eoi_token_index=end,
    )
    return Gemma3ForConditionalGeneration(config)


_SQUARE = {"size": {"shortest_edge": 56}, "crop_size": {"height": 56, "width": 56}}
FAMILIES: dict[str, tuple[Any, str, Any, Any]] = {  # name: (builder, tokens, text config class, image processor)
    "llava": (_llava, "llava", LlamaConfig, lambda: CLIPImageProcessorPil(**_SQUARE)),
    "llava-next-vicuna": (
        _llava_next,
        "llava",
        LlamaConfig,
        lambda: LlavaNextImageProcessorPil(**_SQUARE, image_grid_pinpoints=PINPOINTS),
    ),
    "llava-next-mistral": (
        _llava_next,
        "llava",
        MistralConfig,
        lambda: LlavaNextImageProcessorPil(**_SQUARE, image_grid_pinpoints=PINPOINTS),
    ),
    "llava-onevision": (
        _onevision,
        "llava",
        Qwen2Config,
        lambda: LlavaOnevisionImageProcessorPil(size={"height": 56, "width": 56}, image_grid_pinpoints=PINPOINTS),
    ),
    "qwen2.5-vl": (
        _qwen2_5_vl,
        "qwen",
        None,
        lambda: Qwen2VLImageProcessorPil(
            patch_size=14, size={"shortest_edge": 28 * 28 * 4, "longest_edge": 28 * 28 * 16}
        ),
    ),
    "qwen3-vl": (
        _qwen3_vl,
        "qwen",
        None,
        lambda: Qwen2VLImageProcessorPil(
            patch_size=14, size={"shortest_edge": 28 * 28 * 4, "longest_edge": 28 * 28 * 16}
        ),
    ),
    "qwen2.5-omni": (
        _omni,
        "qwen",
        None,
        lambda: Qwen2VLImageProcessorPil(
            patch_size=14, size={"shortest_edge": 28 * 28 * 4, "longest_edge": 28 * 28 * 16}
        ),
    ),
    "internvl": (
        _internvl,
        "internvl",
        Qwen2Config,
        lambda: GotOcr2ImageProcessorPil(size={"height": 56, "width": 56}, max_patches=4, crop_to_patches=True),
    ),
    "gemma3": (_gemma3, "gemma3", None, lambda: Gemma3ImageProcessorPil(size={"height": 56, "width": 56})),
}


def build_multimodal(family: str, folder: Path) -> PreTrainedModel:
    """A tiny random model of a family; tokenizer, processor and weights are saved to `folder`."""
    make, kind, text_class, processor = FAMILIES[family]
    tokenizer = tokenizer_for(kind, folder)
    torch.manual_seed(7)
    window = {"sliding_window": None} if text_class is MistralConfig else {}
    text = text_class(**TEXT, **window, vocab_size=len(tokenizer)) if text_class else None
    model = make(tokenizer, text).eval()
    for name, parameter in model.named_parameters():  # so that images matter as much as words
        if "vision" in name or "visual" in name or "projector" in name or "merger" in name:
            torch.nn.init.normal_(parameter, std=0.3) if parameter.ndim > 1 else None
    processor().save_pretrained(folder)
    model.save_pretrained(folder)
    return model
