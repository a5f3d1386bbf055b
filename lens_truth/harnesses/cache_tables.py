"""lm-eval's file of answers (`--use_cache`), one table for each model and gate.

lm-eval 0.4.13 keeps an answer under a hash of the request alone (`hash_args` in `lm_eval/api/model.py`), so a second
model that is given the same file has the first one's answers for its own (findings/lm-eval-cache.sh).
"""

from __future__ import annotations

from typing import Any


def table_of_its_own(answers: Any, fingerprint: str) -> None:
    """From now on this `SqliteDict` reads and writes a table that is named after the fingerprint (hex digits), made if
    it is not there. Those of others in the file are left alone, and `hf`'s is one of them."""
    answers.tablename = f"lens_truth_{fingerprint}"
    answers.conn.execute(f'CREATE TABLE IF NOT EXISTS "{answers.tablename}" (key TEXT PRIMARY KEY, value BLOB)')
    answers.conn.commit()
