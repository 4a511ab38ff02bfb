"""Where the clients meet httpx, and the few rules that both share."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from endcap.client.calls import AGAIN, Answer, Calls, with_id
from endcap.client.outbox import Outbox
from endcap.errors import ConfigError
from endcap.types import Interaction


def httpx_module() -> Any:
    """httpx, or an error that says how to get it."""
    try:
        import httpx
    except ImportError:
        raise ConfigError('the client needs httpx; install it with: pip install "endcap[client]"') from None
    return httpx


def taken(response: Any) -> Answer:
    """An httpx response as the calls know answers."""
    return Answer(response.status_code, response.content, seconds_of(response.headers.get("retry-after")))


def lost(wrong: Exception) -> Answer:
    """An exchange that gave no answer."""
    return Answer(0, f"no answer: {str(wrong) or type(wrong).__name__}".encode())


def seconds_of(text: str | None) -> float | None:
    """Retry-After: seconds, or a date."""
    if not text:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def stamped(event: Interaction | Mapping[str, Any] | None, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The event with an id and the time of now: it may leave much later than it happened."""
    record = with_id({**(with_id(event) if event is not None else {}), **fields})
    if not record.get("ts"):
        record["ts"] = round(time.time() * 1000)
    msgspec.convert(record, Interaction)  # a mistake is told here, where it was made
    return record


def settle(calls: Calls, outbox: Outbox, answer: Answer, batch: Sequence[bytes], failures: int) -> int:
    """Note what came of a batch; how many deliveries in a row have failed by now."""
    if answer.status == 0 or answer.status in AGAIN:
        return failures + 1
    if 200 <= answer.status < 300:
        try:
            ack = calls.noted(answer.body)
        except Exception as wrong:
            outbox.drop("bad_answer", [], str(wrong))
            return 0
        for refused in ack.rejected:
            outbox.drop(refused.code, [batch[refused.index]], refused.message)
    return 0
