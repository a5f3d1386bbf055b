"""The report as a file: safe, repeatable, of limited size; and the command that writes it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
import reports
from conftest import refused, run
from report_pages import Elements, damaged, put, reported
from reports import HOSTILE

from lens_truth.page import write
from lens_truth.page.reading import read_runs
from lens_truth.scoring.scores import HeadScores


def test_texts_of_runs_are_data(tmp_path: Path) -> None:
    """Names and texts that look like markup stay texts, in the page and in the data of its script."""
    made = reports.scores(model=HOSTILE, data=HOSTILE)
    probe = reports.probe_run(tmp_path / "<b>run", made, data=HOSTILE, warnings=[HOSTILE])
    other = reports.write_run(
        tmp_path / "other", f"evaluate {HOSTILE}", {HOSTILE: {HOSTILE: HOSTILE}}, config={HOSTILE: HOSTILE}
    )
    ablate = reports.ablate_run(tmp_path / "ablate", model=HOSTILE)
    looked = reports.evidence_run(tmp_path / "evidence")
    damaged(looked, put([HOSTILE] * 9, "rows", 0, "tokens"), "attention.json")
    text, _ = reported(tmp_path / "r.html", probe, other, ablate, looked)
    found = Elements(text)
    names = [tag for tag, _ in found.found]
    assert names.count("script") == 2 and "img" not in names
    assert not [attributes for _, attributes in found.found if any(name.startswith("on") for name in attributes)]
    data = json.loads(found.scripts[0])
    assert data["models"][0]["name"].startswith(HOSTILE) and data["rows"][0]["tokens"] == [HOSTILE] * 9
    assert not re.search("[<>&\u2028\u2029]", found.scripts[0])


def test_nothing_is_loaded_and_only_its_own_script_may_run(tmp_path: Path) -> None:
    text, _ = reported(tmp_path / "r.html", reports.evidence_run(tmp_path / "evidence", image=True))
    found = Elements(text)
    for tag, attributes in found.found:
        for name in ("src", "href", "action", "srcset", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:,")), (tag, value)
    (policy,) = (its["content"] or "" for tag, its in found.found if its.get("http-equiv") == "Content-Security-Policy")
    script = found.scripts[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert "default-src 'none'" in policy and f"script-src 'sha256-{digest}'" in policy
    assets = files("lens_truth.page") / "assets"
    for name in ("page.css", "page.js", "page.html.j2"):
        addresses = re.findall(r"(?:https?:)?//[a-z][\w.-]+\.[a-z]+", (assets / name).read_text(encoding="utf-8"))
        assert set(addresses) <= {"http://www.w3.org"}  # the name of SVG
    assert "innerHTML" not in script and "eval" not in script


def test_the_same_runs_give_the_same_bytes(tmp_path: Path) -> None:
    folders = [reports.ablate_run(tmp_path / "ablate"), reports.evidence_run(tmp_path / "evidence", image=True)]
    one, _ = reported(tmp_path / "one.html", *folders)
    other, _ = reported(tmp_path / "other.html", *folders, folders[0] / "result.json")  # a run counts once
    assert one == other


def test_runs_of_one_name_are_told_apart_by_their_paths(tmp_path: Path) -> None:
    folders = [reports.probe_run(tmp_path / name / "probe", reports.scores(seed=i)) for i, name in enumerate("ab")]
    runs, _ = read_runs(folders)
    assert [run.name for run in runs] == [str(folder) for folder in folders]


def test_a_large_page_is_warned_of_and_examples_can_be_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = reports.evidence_run(tmp_path / "evidence", n_rows=40)
    whole, warned = reported(tmp_path / "r.html", folder)
    assert not warned and len(json.loads(Elements(whole).scripts[0])["rows"]) == 40
    monkeypatch.setattr(write, "LARGE", len(whole) // 2)
    _, (warning,) = reported(tmp_path / "r.html", folder)
    assert re.search(r"r\.html: has 0\.\d MB, .*; --max-examples N leaves example rows out$", warning)

    monkeypatch.undo()
    code, out, _ = run(capsys, "report", folder, "--max-examples", "3", "--out", tmp_path / "less.html")
    assert code == 0 and "WARNING" not in out
    less = (tmp_path / "less.html").read_text(encoding="utf-8")
    assert [row["id"] for row in json.loads(Elements(less).scripts[0])["rows"]] == ["scene-0", "scene-1", "scene-2"]
    assert "Attention on 3 of 40 examples from run evidence." in less
    refused(capsys, "must not be negative", "report", folder, "--max-examples", "-1", "--out", tmp_path / "no.html")
    assert not (tmp_path / "no.html").exists()


def test_seventy_billion_parameters_fit(tmp_path: Path) -> None:
    folders = [
        reports.probe_run(tmp_path / f"{kind}{i}", reports.scores(kind, seed=i, shape=(80, 64)))
        for i in range(3)
        for kind in ("truth", "causal")
    ]
    text, warned = reported(tmp_path / "r.html", *folders)
    assert not warned and len(text.encode()) < 2_500_000


def test_the_command_names_the_page_and_repeats_problems(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(capsys, "no runs were named, and no folder in runs/ holds a result.json", "report")
    for name in ("probe", "again"):
        reports.probe_run(tmp_path / "runs" / name, reports.scores())
    (tmp_path / "runs" / "unfinished").mkdir()
    code, out, err = run(capsys, "report")
    assert code == 0, err
    assert "runs in runs/: again, probe" in out and "WARNING" not in out
    assert re.search(r"written: runs/report\.html \(0\.\d\d MB\)", out)
    code, out, _ = run(capsys, "report", "runs/probe", "runs/unfinished", "--out", "x/y.html")
    assert code == 0 and (tmp_path / "x" / "y.html").is_file()
    assert "WARNING  unfinished: has no result.json" in out


def test_the_command_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = reports.probe_run(tmp_path / "good", reports.scores())
    out = tmp_path / "r.html"
    refused(
        capsys,
        "there is no run to report on: x: there is no such file or folder",
        "report",
        tmp_path / "x",
        "--out",
        out,
    )
    refused(capsys, "a report is a file whose name ends in .html", "report", good, "--out", tmp_path / "report.pdf")
    for folder in ("report", "report/"):  # as for all commands
        assert run(capsys, "report", good, "--out", f"{tmp_path}/{folder}")[0] == 0
    assert [path.name for path in (tmp_path / "report").iterdir()] == ["report.html"]
    (tmp_path / "d.html").mkdir()
    refused(capsys, "d.html: is a folder", "report", good, "--out", tmp_path / "d.html")
    refused(capsys, "is not a folder that can be written to", "report", good, "--out", good / "result.json" / "r.html")
    assert not out.exists()


def test_it_needs_no_model_libraries(tmp_path: Path) -> None:
    """So it answers at once: no PyTorch, no Transformers, no Matplotlib."""
    folder = reports.ablate_run(tmp_path / "ablate")
    code = (
        "import sys, lens_truth\n"
        f"lens_truth.write_report([{str(folder)!r}], out={str(tmp_path / 'r.html')!r})\n"
        "heavy = {'torch', 'transformers', 'transformer_lens', 'sklearn', 'matplotlib', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.zoo
def test_a_real_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What commands write is what the report reads."""
    assert run(capsys, "probe", "--limit", "60", "--permutations", "20", "--out", tmp_path / "probe")[0] == 0
    assert run(capsys, "audit", "zoo:text", "--limit", "60", "--out", tmp_path / "audit")[0] == 0
    text, warned = reported(tmp_path / "r.html", *(tmp_path / name for name in ("probe", "audit")))
    assert not warned
    best = HeadScores.load(tmp_path / "probe" / "scores.safetensors").best()
    assert f"highest: layer {best[0]} head {best[1]} (" in text
    assert "surface baseline (the answer&#39;s length and last character alone): 0.5" in text
    assert 'scope="row">zoo:text' in text
