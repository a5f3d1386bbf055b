#!/bin/sh
# tyro 1.0.17, Python 3.11: how an optional flag is spelled decides whether `--help` imports typeguard.
#
# To see whether a default fits its type, tyro has a short way for plain types, Literal, Annotated and typing.Union, whose
# members it tries from left to right. `int | None` is a types.UnionType, which is none of these, and so typeguard is
# imported, which takes longer than the whole parse; `Optional[int]` means the same and does without. A member with
# parameters (`tuple[int, ...]`) goes the long way too, unless None stands before it and fits.
#
# Seen: typeguard is imported for `int | None` and Optional[tuple[int, ...]], not for Optional[int] and
# Union[None, tuple[int, ...]]; on two cores some 70 to 90 ms against 5.
#
# Run it: sh findings/tyro-typeguard.sh. It fails if this is no longer so.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tyro==1.0.17 typeguard==4.6.0
cat > "$folder/parse.py" <<'PYTHON'
import sys
import time
from dataclasses import field, make_dataclass
from typing import Optional, Union

import tyro

HINTS = {
    "int | None": int | None,
    "Optional[int]": Optional[int],
    "Optional[tuple[int, ...]]": Optional[tuple[int, ...]],
    "Union[None, tuple[int, ...]]": Union[None, tuple[int, ...]],
}
flags = make_dataclass("Flags", [("count", HINTS[sys.argv[1]], field(default=None))])
start = time.perf_counter()
assert tyro.cli(flags, args=[]).count is None
took = 1000 * (time.perf_counter() - start)
print(f"{sys.argv[1]:<30}{took:6.0f} ms, typeguard", "imported" if "typeguard" in sys.modules else "not imported")
PYTHON
for case in "int | None:imported" "Optional[int]:not imported" "Optional[tuple[int, ...]]:imported" \
    "Union[None, tuple[int, ...]]:not imported"; do
    line=$("$folder/venv/bin/python" "$folder/parse.py" "${case%%:*}")
    echo "$line"
    case $line in
        *", typeguard ${case##*:}") ;;
        *) echo "this has changed: expected '${case##*:}'" && exit 1 ;;
    esac
done
