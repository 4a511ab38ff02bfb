"""POST /bench/echo: the cost of HTTP alone, as the yardstick of the benchmarks.

It decodes a query and encodes a slate of 24 items with reasons, built anew for every request and as large as a real
one, without any engine. It exists only in a server started with ``ENDCAP_BENCH=1`` and is not part of the public
interface.
"""

from __future__ import annotations

import msgspec

from endcap.server.policy import POLICY, PUBLIC
from endcap.server.routes import ROUTES, Route
from endcap.server.service import Service
from endcap.server.wire import Call, Reply, decode_as, encode
from endcap.types import Placed, Query, Reason, Slate

N_ITEMS = 24

_decode_query = msgspec.json.Decoder(Query).decode


async def echo(_service: Service, call: Call) -> Reply:
    """A canned slate, made from scratch."""
    query = decode_as(_decode_query, call.body)
    placed = [
        Placed(
            f"item-{place:06d}",
            1.0 / (place + 1.5),
            [Reason("viewed_together", 0.625, "item-000001"), Reason("popular", 0.25)],
            ["covisit", "session_knn"],
        )
        for place in range(N_ITEMS)
    ]
    slate = Slate(request_id="bench-1", items=placed, placement=query.placement, offset=1, ts=1, warmth="warm")
    return Reply(encode(slate))


ECHO = Route("POST", "/bench/echo", echo, "bench", "HTTP alone", Slate, (Query,))
BENCH_ROUTES = (*ROUTES, ECHO)
BENCH_POLICY = {**POLICY, ECHO.name: frozenset({PUBLIC})}
