"""The one error that a user can mend: bad input, told in one sentence."""

__all__ = ["InputError"]


class InputError(ValueError):
    """Bad input: the message names what was given, where, and what would do.

    The command line prints the message alone and exits with code 2; in a notebook it is a
    `ValueError` like any other.
    """
