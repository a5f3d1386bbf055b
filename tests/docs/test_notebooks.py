"""Every notebook has a source with the same cells and was executed without complaint; the runner refuses what fails."""

from __future__ import annotations

import json
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("jupytext", reason="notebooks need the docs extra")
pytest.importorskip("nbclient", reason="notebooks need the docs extra")

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
SOURCES = sorted(NOTEBOOKS.glob("[0-9]_*.py"))
PATH = re.compile(r"(?<![\w.:/])/(?:home|root|tmp|work|Users|mnt|opt|var|usr)/")


@pytest.fixture(scope="module")
def runner() -> Any:
    sys.path.insert(0, str(NOTEBOOKS))
    try:
        return import_module("run")
    finally:
        sys.path.remove(str(NOTEBOOKS))


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebook["cells"] for output in cell.get("outputs", ())]


def executed(source: Path) -> Any:
    return json.loads(source.with_suffix(".ipynb").read_text(encoding="utf-8"))


def test_seven_in_order() -> None:
    assert [source.name[0] for source in SOURCES] == list("1234567")
    assert {path.stem for path in NOTEBOOKS.glob("*.ipynb")} == {source.stem for source in SOURCES}


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
class TestPair:
    def test_same_cells(self, source: Path, runner: Any) -> None:
        written = runner.as_notebook(source)
        shown = executed(source)
        assert [(cell.cell_type, cell.id, cell.source) for cell in written.cells] == [
            (cell["cell_type"], cell["id"], "".join(cell["source"])) for cell in shown["cells"]
        ], f"python notebooks/run.py --write notebooks/{source.name} makes the notebook from its source"
        assert shown["metadata"] == written.metadata
        assert not any(cell["metadata"] for cell in shown["cells"])

    def test_every_cell_was_executed(self, source: Path) -> None:
        code = [cell for cell in executed(source)["cells"] if cell["cell_type"] == "code"]
        assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))

    def test_no_complaint_and_no_machine(self, source: Path) -> None:
        found = outputs(executed(source))
        assert not [output for output in found if output["output_type"] == "error" or output.get("name") == "stderr"]
        said = json.dumps(
            [output.get("text") or {k: v for k, v in output["data"].items() if k != "image/png"} for output in found]
        )
        assert "Traceback" not in said and not PATH.search(said)

    def test_says_something_and_leads_on(self, source: Path) -> None:
        shown = executed(source)
        assert "".join(shown["cells"][0]["source"]).startswith(f"# {source.name[0]}. ")
        assert any("image/png" in output.get("data", {}) for output in outputs(shown))
        assert source.with_suffix(".ipynb").stat().st_size < 700_000


def test_runner_writes_what_ran_and_refuses_the_rest(
    runner: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*runner.QUIET, "IPYTHONDIR", runner.DATA):
        monkeypatch.setenv(name, "")  # so that what the runner sets is taken back
    bodies = {
        "good": "print(6 * 7)",
        "raises": "1\n\n# %%\nvalue = 1 / 0",
        "warns": "import warnings\n\nwarnings.warn('look out')",
        "tells": "import os\n\nprint(os.getcwd())",
    }
    sources = [tmp_path / f"{name}.py" for name in bodies]
    for source, body in zip(sources, bodies.values(), strict=True):
        source.write_text(f"# %% [markdown]\n# # Title\n\n# %%\n{body}\n", encoding="utf-8")

    assert runner.main(["--write", *map(str, sources)]) == 1
    printed = capsys.readouterr()
    assert "1 of 4 notebooks ran" in printed.out
    assert "FAILED raises.py, cell 3: ZeroDivisionError: division by zero\n    | value = 1 / 0" in printed.err
    assert "FAILED warns.py, cell 2 writes to stderr" in printed.err and "look out" in printed.err
    assert "FAILED tells.py, cell 2 names " in printed.err

    assert sorted(path.name for path in tmp_path.glob("*.ipynb")) == ["good.ipynb"]
    (output,) = outputs(executed(sources[0]))
    assert output["text"] == ["42\n"]


def test_runner_refuses_what_is_not_there(runner: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert runner.main([str(tmp_path / "none.py")]) == 2
    assert "none.py is no source of a notebook" in capsys.readouterr().err


def test_what_wants_a_package_is_left_out_without_it(
    runner: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*runner.QUIET, "IPYTHONDIR", runner.DATA):
        monkeypatch.setenv(name, "")
    source = tmp_path / "real.py"
    source.write_text('# %%\nmodel = lens_truth.load("pypi:there-is-no-such-package")\n', encoding="utf-8")
    assert runner.main(["--write", str(source)]) == 0
    assert "real: left out, since there-is-no-such-package is not installed" in capsys.readouterr().out
    assert not source.with_suffix(".ipynb").exists()
    source.write_text('# "pypi:pytest" has no model, but is there\n', encoding="utf-8")
    assert runner.lacks(source) is None
