"""How large the response of one operation may become: both executors count while they build it.

A short operation can ask for the same objects many times, and a short REST body can hold very many of them. So what is
counted is what the response holds, repeats included: each key of each object is a field.
"""

import msgspec

from gateway.errors import ResponseTooLarge

UNLIMITED = 2**62

MAX_ERRORS = 1_000
"""How many errors a response may have. Each takes 2 KB while the response is built, and 25 microseconds at its end."""

MAX_PARTS = 1_000
"""How many times a response may defer something: once for each object with ``@defer``. All are announced together."""


class ResponseLimits(msgspec.Struct, frozen=True):
    """The largest response of an operation: the settings ``GATEWAY_MAX_RESPONSE…``."""

    fields: int = UNLIMITED
    bytes: int = UNLIMITED

    @property
    def error(self) -> ResponseTooLarge:
        """The error of a larger response. It is the same whichever is exceeded first, which depends on the executor."""
        return ResponseTooLarge(
            f"The response has more than {self.fields} fields, {self.bytes} bytes, {MAX_ERRORS} errors or {MAX_PARTS} "
            "deferred parts; request less in one operation."
        )


NO_LIMITS = ResponseLimits()


class Budget(msgspec.Struct):
    """Counts the response of one operation. ``exceeded`` is the error once it is too large."""

    limits: ResponseLimits
    fields: int = 0
    bytes: int = 0
    """At most as many as the response will have."""
    errors: int = 0
    parts: int = 0
    exceeded: ResponseTooLarge | None = None

    def add(self, fields: int, size: int) -> ResponseTooLarge | None:
        """Count fields, and ``size`` bytes; return the error if the response has become too large."""
        self.fields += fields
        self.bytes += size
        return self._check()

    def add_error(self) -> ResponseTooLarge | None:
        """Count an error of a field; return the error if the response has become too large."""
        self.errors += 1
        return self._check()

    def add_parts(self, count: int) -> ResponseTooLarge | None:
        """Count deferred parts; return the error if the response has become too large."""
        self.parts += count
        return self._check()

    def _check(self) -> ResponseTooLarge | None:
        limits = self.limits
        if self.exceeded is None and (
            self.fields > limits.fields
            or self.bytes > limits.bytes
            or self.errors > MAX_ERRORS
            or self.parts > MAX_PARTS
        ):
            self.exceeded = limits.error
        return self.exceeded
