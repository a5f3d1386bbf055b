"""A run that was killed, again and again, and then went on leaves the bytes of one that nobody disturbed."""

from __future__ import annotations

import json
import os
import re
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import run
from matplotlib.figure import Figure

from lens_truth.cli import main
from lens_truth.data.examples import write_examples
from lens_truth.data.loading import load_examples
from lens_truth.evaluate.answer_log import AnswerLog
from lens_truth.scoring.scores import HeadScores


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the commands below are given."""
    folder = tmp_path_factory.mktemp("inputs")
    write_examples(folder / "rows.jsonl", load_examples("zoo:conflict", limit=20))
    HeadScores(np.random.default_rng(1).uniform(0.4, 0.9, (3, 4))).save(folder / "one.safetensors")
    for name, key, said in (("questions", "text", "label"), ("answers", "prompt", "answer")):
        lines = [{"question_id": i, "image": f"{i}.jpg", key: f"Is there a {i}?", said: "yes"} for i in range(6)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


ROWS = "--model {model} --data {inputs}/rows.jsonl --batch-size 5"
COMMANDS = {
    "probe": f"probe {ROWS} --permutations 0 --folds 2 --out {{out}}",
    "inherit": "inherit one={model} other={inputs}/one.safetensors --data {inputs}/rows.jsonl --permutations 99 "
    "--out {out}",
    "weights": "weights --base {model} --child {model} --data {inputs}/rows.jsonl --out {out}",
    "ablate": f"ablate {ROWS} --limit 12 --validation-share .3 --scores {{inputs}}/one.safetensors --lam 1 --trials 1 "
    "--out {out}",
    "judge": f"evaluate judge {ROWS} --out {{out}}",
    "choose": f"evaluate choose {ROWS} --out {{out}}",
    "pope": "evaluate pope --questions {inputs}/questions.jsonl --answers {inputs}/answers.jsonl --out {out}",
    "audit": "audit {inputs}/rows.jsonl --folds 2 --out {out}",
    "gate": "gate --model {model} --scores {inputs}/one.safetensors --save {out}",
}


@contextmanager
def steps(at_each: Callable[[str], None]) -> Iterator[None]:
    """Calls before and after everything that changes what lies in a folder: files that get their names, answers."""

    def watched(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            at_each("before")
            given = method(*arguments, **more)
            at_each("after")
            return given

        return call

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in ((Path, "replace"), (Path, "rename"), (AnswerLog, "add")):
            patch.setattr(owner, name, watched(getattr(owner, name)))
        yield


def killed(arguments: list[str], at: int) -> None:
    """Runs a command in a process of its own, which is killed at that step."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of forks beside threads
        child = os.fork()
    if child == 0:
        count = iter(range(at, -1, -1))
        with steps(lambda _: os.kill(os.getpid(), signal.SIGKILL) if next(count, 0) == 0 else None):
            try:
                main(arguments)
            finally:
                os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)


def content(out: Path) -> dict[str, bytes]:
    """Every file, by its path; times and the name of the folder apart."""
    found: dict[str, bytes] = {}
    for path in sorted(out.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            if path.name == "result.json":
                data = re.sub(rb'"seconds_by_stage": {[^}]*}', b"", data)
                data = re.sub(rb'"(seconds|save|out|command_line)": .*', b"", data)
            found[path.relative_to(out).as_posix()] = data
    return found


@pytest.fixture
def no_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures without ink: that they are the same every time has a test of its own."""
    monkeypatch.setattr(Figure, "draw_without_rendering", lambda self: None)
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **how: file.write(b"a figure"))


@pytest.mark.usefixtures("no_drawing")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_killed_run_that_goes_on_leaves_the_same_bytes(
    capsys: pytest.CaptureFixture[str], tiny_folder: Path, inputs: Path, tmp_path: Path, command: str
) -> None:
    def arguments(out: str) -> list[str]:
        return COMMANDS[command].format(model=tiny_folder, inputs=inputs, out=tmp_path / out).split()

    count: list[str] = []
    with steps(count.append):
        code, _, err = run(capsys, *arguments("whole"))
    assert code == 0, err
    killed(arguments("torn"), len(count) // 2 - 1)
    left = [path.name for path in tmp_path.rglob(".*")]
    assert any(name.endswith(".lens-truth.lock") for name in left)
    assert run(capsys, *arguments("torn"))[0] == 0
    assert content(tmp_path / "torn") == content(tmp_path / "whole")
    assert {path.name for path in tmp_path.iterdir()} == {"torn", "whole"}
