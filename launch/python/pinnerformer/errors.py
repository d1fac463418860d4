"""Errors of this package. A file that is not there is the FileNotFoundError of Python."""


class PinnerformerError(Exception):
    """Base of all errors below."""


class DataError(PinnerformerError, ValueError):
    """A file is not what it should be; the message names it, what was expected and what was found."""


class VersionError(DataError):
    """Files of different models, whose vectors must not be compared."""


class InputError(PinnerformerError, ValueError):
    """The caller's events, ids or vectors cannot be used."""


class MissingPackage(PinnerformerError, ImportError):
    """An optional package is not installed; the message says how to install it."""
