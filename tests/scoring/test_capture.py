"""Capture: the right numbers at the right place, batched as single, on disk as in memory, through a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lens_truth.data.examples import Example, read_examples, write_examples
from lens_truth.data.loading import load_examples
from lens_truth.errors import InputError
from lens_truth.models.loading import load
from lens_truth.models.prompts import encode
from lens_truth.scoring.activations import ActivationWriter, HeadActivations, rows_record
from lens_truth.scoring.capturing import capture, captures

EXAMPLES = load_examples("zoo:text", limit=23)
VARIED = [Example(f"v{i}", f"v{i // 2}", "What?", "x" * (1 + i), i % 2, "word " * (3 * i)) for i in range(9)]


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_equals_the_projection_input_of_hugging_face(tiny: Any, tokenizer: Any) -> None:
    activations = capture(tiny, VARIED, batch_size=4)
    assert activations.z.shape == (9, 3, 4, 12)
    assert activations.labels.tolist() == [e.label for e in VARIED]
    assert activations.groups == tuple(e.group for e in VARIED)
    hf = tiny.original_model
    for row, encoded in enumerate(encode(tokenizer, VARIED, "plain")):
        seen: list[torch.Tensor] = []
        handles = [
            layer.self_attn.o_proj.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0]))
            for layer in hf.model.layers
        ]
        with torch.no_grad():
            hf(torch.tensor([encoded.ids]))
        for handle in handles:
            handle.remove()
        expected = torch.stack([z[0, encoded.answer[1] - 1].view(4, 12) for z in seen])
        torch.testing.assert_close(activations.z[row], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("template", ["plain", "chat"])
def test_batch_equals_single(tiny: Any, template: Any) -> None:
    single = capture(tiny, VARIED, template=template, batch_size=1)
    for batch_size in (2, 9, 100):
        batch = capture(tiny, VARIED, template=template, batch_size=batch_size)
        torch.testing.assert_close(batch.z, single.z, rtol=1e-5, atol=1e-5)


def test_disk_equals_memory_and_round_trips(tiny: Any, tmp_path: Path) -> None:
    memory = capture(tiny, EXAMPLES, batch_size=4)
    disk = capture(tiny, EXAMPLES, batch_size=4, out=tmp_path / "a")
    assert torch.equal(memory.z, disk.z)
    assert (memory.ids, memory.groups, memory.provenance) == (disk.ids, disk.groups, disk.provenance)
    assert set(files_of(tmp_path / "a")) == {"z.npy", "rows.json"}
    memory.save(tmp_path / "b")
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    memory.save(tmp_path / "b")  # again: nothing to do


def test_a_finished_capture_is_not_run_again(tiny: Any, tmp_path: Path) -> None:
    capture(tiny, EXAMPLES, batch_size=4, out=tmp_path)
    before = (tmp_path / "z.npy").stat().st_mtime_ns
    capture(tiny, EXAMPLES, batch_size=4, out=tmp_path)
    assert (tmp_path / "z.npy").stat().st_mtime_ns == before


class KilledError(Exception):
    pass


@pytest.mark.parametrize("stop_after", [0, 1, 2])
@pytest.mark.parametrize("torn", [False, True])
def test_interrupted_capture_goes_on_and_gives_the_same_bytes(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_after: int, torn: bool
) -> None:
    capture(tiny, EXAMPLES, batch_size=1, out=tmp_path / "whole")
    write = ActivationWriter.write

    written: list[int] = []

    def dies(self: ActivationWriter, rows: Any, z: torch.Tensor) -> None:
        if len(written) == stop_after:
            if torn:  # numbers half written, not yet counted
                done = self.rows_done
                write(self, list(rows)[:1], torch.full_like(z[:1], 99.0))
                (self._progress.write_text(str(done)) if done else self._progress.unlink())
            raise KilledError
        write(self, rows, z)
        written.append(len(rows))

    monkeypatch.setattr(ActivationWriter, "write", dies)
    with pytest.raises(KilledError):
        capture(tiny, EXAMPLES, batch_size=1, out=tmp_path / "torn")
    with pytest.raises(InputError, match="interrupted"):
        HeadActivations.load(tmp_path / "torn")
    done: list[int] = []

    def counts(self: ActivationWriter, rows: Any, z: torch.Tensor) -> None:
        done.append(len(rows))
        write(self, rows, z)

    monkeypatch.setattr(ActivationWriter, "write", counts)
    capture(tiny, EXAMPLES, batch_size=1, out=tmp_path / "torn")
    assert done and sum(done) + sum(written) == len(EXAMPLES)
    assert files_of(tmp_path / "torn") == files_of(tmp_path / "whole")


def test_a_real_kill_leaves_a_resumable_run(zoo: Any, tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    write_examples(data, load_examples("zoo:text", limit=240))
    command = [
        sys.executable,
        "-c",
        "import sys, torch; torch.set_num_threads(1)\n"
        "from lens_truth import capture, load, read_examples\n"
        "capture(load('zoo:llama-base'), read_examples(sys.argv[1]), batch_size=8, out=sys.argv[2])",
        str(data),
    ]
    torn, whole = tmp_path / "torn", tmp_path / "whole"
    process = subprocess.Popen([*command, str(torn)], env=os.environ)
    while not (torn / "progress.json").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (torn / "z.npy").exists()
    for folder in (torn, whole):
        capture(zoo("llama-base"), read_examples(data), batch_size=8, out=folder)
    assert files_of(torn) == files_of(whole)


def test_another_run_in_the_same_folder_is_refused(tiny: Any, tmp_path: Path) -> None:
    capture(tiny, EXAMPLES, out=tmp_path)
    with pytest.raises(InputError, match="activations of another run"):
        capture(tiny, EXAMPLES[:5], out=tmp_path)


def test_memory_does_not_grow_with_the_number_of_examples(tiny: Any, tmp_path: Path) -> None:
    """What streams through the writer is one batch; the array lives in a file."""
    shape = (50_000, 3, 4, 12)
    tracemalloc.start()
    writer = ActivationWriter(tmp_path, shape, rows_record([0], ["g"], ["i"], {}))
    writer.write(range(8), torch.ones(8, *shape[1:]))
    writer.finish()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1e6 < (tmp_path / "z.npy").stat().st_size / 20
    array = np.load(tmp_path / "z.npy", mmap_mode="r")
    assert array.shape == shape and array[7].all() and not array[8:].any()


def test_rows_that_do_not_fit_are_counted_and_nothing_is_written(tiny: Any, tmp_path: Path) -> None:
    long = Example("long", "g", "q", "a", 1, "b" * 500)
    with pytest.raises(InputError, match=r"2 of 25 examples are longer than the model's context of 128 tokens.*'long'"):
        capture(tiny, [*EXAMPLES, long, long], out=tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_bad_input(tiny: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no examples to capture"):
        capture(tiny, [])
    with pytest.raises(InputError, match="batch size is 0"):
        capture(tiny, EXAMPLES, batch_size=0)
    with pytest.raises(InputError, match="has no tokenizer"):
        capture(load(tiny.original_model.__class__(tiny.original_model.config)), EXAMPLES)
    with pytest.raises(InputError, match="no readable activations"):
        HeadActivations.load(tmp_path)
    capture(tiny, EXAMPLES, out=tmp_path / "a")
    (tmp_path / "a" / "z.npy").write_bytes(b"broken")
    with pytest.raises(InputError, match="no readable activations"):
        HeadActivations.load(tmp_path / "a")


@pytest.mark.parametrize("batch_size", [1, 4])
def test_the_residual_stream_is_what_layers_give_out(tiny: Any, tokenizer: Any, batch_size: int) -> None:
    activations = capture(tiny, VARIED, at="resid_post", batch_size=batch_size)
    assert activations.z.shape == (9, 3, 1, 32) and activations.point == "resid_post"
    hf = tiny.original_model
    for row, encoded in enumerate(encode(tokenizer, VARIED, "plain")):
        with torch.no_grad():
            seen = hf.model(torch.tensor([encoded.ids]), output_hidden_states=True).hidden_states[1:3]
        last = torch.stack([layer[0, encoded.answer[1] - 1] for layer in seen])  # behind the last layer stands a norm
        torch.testing.assert_close(activations.z[row, :2, 0], last, rtol=1e-5, atol=1e-5)


def test_several_points_in_one_pass_are_each_by_itself(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In memory and on disk; killed after one point's batch was written and before the other's, the run goes on."""
    alone = {point: capture(tiny, EXAMPLES, at=point, batch_size=1) for point in ("z", "resid_post")}
    both = captures(tiny, EXAMPLES, {"z": None, "resid_post": None}, batch_size=1)
    assert all(torch.equal(both[point].z, alone[point].z) for point in alone)
    assert all(both[point].provenance == alone[point].provenance for point in alone)
    write, calls = ActivationWriter.write, list[int]()

    def dies(self: ActivationWriter, rows: Any, z: torch.Tensor) -> None:
        calls.append(len(rows))
        if len(calls) == 4:
            raise KilledError
        write(self, rows, z)

    monkeypatch.setattr(ActivationWriter, "write", dies)
    folders: dict[Any, Path | None] = {point: tmp_path / point for point in alone}
    with pytest.raises(KilledError):
        captures(tiny, EXAMPLES, folders, batch_size=1)
    monkeypatch.setattr(ActivationWriter, "write", write)
    found = captures(tiny, EXAMPLES, folders, batch_size=1)
    assert all(torch.equal(found[point].z, alone[point].z) for point in alone)
    again = captures(tiny, EXAMPLES, folders, batch_size=1)
    assert all(torch.equal(again[point].z, alone[point].z) for point in alone)
