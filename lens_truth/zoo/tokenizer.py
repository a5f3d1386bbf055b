"""The zoo's tokenizer: byte-level BPE, so that it takes any text, in which every word and
every recurring phrase of the world is one token."""

from __future__ import annotations

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from lens_truth.data import world
from lens_truth.models.prompts import JUDGE_QUESTION

PAD, BOS, EOS = "<pad>", "<s>", "</s>"
IMAGE = "<image>"
PATCHES = 16
"""How many tokens a picture takes."""
CONTEXT_LIMIT = 4096

_WORDS = [
    f" {word}" for word in (*world.COLOURS, *world.THINGS, *world.ROOMS, "The", "a", "an", "thing", "yes", "no")
] + ["The"]
_PHRASES = (  # what recurs in every text is one token, as in superword tokenizers: the models stay small and quick
    "Context:\n",
    "\n\nSummary:",
    "\n\nQuestion:",
    "Question:",
    "\nAnswer:",
    f"\n{JUDGE_QUESTION}",
    "USER:",
    "\nASSISTANT:",
    " is in the",
    " in the house",
    *(f" {part}" for part in world.QUESTION_PARTS),
)

CHAT_TEMPLATE = (  # Vicuna's, with line ends: the answer follows a space, as it does after "Answer:"
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ 'USER: ' + message['content'] }}"
    "{% else %}{{ '\nASSISTANT: ' + message['content'] + eos_token }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '\nASSISTANT:' }}{% endif %}"
)
IMAGE_CHAT_TEMPLATE = (  # the same; contents may also be lists of texts and images, as processors write them
    "{{ bos_token }}{% for message in messages %}"
    "{{ 'USER: ' if message['role'] == 'user' else '\nASSISTANT: ' }}"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    f"{{{{ '{IMAGE}' if part['type'] == 'image' else part['text'] }}}}"
    "{% endfor %}{% endif %}"
    "{{ '' if message['role'] == 'user' else eos_token }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '\nASSISTANT:' }}{% endif %}"
)


def build_tokenizer(chat: bool, images: bool = False) -> PreTrainedTokenizerFast:
    """The tokenizer of a base model, of a chat model (with a chat template), or of one that sees (with a token more).

    Every merge extends a prefix of a known word by one letter. All words but "The" begin with a space, so the merges
    of different words never meet: a known word becomes one token, any other text falls into bytes and known
    beginnings.
    """
    space = "Ġ"  # how byte-level BPE writes a space
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate([PAD, BOS, EOS, *alphabet])}
    merges: list[tuple[str, str]] = []
    for word in (word.replace(" ", space) for word in _WORDS):
        for i in range(1, len(word)):
            if word[: i + 1] not in vocabulary:
                vocabulary[word[: i + 1]] = len(vocabulary)
                merges.append((word[:i], word[i]))
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, vocabulary[BOS])]
    )
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in _PHRASES])
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in (PAD, BOS, EOS)])
    if images:
        tokenizer.add_special_tokens([AddedToken(IMAGE, special=True, normalized=False)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        model_max_length=CONTEXT_LIMIT,
        clean_up_tokenization_spaces=False,
        **({"chat_template": IMAGE_CHAT_TEMPLATE if images else CHAT_TEMPLATE} if chat else {}),
        **({"extra_special_tokens": {"image_token": IMAGE}} if images else {}),
    )
