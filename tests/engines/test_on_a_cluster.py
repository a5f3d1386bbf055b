"""Two Ray nodes, one worker on each: the bytes are those of one process, also where workers and a node are killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.zoo


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the script beside this file saw."""
    folder = tmp_path_factory.mktemp("cluster")
    script = Path(__file__).with_name("two_nodes.py")
    path = os.pathsep.join([str(Path(__file__).parents[2]), str(script.parent)])
    ran = subprocess.run(
        [sys.executable, str(script), str(folder)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-4000:]
    return json.loads(ran.stdout.splitlines()[-1])


def test_killed_workers_and_nodes_change_no_byte(found: dict[str, Any]) -> None:
    assert found["nodes"] == 2 and found["cores"] == {"workers": 2, "threads": 1, "gpus": 0}
    assert found["killed"] == 1 and found["same after a killed worker"]
    assert found["nodes left"] == 1 and found["same after a lost node"]
    assert found["same answers"] and found["gate acts"]
    assert any("workers were lost" in sentence for sentence in found["warnings"])


def test_what_cannot_be_survived_is_one_sentence(found: dict[str, Any]) -> None:
    assert found["refused"].startswith("a worker on ") and found["refused"].endswith(": this row is empty")
    assert "workers died 3 times over the same batch" in found["died"]
    assert "what was finished is kept" in found["died"]
    assert "attached to the model here" in found["attached"]
