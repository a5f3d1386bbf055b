#!/bin/sh
# Ray 2.60: `ray start --head` asks for a token where ~/.ray/auth_token exists, which the first local `ray.init()` of a user
# makes. `ray.init(address="auto")` then sends it, `ray.init(address="HOST:PORT")` does not: the same cluster answers the
# first and refuses the second, which says only that it failed to connect, after half a minute. RAY_AUTH_MODE=token makes
# it send the token.
#
# Guess before it was tried: an address is a place, and connects as `auto` does.
#
# Run it: sh findings/ray-address-token.sh (a cluster of one CPU on port 46379 for about a minute, and a home of its own).
# It fails if this is no longer so.
set -eu
folder=$(mktemp -d)
bin=$folder/venv/bin
trap '"$bin/ray" stop --force >/dev/null 2>&1 || true; rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$bin/pip" install --quiet --disable-pip-version-check ray==2.60.0
export HOME="$folder/home" RAY_USAGE_STATS_ENABLED=0 RAY_TMPDIR="$folder"
mkdir "$HOME"
cat > "$folder/connect.py" <<'PYTHON'
import logging
import sys

import ray

try:
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level=logging.CRITICAL)
    print("connects")
except ConnectionError:
    print("refused")
PYTHON
"$bin/python" "$folder/connect.py" local >/dev/null 2>&1
"$bin/ray" start --head --port=46379 --num-cpus=1 --include-dashboard=false >/dev/null 2>&1
auto=$("$bin/python" "$folder/connect.py" auto 2>/dev/null | tail -1)
address=$("$bin/python" "$folder/connect.py" 127.0.0.1:46379 2>/dev/null | tail -1)
token=$(RAY_AUTH_MODE=token "$bin/python" "$folder/connect.py" 127.0.0.1:46379 2>/dev/null | tail -1)
line="auto: $auto; address: $address; address, RAY_AUTH_MODE=token: $token"
echo "$line"
[ "$line" = "auto: connects; address: refused; address, RAY_AUTH_MODE=token: connects" ] || { echo "this has changed"; exit 1; }
