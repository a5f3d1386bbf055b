#!/bin/sh
# lm-eval 0.4.13: `--use_cache FILE` keeps answers under a hash of the request alone (`hash_args` in lm_eval/api/model.py).
# A second model that is given the same file gets the first one's answers for its own, and nothing says so.
#
# Seen: a model that answers "one" and a model that answers "two", one file: the second one answers "one".
#
# Run it: sh findings/lm-eval-cache.sh. It fails if this is no longer so.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check lm-eval==0.4.13
cat > "$folder/cache.py" <<'PYTHON'
import sys

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM, CachingLM


class Says(LM):
    def __init__(self, word):
        super().__init__()
        self.word = word

    def loglikelihood(self, requests):
        return []

    def loglikelihood_rolling(self, requests):
        return []

    def generate_until(self, requests):
        return [self.word for _ in requests]


def asked(word):
    request = Instance(request_type="generate_until", doc={}, arguments=("How many?", {"until": ["."]}), idx=0)
    return CachingLM(Says(word), sys.argv[1]).generate_until([request])[0]


print(f"one: {asked('one')}, two: {asked('two')}")
PYTHON
line=$("$folder/venv/bin/python" "$folder/cache.py" "$folder/answers.db" 2>/dev/null)
echo "$line"
[ "$line" = "one: one, two: one" ] || { echo "this has changed: expected one: one, two: one"; exit 1; }
