"""``endcap bench fresh``: does the next answer know the event just acknowledged? 10,000 pairs, under load.

Each pair is a shopper nobody has seen: one view of an item is acknowledged, then a home page is asked for with
``at_least`` = the acknowledged offset. The answer is stale if its offset is older, if it calls the shopper cold, or if
no reason on it names the viewed item (only items that are known to suggest others are viewed). Meanwhile other
connections send the mix of ``bench serve``. Visible = from the acknowledgement's arrival to the answer's.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import count
from time import perf_counter
from typing import Any

import msgspec

from endcap.bench import synthetic
from endcap.bench.load import Closed, Tally, request, response_end
from endcap.bench.requests import alternating, event_body, queries, writes
from endcap.bench.serve import event_loop_run, require_success
from endcap.bench.served import Served, running
from endcap.bench.spread import Figures, Options, percentile
from endcap.errors import EndcapError
from endcap.types import Ack, Query, Slate

PAIRS = 10_000
WORKERS = 16
LOAD_CONNECTIONS = 8
POPULAR = 500  # pairs view one of the most popular items, as far as they suggest others


@dataclass(slots=True)
class Outcome:
    """What the pairs came to; times in milliseconds."""

    visible: list[float] = field(default_factory=list)
    acknowledged: list[float] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)


class Client:
    """One kept-alive connection that asks and waits."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def to(cls, served: Served) -> Client:
        return cls(*await asyncio.open_connection(served.host, served.port))

    async def close(self) -> None:
        """Hang up."""
        self.writer.close()
        await self.writer.wait_closed()

    async def ask(self, method: str, path: str, body: bytes = b"") -> bytes:
        """The body of a 2xx answer; anything else ends the bench with the server's words."""
        self.writer.write(request(method, path, body))
        data = b""
        while not response_end(data):
            more = await self.reader.read(65536)
            if not more:
                raise EndcapError(f"the server closed the connection during {method} {path}")
            data += more
        head, _, answer = data.partition(b"\r\n\r\n")
        if data[9:10] != b"2":
            raise EndcapError(f"{method} {path}: {head[:40].decode()}: {answer[:300].decode('utf-8', 'replace')}")
        return answer


async def suggesting_items(client: Client, served: Served) -> list[str]:
    """Popular items that have neighbours, so that viewing one must change a home page."""
    ranked = synthetic.item_of_rank(served.n_items, synthetic.SEED)[:POPULAR]
    items = []
    for item in (f"i{k}" for k in ranked):
        slate = msgspec.json.decode(await client.ask("GET", f"/v1/items/{item}/similar?n=4"), type=Slate)
        if slate.items:
            items.append(item)
    if not items:
        raise EndcapError("no synthetic item suggests another one; the preloaded state is broken")
    return items


def staleness(slate: Slate, item: str, offset: int) -> str:
    """Why an answer does not reflect the event, empty when it does."""
    if slate.offset < offset:
        return f"answer at offset {slate.offset}, event at {offset}"
    if slate.warmth == "cold":
        return f"the shopper who viewed {item} counts as cold"
    if not any(reason.item_id == item for placed in slate.items for reason in placed.reasons):
        return f"no reason names {item}"
    return ""


async def work(served: Served, items: list[str], numbers: count[int], pairs: int, outcome: Outcome) -> None:
    """Do pairs until the shared counter is used up."""
    client = await Client.to(served)
    while (k := next(numbers)) < pairs:
        item, user = items[k % len(items)], f"new{k}"
        asked = perf_counter()
        ack = msgspec.json.decode(await client.ask("POST", "/v1/events", event_body(user, item)), type=Ack)
        acked = perf_counter()
        body = msgspec.json.encode(Query(user_id=user, n=24, at_least=ack.offset))
        slate = msgspec.json.decode(await client.ask("POST", "/v1/recommend?shown=0", body), type=Slate)
        outcome.visible.append((perf_counter() - acked) * 1e3)
        outcome.acknowledged.append((acked - asked) * 1e3)
        if why := staleness(slate, item, ack.offset):
            outcome.stale.append(why)
    await client.close()


async def background(served: Served, stop: asyncio.Event) -> Tally:
    """The mix of ``bench serve`` until told to stop."""
    load = Closed(served.host, served.port)
    mix = alternating(queries("/v1/recommend?shown=0", served.n_users, 21), writes(served.n_users, served.n_items, 22))
    total = Tally()
    while not stop.is_set():
        tally = await load.slice(LOAD_CONNECTIONS, 0.5, mix)
        require_success("background load", tally)
        total.done += tally.done
        total.seconds += tally.seconds
    load.close()
    return total


async def run_pairs(served: Served, pairs: int) -> tuple[Outcome, Tally]:
    """All pairs beside the background load."""
    scout = await Client.to(served)
    items = await suggesting_items(scout, served)
    await scout.close()
    stop, outcome, numbers = asyncio.Event(), Outcome(), count()
    load = asyncio.create_task(background(served, stop))
    await asyncio.gather(*(work(served, items, numbers, pairs, outcome) for _ in range(WORKERS)))
    stop.set()
    return outcome, await load


def measure(options: Options) -> Figures:
    """Run the pairs; a stale answer is named."""
    pairs, n_events = (2_000, 300_000) if options.quick else (PAIRS, 2_000_000)
    options.say(f"  starting a server with {options.items:,} items and {n_events:,} synthetic events")
    with running(options.items, n_events) as served:
        outcome, load = event_loop_run(run_pairs(served, pairs))
    options.say(
        f"  {pairs:,} pairs on {WORKERS} connections beside {load.rate:,.0f} mixed requests/s; "
        f"acknowledged after p50 {percentile(outcome.acknowledged, 50):.2f} ms"
    )
    for why in outcome.stale[:5]:
        options.say(f"  stale: {why}")
    values: dict[str, Any] = {
        "pairs": len(outcome.visible),
        "stale": len(outcome.stale),
        "visible_p50_ms": percentile(outcome.visible, 50),
        "visible_p99_ms": percentile(outcome.visible, 99),
        "ack_p50_ms": percentile(outcome.acknowledged, 50),
        "ack_p99_ms": percentile(outcome.acknowledged, 99),
        "load_rps": load.rate,
    }
    return Figures("fresh", values, {"stale": ("max", 0)})
