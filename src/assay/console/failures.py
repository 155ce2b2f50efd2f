"""The one JSON shape of errors, and which status an error of Assay's has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from assay.errors import (
    AssayError,
    BundleError,
    ConflictError,
    ControlError,
    FeatureError,
    InputError,
    PolicyError,
    ReleaseError,
    UnavailableError,
)

_STATUS: Final[Mapping[type[AssayError], int]] = {
    InputError: 422,
    BundleError: 409,
    FeatureError: 409,
    PolicyError: 409,
    ConflictError: 409,
    ReleaseError: 409,
    ControlError: 503,
    UnavailableError: 503,
}


class RefusedError(Exception):
    """A request that the console does not serve.

    Parameters
    ----------
    status : int
        Of HTTP.
    code : str
        Stable name for programs.
    message : str
        For people: what is wrong, and what is accepted.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        self.status, self.code, self.message = status, code, message
        super().__init__(message)


def panel_place(path: str) -> dict[str, str]:
    """Return headers by which htmx shows trouble where it hides nothing that is still true."""
    place = "#comparison" if path == "/models/compare" else "#outcome"
    return {"hx-retarget": place, "hx-reswap": "innerHTML"}


def error_body(code: str, message: str) -> bytes:
    """Return an error as every part of Assay tells it."""
    return msgspec.json.encode({"error": {"code": code, "message": message}})


def status_of(error: AssayError) -> int:
    """Return the HTTP status of an error; 500 where the caller could do nothing about it."""
    return next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 500)
