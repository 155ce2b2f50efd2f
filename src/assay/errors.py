"""Every error Assay raises on purpose.

::

    AssayError
    ├── SettingsError        a setting is unknown, mistyped or contradicts another
    ├── InputError           a transaction, label or file row is not acceptable
    │   └── CardNumberError  a card number stands where none may be stored
    ├── ConflictError        the same id was sent with another body
    ├── BundleError          a model bundle is missing, damaged or does not match
    ├── PolicyError          policy.toml is wrong
    ├── FeatureError         a feature definition is wrong
    ├── JournalError         the journal is damaged, locked or not writable
    ├── DatasetError         a table or import is missing or damaged
    ├── TrainingError        the data cannot give a model
    ├── OwnerError           another writer holds what this one would write
    ├── ControlError         the control database is missing, damaged or too new
    ├── ReleaseError         a model may not go live, or another request came first
    └── UnavailableError     the service cannot decide now; try again

An operating error is one of these; a programmer's error is an ``AssertionError``.
"""

from __future__ import annotations


class AssayError(Exception):
    """Base of all: its text is one sentence that says what happened and what is accepted.

    Attributes
    ----------
    code : str
        Stable name for programs, used in the JSON error shape.
    """

    code = "assay_error"


class SettingsError(AssayError):
    """A setting is unknown, mistyped or contradicts another."""

    code = "bad_setting"


class InputError(AssayError):
    """A transaction, label or file row is not acceptable.

    Parameters
    ----------
    field : str
        The field at fault; ``""`` when the whole document is.
    got : str
        The kind of value found, never the value of an id or of a card number.
    accepted : str
        What would have been accepted.
    """

    code = "bad_input"

    def __init__(self, field: str, got: str, accepted: str) -> None:
        self.field, self.got, self.accepted = field, got, accepted
        where = f"{field}: " if field else ""
        super().__init__(f"{where}got {got}; accepted: {accepted}")


class CardNumberError(InputError):
    """A card number stands where none may be stored."""

    code = "card_number"

    def __init__(self, field: str) -> None:
        super().__init__(
            field,
            "a value that looks like a card number",
            "text without card numbers; only card_id may hold one, and it is tokenised",
        )


class ConflictError(AssayError):
    """The same transaction id was sent before with another body."""

    code = "conflict"


class BundleError(AssayError):
    """A model bundle is missing, damaged, or does not match the feature set."""

    code = "bad_bundle"


class PolicyError(AssayError):
    """``policy.toml`` is wrong."""

    code = "bad_policy"


class FeatureError(AssayError):
    """A feature definition is wrong."""

    code = "bad_feature"


class JournalError(AssayError):
    """The journal is damaged, locked by another writer, or not writable."""

    code = "journal"


class DamageError(JournalError):
    """Bytes of the journal changed after they were written.

    Attributes
    ----------
    file : str
        Name of the file.
    offset : int
        Where in the segment, counted before compression.
    """

    def __init__(self, file: str, offset: int, what: str) -> None:
        self.file, self.offset, self.what = file, offset, what
        super().__init__(f"{file}: damaged at offset {offset}: {what}; restore it from a copy")


class StalledError(JournalError):
    """The journal takes no records for the moment; nothing is lost, and it may be tried again."""


class DatasetError(AssayError):
    """A table or import is missing or damaged."""

    code = "dataset"


class TrainingError(AssayError):
    """The data cannot give a model."""

    code = "training"


class OwnerError(AssayError):
    """Another writer holds what this one would write, or has taken over."""

    code = "owner"


class ControlError(AssayError):
    """The control database cannot be used."""

    code = "control"


class ReleaseError(AssayError):
    """A model may not go live, or another request came first."""

    code = "release"


class UnavailableError(AssayError):
    """The service cannot decide now; the caller may try again."""

    code = "unavailable"


class AuditUnavailableError(UnavailableError):
    """What would be decided could not be journalled now: the disk is full, or a standby is away."""

    code = "audit_unavailable"
