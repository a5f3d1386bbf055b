"""What is not there is told before anything that takes time is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import refused

from lens_truth.commands import probe
from lens_truth.commands.given import SCORE_FILES, check_given
from lens_truth.scoring.score_files import READERS

MISSING = [
    (("probe", "--data", "none.jsonl"), "none.jsonl: there is no such file"),
    (("probe", "--data", "halueval:none.json"), "none.json: there is no such file"),
    (("evidence", "--data", "squad:none.json"), "none.json: there is no such file"),
    (("probe", "--data", "conflict:squad:none.json"), "none.json: there is no such file"),
    (("audit", "none.csv"), "none.csv: there is no such file"),
    (("inherit", "none.npy", "other.npy"), "none.npy: there is no such file"),
    (("inherit", "zoo:llama-base", "mine=none.safetensors"), "none.safetensors: there is no such file"),
    (("weights", "--base-scores", "none.csv"), "none.csv: there is no such file"),
    (("gate", "--scores", "none.npy"), "none.npy: there is no such file"),
    (("evaluate", "judge", "--scores", "none.npy", "--lam", "1"), "none.npy: there is no such file"),
    (("evaluate", "pope", "--questions", "none.json"), "none.json: there is no such file"),
    (("evaluate", "chair", "--captions", "none.json"), "none.json: there is no such file"),
    (("ablate", "--neutral-text", "none.txt"), "none.txt: there is no such file"),
    (("probe", "--data", "phd:none.jsonl", "--images", "none"), "none: there is no such folder of images"),
    (("probe", "--limit", str(10**20)), "--limit 1e+20 is beyond what can be counted"),
    (("ablate", "--model"), "--model is given no value"),
    (("evidence", "--scores", "--limit", "3"), "--scores is given no value"),
    (("probe", "--model", "./nowhere"), "model './nowhere': there is no such folder"),
    (("inherit", "a=./no", "b=zoo:llama-base"), "model './no': there is no such folder"),
    (("check", "zoo:no"), "there is no model 'zoo:no' in the zoo"),
]


NOWHERE = {
    "check": ("./nowhere",),
    "check --model": ("--model", "./nowhere"),
    "probe": ("--model", "./nowhere"),
    "gate": ("--model", "./nowhere", "--save", "new"),
    "evaluate": ("judge", "--model", "./nowhere"),
    "ablate": ("--model", "zoo:llama-base", "./nowhere"),
    "evidence": ("--model", "./nowhere"),
    "inherit": ("zoo:llama-base", "mine=./nowhere"),
    "directions tuned": ("tuned", "--tuned", "zoo:llama-chat", "./nowhere"),
    "directions relative": ("relative", "--other", "./nowhere"),
    "directions series": ("series", "--checkpoints", "zoo:llama-seed1", "zoo:llama-seed2", "./nowhere"),
    "weights": ("--unrelated", "./nowhere"),
    "probe of data": ("--data", "./nowhere.jsonl"),
    "probe of a setting": ("--setting", "A", "--halueval", "./nowhere"),
    "evaluate of data": ("judge", "--data", "halueval:./nowhere.csv"),
    "evaluate pope": ("pope", "--questions", "./nowhere.json"),
    "ablate of data": ("--data", "./nowhere.csv"),
    "evidence of scores": ("--scores", "truth", "./nowhere.npy"),
    "inherit of files": ("one=./nowhere.npy", "other=./nowhere.csv"),
    "weights of scores": ("--base-scores", "./nowhere.safetensors"),
    "gate of scores": ("--scores", "./nowhere.csv"),
    "audit": ("./nowhere.jsonl",),
    "report": ("./nowhere",),
}


@pytest.mark.parametrize(("arguments", "complaint"), MISSING)
def test_what_is_missing_is_told_first(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    complaint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(capsys, complaint, *arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("case", list(NOWHERE))
def test_what_is_not_there_is_named_first(
    case: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(capsys, "nowhere", case.partition(" ")[0], *NOWHERE[case])
    assert not list(tmp_path.iterdir())


def test_nothing_heavy_is_imported_for_that() -> None:
    heavy = ["numpy", "torch", "transformers", "transformer_lens", "sklearn", "matplotlib", "PIL"]
    code = (
        "import sys\nfrom lens_truth.cli import main\nfrom contextlib import suppress\n"
        f"for arguments in {[list(arguments) for arguments, _ in MISSING]!r}:\n"
        "    with suppress(SystemExit):\n        main(arguments)\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n" and done.stderr.count("error: ") == len(MISSING)


@pytest.mark.parametrize("data", ["zoo:text/test", "facts:conflict@passing/test", "conflict:halueval:rows.csv"])
def test_data_that_is_there_passes(data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.csv").touch()
    check_given(probe.Config(data=data))


def test_files_of_scores_end_as_their_readers_say() -> None:
    assert set(SCORE_FILES) == set(READERS)
