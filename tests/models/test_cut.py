"""A model cut over two processes (tensor parallelism) gives hooks all heads, and the numbers of one process."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import nn

from lens_truth.models.cut import Given, cut_of, in_one, own_part


@pytest.mark.zoo
def test_a_model_over_two_processes_gives_the_numbers_of_one() -> None:
    if find_spec("transformers.distributed.tensor_parallel") is None:
        pytest.skip("this version of Transformers cuts weights in another way, which the self-test refuses")
    script = Path(__file__).parent / "two_processes.py"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", script]
    run = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    said = [line for line in run.stdout.splitlines() if line.startswith("process")]
    assert len(said) == 2 * 28 and all(line.endswith(" same") for line in said), run.stdout + run.stderr[-2000:]


def test_a_map_in_one_process_is_given_what_it_is_given() -> None:
    linear, x = nn.Linear(6, 4), torch.randn(2, 6, generator=torch.Generator().manual_seed(0))
    assert cut_of(linear) is None and in_one(linear.weight) is own_part(linear.weight) is linear.weight
    assert Given(linear).whole(x) is x and torch.equal(Given(linear).acted(lambda its: 2 * its, x), 2 * x)
