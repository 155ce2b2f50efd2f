"""What a caller is told that gets no answer now."""

from __future__ import annotations

from typing import Final

from assay.errors import AssayError

FAILED: Final = (
    "the scorer has failed and is stopping; send the transaction again after its restart"
)

UNAVAILABLE: Final = "a decision could not be journalled now; send the transaction again shortly"

UNKNOWN: Final = (
    "the scorer failed while this was being made durable, so it may be journalled or not; "
    "send the same again, with the same transaction_id, after the scorer's restart"
)


class OutcomeUnknownError(AssayError):
    """It was written, but maybe not durably: the next start may find it decided.

    It is no refusal. The same request sent again gets what came of it.
    """

    code = "outcome_unknown"
