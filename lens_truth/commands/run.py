"""`Run`: what all commands have in common, from the check of the output folder to the words of farewell."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from lens_truth.errors import gathered_notices
from lens_truth.io.files import check_out, write_json, write_text
from lens_truth.io.runs import COMMAND_LINE, for_json, write_record
from lens_truth.io.tables import print_warnings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

    from matplotlib.figure import Figure

    from lens_truth.io.results import Result
    from lens_truth.scoring.scores import HeadScores


class Run:
    """One run of a command, which lasts as long as its context is open:

    ```python
    with Run("evidence", config) as run:
        run.figure("scatter.png", figure)
        run.hold(found)
    ```

    Inside, data warnings (`DataWarning`) are gathered. What is written is listed; when the context closes without an
    error, `result.json` is written, last of all files, so that it stands for a finished run, and the warnings and the
    list are printed.
    """

    def __init__(self, command: str, config: Any, out: Path | None = None) -> None:
        self._start = time.perf_counter()
        self._command, self._config = command, config
        self._gathering = ExitStack()
        self.out: Path = config.out if out is None else out
        check_out(self.out)
        self.results: dict[str, Any] = {}
        self.hashes: dict[str, Any] = {}
        self.warnings: list[str] = []
        self._files: list[str] = []

    def __enter__(self) -> Run:
        self.warnings = self._gathering.enter_context(gathered_notices())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._gathering.close()
        if kind is not None:
            return
        self.write_record(self.out)
        print_warnings(self.warnings)
        names = ["result.json", *self._files]
        figures = " (each .png also as .pdf)" if any(name.endswith(".png") for name in names) else ""
        print(f"\nwritten to {self.out}/: {', '.join(names)}{figures}")

    def write_record(self, folder: Path) -> None:
        """Writes what is known so far as `result.json`: of itself where a command makes its folder at one stroke."""
        record = {
            "command": self._command,
            "command_line": COMMAND_LINE.get(),
            "results": self.results,
            "warnings": self.warnings,
            "config": {name: for_json(value) for name, value in asdict(self._config).items()},
            "hashes": self.hashes,
            "seconds": round(time.perf_counter() - self._start, 2),
        }
        write_record(folder, record)

    def wrote(self, name: str) -> Path:
        """The path of a file in the output folder, which is listed as written."""
        self._files.append(name)
        return self.out / name

    def figure(self, name: str, figure: Figure) -> None:
        """Saves a figure as .png and .pdf."""
        from lens_truth.plots.style import save

        save(figure, self.wrote(name))

    def text(self, name: str, text: str) -> None:
        """Writes a text."""
        write_text(self.wrote(name), text)

    def json(self, name: str, value: Any) -> None:
        """Writes JSON that nobody is to read."""
        write_json(self.wrote(name), value, compact=True)

    def scores(self, name: str, scores: HeadScores) -> None:
        """Saves scores in the format of the name's suffix."""
        scores.save(self.wrote(name))

    def heads(self, maps: Mapping[str, HeadScores]) -> None:
        """Puts scores by title into result.json, where the report finds them."""
        self.results.setdefault("head_scores", {}).update({title: its.as_dict() for title, its in maps.items()})

    def hold(self, result: Result, name: str | None = None) -> None:
        """Puts a result into result.json, under its name where a run can have several; what does not fit into JSON goes
        into a file beside it."""
        own = result.in_record()
        if name is None:
            self.results[result.part] = own
        else:
            self.results.setdefault(result.part, {})[name] = own
        for file in result.save_arrays(self.out):
            self._files.append(file)
