"""Executes the notebooks from start to end, two at a time, each on one thread and offline.

    python notebooks/run.py                            all of them, into runs/notebooks/
    python notebooks/run.py notebooks/3_gate.py ...    some
    python notebooks/run.py --write ...                with their outputs, beside their sources

A notebook fails if a cell raises or writes to stderr (a warning), or if its outputs name a folder of this machine. One
whose model is a package (pypi:NAME) that is not installed is left out, and its saved outputs stay.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import os
import re
import signal
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import jupytext
import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
RESULTS = ROOT / "runs" / "notebooks"
DATA = "LENS_TRUTH_DATA"
AT_ONCE = 2
CELL_SECONDS = 600
LINE = 400
"""Characters of a traceback's line that are shown: a model's error may list all of its weights."""

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
"""Of every notebook, whatever machine it was executed on."""

QUIET = {
    **dict.fromkeys(("OMP_NUM_THREADS", "HF_HUB_OFFLINE", "HF_HUB_DISABLE_PROGRESS_BARS", "TQDM_DISABLE"), "1"),
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONWARNINGS": "ignore:IProgress not found",  # tqdm misses widgets, with which nothing is drawn here
    "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
}
"""What kernels find in their environment."""

_PACKAGE = re.compile(r'"pypi:([\w.-]+)"')
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


class NotebookError(Exception):
    """Why a notebook is not as it must be."""


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 if every notebook ran, 1 if one failed, 2 if one is not there, 130 if interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="*", type=Path, help="sources to execute; all, if none is named")
    parser.add_argument("--write", action="store_true", help="put each executed notebook beside its source")
    given = parser.parse_args(arguments)
    sources = given.sources or sorted(HERE.glob("[0-9]_*.py"))
    if missing := [source for source in sources if source.suffix != ".py" or not source.is_file()]:
        print(f"error: {missing[0]} is no source of a notebook (a .py file)", file=sys.stderr)
        return 2
    absent = {source: package for source in sources if (package := lacks(source))}
    for source, package in absent.items():
        print(f"{source.stem}: left out, since {package} is not installed (make real does that)")
    sources = [source for source in sources if source not in absent]
    os.environ.update(QUIET)
    if os.environ.get(DATA):
        os.environ[DATA] = str(Path(os.environ[DATA]).resolve())  # kernels work elsewhere
    start = time.perf_counter()
    try:
        succeeded = asyncio.run(_execute_all(sources, given.write))
    except KeyboardInterrupt:
        return 130
    print(f"{sum(succeeded)} of {len(sources)} notebooks ran, {time.perf_counter() - start:.0f} s together")
    return int(not all(succeeded))


async def _execute_all(sources: list[Path], write: bool) -> list[bool]:
    places = asyncio.Semaphore(AT_ONCE)

    async def one(source: Path) -> bool:
        folder = source.parent if write else RESULTS
        async with places:
            start = time.perf_counter()
            try:
                notebook = await executed(source)
            except NotebookError as error:
                print(f"FAILED {source.name}, {error}", file=sys.stderr, flush=True)
                return False
            folder.mkdir(parents=True, exist_ok=True)
            nbformat.write(notebook, folder / f"{source.stem}.ipynb")
            print(f"{source.stem}: {time.perf_counter() - start:.0f} s", flush=True)
            return True

    return await asyncio.gather(*map(one, sources))


async def executed(source: Path) -> NotebookNode:
    """The notebook of a source, with outputs; the same bytes each time, if its cells compute the same.

    Raises:
        NotebookError: names the cell, and shows it and what went wrong.
    """
    notebook = as_notebook(source)
    with tempfile.TemporaryDirectory(prefix="notebook-") as scratch:
        os.environ["IPYTHONDIR"] = str(Path(scratch) / "ipython")  # nobody's own startup files and history
        work = Path(scratch) / "work"
        work.mkdir()
        manager = AsyncKernelManager(
            kernel_name="python3",
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),  # so the interpreter that runs this
            transport="ipc",  # no port, which others could listen to or take
            connection_file=str(Path(scratch) / "kernel.json"),
        )
        client = NotebookClient(
            notebook,
            km=manager,
            resources={"metadata": {"path": str(work)}},
            timeout=CELL_SECONDS,
            record_timing=False,
            coalesce_streams=True,
            shutdown_kernel="immediate",
        )
        try:
            async with client.async_setup_kernel(cleanup_kc=True):
                for number in (signal.SIGINT, signal.SIGTERM):  # the client's handlers stop one kernel, not the run
                    asyncio.get_running_loop().remove_signal_handler(number)
                for index, cell in enumerate(notebook.cells):
                    await client.async_execute_cell(cell, index)
        except CellExecutionError as error:
            raise NotebookError(_failed_cell(notebook, error)) from error
        except Exception as error:  # a cell that never ends, a kernel that died
            raise NotebookError(f"{type(error).__name__}: {error}") from error
        notebook.metadata = nbformat.from_dict(METADATA)
        _refuse_noise(notebook, [scratch, str(ROOT), sys.prefix, os.environ.get(DATA, ""), str(Path.home())])
    return notebook


def lacks(source: Path) -> str | None:
    """The first package with a model that a notebook wants and that is not installed."""
    for package in _PACKAGE.findall(source.read_text(encoding="utf-8")):
        try:
            importlib.metadata.distribution(package)
        except importlib.metadata.PackageNotFoundError:
            return package
    return None


def as_notebook(source: Path) -> NotebookNode:
    """The cells of a source, without outputs."""
    notebook = jupytext.read(source, fmt="py:percent")
    notebook.metadata = nbformat.from_dict(METADATA)
    for number, cell in enumerate(notebook.cells, start=1):
        cell.id = f"cell-{number}"
    return notebook


def _failed_cell(notebook: NotebookNode, error: CellExecutionError) -> str:
    for number, cell in enumerate(notebook.cells, start=1):
        for output in cell.get("outputs", ()):
            if output.output_type == "error":
                trace = textwrap.indent(_ANSI.sub("", "\n".join(output.traceback)), "    ")
                trace = "\n".join(line[:LINE] for line in trace.splitlines())
                what = f"{error.ename}: {error.evalue.partition(chr(10))[0]}"[:LINE]
                return f"cell {number}: {what}\n{_shown(cell)}\n{trace}"
    return str(error)


def _refuse_noise(notebook: NotebookNode, folders: list[str]) -> None:
    """Raises a NotebookError for what no reader is to see: warnings, and where this machine keeps its files."""
    for number, cell in enumerate(notebook.cells, start=1):
        for output in cell.get("outputs", ()):
            if output.get("name") == "stderr":
                raise NotebookError(f"cell {number} writes to stderr:\n{_shown(cell)}\n{output.text}")
            said = str({kind: text for kind, text in output.get("data", {}).items() if kind != "image/png"})
            said += output.get("text", "")
            if found := [folder for folder in folders if len(folder) > 1 and folder in said]:
                raise NotebookError(f"cell {number} names {found[0]}, which is on this machine only:\n{_shown(cell)}")


def _shown(cell: NotebookNode) -> str:
    return textwrap.indent(cell.source, "    | ", lambda line: True)


if __name__ == "__main__":
    sys.exit(main())
