"""What a model's chat template makes of a question, and of a question with its answer."""

from __future__ import annotations

import re
from typing import Any, cast

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase as Tokenizer

from lens_truth.models.image_input import ImageInput

IMAGE = "\ufffc"
"""Where the image stands in a text; Unicode's object replacement character is meant for that."""
LABEL = "Context:\n"
"""What stands before a context."""

_THINKING = ("enable_thinking", "thinking")
"""What templates (Qwen3's, Granite's) call the switch that lets a model think aloud before it answers."""
_DATE = {"%Y": "2024", "%m": "07", "%d": "26", "%b": "Jul", "%B": "July", "%H": "00", "%M": "00", "%S": "00"}
_IN_WORDS = "".join(f"|replace('{sign}','{said}')" for sign, said in _DATE.items())
_DATED = f"{{% macro strftime_now(form) %}}{{{{ form{_IN_WORDS} }}}}{{% endmacro %}}"
"""What templates that write today's date (Llama 3.2's, SmolLM3's, gpt-oss's) are told: what Llama 3.1's writes by
itself. Prompts, and all numbers behind them, would be others tomorrow. Transformers hands no function of ours to
a template (since 5.22.2: findings/chat-template-date.sh), so the template gets a macro of that name."""
_OPEN_THOUGHT = re.compile(r"<([\w:]*(?:think|thought|reason)\w*)>\s*$")


def chat_text(
    tokenizer: Tokenizer, content: str, images: ImageInput | None, as_list: bool, answer: str | None = None
) -> str | None:
    """The chat so far; None if the template does not show what was said.

    Most templates take a string, in which the image stands where the paper has its context. Some (LLaVA's) want a list
    of contents and write the image first; then nothing is left to be labelled as context. An answer is asked for, not
    a thought that would fill the few tokens there are: thinking is switched off, and where a template has no switch
    and begins a thought (DeepSeek-R1's), it is left empty.
    """
    before, _, after = content.partition(IMAGE) if images else (content, "", "")
    said: Any = f"{before}{images.placeholder}{after}" if images else content
    shown = (before, after)
    if as_list:
        words = before.removesuffix(LABEL) + after.lstrip("\n") if images else content
        said, shown = [{"type": "image"}] * bool(images) + [{"type": "text", "text": words}], (words,)
    messages: list[dict[str, Any]] = [{"role": "user", "content": said}]
    if answer is not None:
        messages.append({"role": "assistant", "content": [{"type": "text", "text": answer}] if as_list else answer})
    try:
        template: str = cast("Any", tokenizer).get_chat_template()
        how: dict[str, Any] = {switch: False for switch in _THINKING if switch in template}
        if "strftime_now" in template:
            how["chat_template"] = _DATED + template
        text: Any = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=answer is None, **how)
    except (TemplateError, TypeError, KeyError, AttributeError, ValueError):  # one that wants the other kind of content
        return None
    if any(part.strip() not in text for part in shown):
        return None
    if answer is None and (thought := _OPEN_THOUGHT.search(text)):
        text = f"{text.rstrip()}\n\n</{thought[1]}>\n\n"
    return images.marked(text) if images else text
