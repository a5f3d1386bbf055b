#!/bin/sh
# transformers 5.22.2: a function given to apply_chat_template arrives in the template as the text "<function>"; up to
# 5.22.1 it could be called there. So a template that writes today's date (strftime_now, as Llama 3.2's, SmolLM3's and
# gpt-oss's do) can no longer be told another date by keyword: it fails with "TypeError: 'str' object is not callable".
# Whoever measures a model behind such a template gets other prompts, and so other numbers, every day.
#
# What still works in both: a macro of that name in front of the template's own text.
#
# Run it: sh findings/chat-template-date.sh. It fails if this is no longer so.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
cat > "$folder/date.py" <<'PYTHON'
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast


def pinned(form):
    return "1999"


def said(template, **given):
    words = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, chat_template=template)
    try:
        return tokenizer.apply_chat_template([{"role": "user", "content": "hello"}], tokenize=False, **given)
    except TypeError as error:
        return str(error)


dated = "{{ strftime_now('%Y') }}"
print(f"keyword: {said(dated, strftime_now=pinned)}")
print(f"macro: {said('{% macro strftime_now(form) %}1999{% endmacro %}' + dated)}")
PYTHON
for case in "5.22.1:keyword: 1999" "5.22.2:keyword: 'str' object is not callable"; do
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check "transformers==${case%%:*}" jinja2==3.1.6
    lines=$("$folder/venv/bin/python" "$folder/date.py" 2> /dev/null)
    echo "transformers ${case%%:*}"
    echo "$lines"
    [ "$lines" = "${case#*:}
macro: 1999" ] || { echo "this has changed: expected ${case#*:}, macro: 1999"; exit 1; }
done
