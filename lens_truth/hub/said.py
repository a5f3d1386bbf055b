"""What the Hugging Face Hub says against something, in one sentence."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from lens_truth.errors import InputError, first_line

_TOKEN = "`hf auth login`, or HF_TOKEN, gives it one"


@contextmanager
def one_sentence(what: str) -> Generator[None, None, None]:
    """While open, whatever huggingface_hub raises becomes an InputError: what could not be done, and why."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # of its own, of its client for HTTP (httpx or httpx2, by its version) and of the system
        raise InputError(f"{what}: {_why(error)}") from error


def _why(error: Any) -> str:
    from huggingface_hub import errors

    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, RuntimeError) and error.__cause__ is not None:  # of one of several files
        return _why(error.__cause__)
    if isinstance(error, errors.HFValidationError):
        return "that is not the name of a repository, which is ORG/NAME"
    if isinstance(error, errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled):
        return "it is not in the cache, and the hub is out of reach (no network, or HF_HUB_OFFLINE is set)"
    if isinstance(error, errors.RevisionNotFoundError):
        return "there is no such branch, tag or commit"
    if isinstance(error, errors.EntryNotFoundError):
        return "there is no such file"
    if isinstance(error, errors.GatedRepoError):
        return f"its owner has to let you in, and the hub to know you ({_TOKEN})"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"there is no such repository, or it is private and the hub does not know you ({_TOKEN})"
    if status == 401:
        return f"the hub does not know you ({_TOKEN})"
    if status == 403:
        return "the hub does not allow it: the token may not write there, or not at all"
    if status == 412:
        return "somebody else has changed it meanwhile; look at it, and try again"
    if status is not None:
        return f"the hub answers {status} ({first_line(error)})"
    return f"{type(error).__name__} ({first_line(error)})"
