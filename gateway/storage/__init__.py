"""Where bytes are kept for a while: in this process or in Redis."""

from typing import Literal, TypeAlias

RedisUser: TypeAlias = Literal["cache", "events", "idempotency", "login", "persisted", "rate", "webhook"]
"""What Redis is used for. Failures are counted by it, and each user has connections of its own."""
