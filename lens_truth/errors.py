"""The one exception for a user's mistake: its message is one sentence that names what is wrong and where."""


class InputError(ValueError):
    """Bad input from outside: a file, a flag, a model or data that do not fit.

    The command line prints its message and exits with code 2; in Python it is an ordinary `ValueError`.
    """


def first_line(error: BaseException) -> str:
    """The first line of what another library's error says."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
