"""``endcap bench intake``: what a foreign shape costs, as events a second on the Segment route over the native route.

Both routes take the same views, alone and in batches of 50, interleaved in every round over real HTTP at 16 connections
and acknowledged after fsync. The Segment messages are as large as the browser library sends them, with page, locale,
time zone and product details. Load generator and server share the machine.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import count

import msgspec

from endcap.bench.environment import cpu_seconds
from endcap.bench.load import Closed, NextRequest, request
from endcap.bench.serve import event_loop_run, require_success
from endcap.bench.served import Served, running
from endcap.bench.spread import Figures, Options, percentile, spread

CONNECTIONS = 16
BATCH = 50
ITEMS = 1_000  # different ones; each becomes a catalogue record at its first message, in the warm-up

CONTEXT = {
    "page": {"path": "/product/path", "referrer": "https://www.example.com/", "search": "", "title": "Monopoly",
             "url": "https://www.example.com/product/path"},
    "userAgent":
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36",
    "locale": "en-GB", "library": {"name": "analytics.js", "version": "npm:next-1.84.3"}, "timezone": "Europe/Berlin",
}  # fmt: skip
_numbers = count(1)


def native(user: int, item: int) -> dict[str, object]:
    """One view, with an id of its own."""
    context = {"device": "desktop", "locale": "en-GB", "page": "/product/path", "utc_offset_min": 60}
    return {
        "type": "view", "event_id": f"n{next(_numbers)}", "anon_id": f"u{user}", "item_id": f"i{item}", "price": 18.99,
        "currency": "USD", "variant_id": "G-32", "position": 2, "context": context,
    }  # fmt: skip


def segment(user: int, item: int) -> dict[str, object]:
    """The same view as a message."""
    properties = {
        "product_id": f"i{item}", "sku": "G-32", "category": "Games", "name": "Monopoly: 3rd Edition",
        "brand": "Hasbro", "variant": "200 pieces", "price": 18.99, "quantity": 1, "currency": "USD", "position": 3,
        "url": "https://www.example.com/product/path", "image_url": "https://www.example.com/product/path.jpg",
    }  # fmt: skip
    return {
        "type": "track", "event": "Product Viewed", "messageId": f"s{next(_numbers)}", "anonymousId": f"u{user}",
        "userId": None, "properties": properties, "context": CONTEXT, "integrations": {},
    }  # fmt: skip


def kinds(served: Served) -> dict[str, NextRequest]:
    """What load is made of. Bodies are built as they are sent: an id that was sent before would be a duplicate."""

    def next_request(path: str, body: object) -> bytes:
        return request("POST", path, msgspec.json.encode(body))

    def pair() -> tuple[int, int]:
        number = next(_numbers)
        return number * 7_919 % served.n_users, number * 104_729 % ITEMS

    return {
        "native": lambda: next_request("/v1/events", native(*pair())),
        "segment": lambda: next_request("/v1/t", segment(*pair())),
        "native_batch": lambda: next_request("/v1/events", {"events": [native(*pair()) for _ in range(BATCH)]}),
        "segment_batch": lambda: next_request("/v1/batch", {"batch": [segment(*pair()) for _ in range(BATCH)]}),
    }


async def rounds_of(served: Served, rounds: int, seconds: float, options: Options) -> dict[str, list[float]]:
    """Events a second per kind and round; keys ending in ``_cpu`` are microseconds of the server's CPU per event."""
    load = Closed(served.host, served.port)
    found: dict[str, list[float]] = defaultdict(list)
    traffic = kinds(served)
    for kind, next_request in traffic.items():
        require_success(kind, await load.slice(CONNECTIONS, 0.5, next_request))
    for _ in range(rounds):
        for kind, next_request in traffic.items():
            each = BATCH if kind.endswith("_batch") else 1
            before = cpu_seconds(served.pid)
            tally = await load.slice(CONNECTIONS, seconds, next_request)
            require_success(kind, tally)
            found[kind].append(tally.rate * each)
            found[f"{kind}_cpu"].append((cpu_seconds(served.pid) - before) / max(tally.done * each, 1) * 1e6)
    load.close()
    for kind in traffic:
        cpu = percentile(found[f"{kind}_cpu"], 50)
        options.say(f"  {kind:<14} {spread(found[kind], 0)} events/s, server CPU {cpu:,.0f} us per event")
    return found


def measure(options: Options) -> Figures:
    """Both routes on one server."""
    rounds, seconds = (5, 0.6) if options.quick else (9, 1.5)
    with running(options.items, 100_000) as served:
        found = event_loop_run(rounds_of(served, rounds, seconds, options))

    def ratio(ours: str, theirs: str) -> float:
        return percentile([a / b for a, b in zip(found[ours], found[theirs], strict=True)], 50)

    values = {kind: percentile(rates, 50) for kind, rates in found.items()}
    values["segment_over_native"] = ratio("segment", "native")
    values["segment_over_native_batch"] = ratio("segment_batch", "native_batch")
    return Figures("intake", values, {"segment_over_native": ("min", 0.6), "segment_over_native_batch": ("min", 0.6)})
