"""One tree of errors.

EndcapError
├── InvalidInput            the caller sent something that cannot be used (HTTP 400)
│   ├── InvalidFilter       a filter expression is malformed or too large
│   └── TooLarge            over a documented limit (HTTP 413)
├── ConfigError             a setting is unknown, of the wrong type or out of range
├── NotFound                an id that this engine has never seen (HTTP 404)
├── Forbidden               the key is missing, unknown or of the wrong class (HTTP 401/403)
├── Overloaded              shed on purpose; try again after ``retry_after_s`` (HTTP 503)
├── Behind                  ``at_least`` asks for an offset that this process has not folded yet (HTTP 503)
├── StoreError              the log or the data directory cannot be used
│   ├── CorruptStore        a checksum does not match
│   └── StoreLocked         another process writes this data directory
└── ArtifactError           a snapshot or model file is truncated, corrupt or of another schema

Every message says what happened, the value got, what was expected, where, and what mends it.
"""

from __future__ import annotations


class EndcapError(Exception):
    """The root. ``code`` is the stable machine-readable name in HTTP answers and JSON output."""

    code = "error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidInput(EndcapError):
    """The caller sent something that cannot be used; ``field`` says where."""

    code = "invalid_input"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class InvalidFilter(InvalidInput):
    """A filter expression is malformed, names an unknown operator, or is over its bounds."""

    code = "invalid_filter"


class TooLarge(InvalidInput):
    """A body, batch, string or expression is over its documented limit."""

    code = "too_large"


class ConfigError(EndcapError):
    """A setting is unknown, of the wrong type, or out of range."""

    code = "config"


class NotFound(EndcapError):
    """An id that this engine has never seen."""

    code = "not_found"


class Forbidden(EndcapError):
    """The key is missing, unknown, or of a class that may not do this."""

    code = "forbidden"

    def __init__(self, message: str, *, authenticated: bool = True) -> None:
        super().__init__(message)
        self.authenticated = authenticated


class Overloaded(EndcapError):
    """The process sheds this request to keep the others fast."""

    code = "overloaded"

    def __init__(self, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Behind(Overloaded):
    """The offset asked for is not folded here yet."""

    code = "behind"


class StoreError(EndcapError):
    """The log or the data directory cannot be used."""

    code = "store"


class CorruptStore(StoreError):
    """A checksum does not match what was written."""

    code = "corrupt_store"


class StoreLocked(StoreError):
    """Another process writes this data directory."""

    code = "store_locked"


class ArtifactError(EndcapError):
    """A snapshot or model file is truncated, corrupt, or written by another schema."""

    code = "artifact"
