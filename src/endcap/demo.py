"""The demo: a data directory filled with the bundled shop, and a shopper without a browser who checks that it works.

``prepare`` gives the engine of a demo directory and fills it on first use. ``check`` walks through the shop over HTTP
as a fresh visitor: two clicks must change the home shelf for the right reason, a product that sells out must vanish
from the next shelf, and a visitor who asks for it must be forgotten.
"""

from __future__ import annotations

import http.client
import urllib.parse
import uuid
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec
from rich.console import Console

from endcap.config import Config
from endcap.data.online_retail import count_events, load_events, load_items
from endcap.engine import Engine, Progress, silent
from endcap.errors import StoreError
from endcap.runtime import Runtime
from endcap.types import Ack, Context, Erasure, Interaction, InterestView, Placed, Query, Slate

COUNTRY = "United Kingdom"
SHELF = 12

# ---------------------------------------------------------------- fill


def prepare(
    directory: Path,
    progress: Progress = silent,
    *,
    newest: int | None = None,
    config: Config | None = None,
    runtime: Runtime | None = None,
) -> Engine:
    """The engine on ``directory``, with the bundled shop in its log. The first time takes a few seconds.

    ``newest`` limits the sample to that many of its newest events, for tests. An import that was cut off is taken up
    again: the sample's event ids are fixed, so what is there already counts as duplicate.
    """
    engine = Engine.open(directory, config, runtime, progress)
    try:
        fill(engine, progress, newest)
    except BaseException:
        engine.close(snapshot=False)
        raise
    return engine


def fill(engine: Engine, progress: Progress, newest: int | None) -> None:
    """Import what is missing."""
    now = engine.runtime.now()
    items = load_items(shift_to=now)
    total = count_events() if newest is None else newest
    if engine.offset >= len(items) + total:
        return
    refuse_losses(engine.put_items(items))
    done = 0
    for chunk in load_events(shift_to=now, newest=newest):
        refuse_losses(engine.observe(chunk))
        done += len(chunk)
        progress("import", done, total)
    engine.snapshot()


def refuse_losses(ack: Ack) -> None:
    """The sample is clean: a refused record means that sample and engine no longer fit."""
    if ack.rejected:
        first = ack.rejected[0]
        raise StoreError(f"{len(ack.rejected)} records of the bundled sample were refused, first: {first.message}")


# ---------------------------------------------------------------- check


class CheckFailed(Exception):
    """Something the demo promises did not happen."""


class Shopper:
    """A visitor of a running shop, over plain HTTP on one connection."""

    def __init__(self, base_url: str) -> None:
        self.anon_id = f"check-{uuid.uuid4()}"
        self.offset = 0
        address = urllib.parse.urlsplit(base_url)
        self._connection = http.client.HTTPConnection(address.hostname or "127.0.0.1", address.port, timeout=120)

    def close(self) -> None:
        self._connection.close()

    def call(self, method: str, path: str, body: object = None) -> bytes:
        """One request; the body of a 200. Raises ``CheckFailed`` with the server's words otherwise."""
        payload = None if body is None else msgspec.json.encode(body)
        self._connection.request(method, path, payload, {"content-type": "application/json"})
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise CheckFailed(f"{method} {path} answered {answer.status}: {text[:300].decode(errors='replace')}")
        return text

    def view(self, item_id: str) -> None:
        """Look at a product; the acknowledged offset is asked for from then on."""
        moment = Context(region=COUNTRY, device="desktop")
        event = Interaction(type="view", anon_id=self.anon_id, item_id=item_id, context=moment)
        ack = msgspec.json.decode(self.call("POST", "/v1/events", {"events": [event]}), type=Ack)
        if ack.accepted != 1:
            raise CheckFailed(f"the click on {item_id} was not accepted: {ack}")
        self.offset = ack.offset

    def shelf(self, placement: str = "home", items: list[str] | None = None) -> Slate:
        """A slate no older than this shopper's last write."""
        query = Query(anon_id=self.anon_id, placement=placement, n=SHELF, items=items or [], at_least=self.offset)
        return msgspec.json.decode(self.call("POST", "/v1/recommend", query), type=Slate)

    def change(self, item_id: str, fields: dict[str, Any]) -> None:
        """Change fields of a catalogue record."""
        text = self.call("PATCH", item_path(item_id), fields)
        self.offset = msgspec.json.decode(text, type=Ack).offset

    def title(self, item_id: str) -> str:
        return str(msgspec.json.decode(self.call("GET", item_path(item_id)))["title"])

    def interest(self) -> InterestView:
        return msgspec.json.decode(self.call("GET", f"/v1/users/{self.anon_id}/interest?anon=1"), type=InterestView)

    def forget(self) -> Erasure:
        return msgspec.json.decode(self.call("DELETE", f"/v1/users/{self.anon_id}?anon=1"), type=Erasure)


def item_path(item_id: str) -> str:
    return f"/v1/items/{urllib.parse.quote(item_id, safe='')}"


def check(base_url: str, say: Callable[[str], None] | None = None) -> int:
    """Walk through the shop at ``base_url``; 0 when it keeps its promises, 1 when not. ``say`` gets one line a step."""
    tell = say or Console(highlight=False, soft_wrap=True).print
    shopper = Shopper(base_url)
    try:
        clicked = check_clicks(shopper, tell)
        check_sold_out(shopper, tell)
        check_beside(shopper, clicked[0], tell)
        check_forgotten(shopper, tell)
    except (CheckFailed, OSError, http.client.HTTPException, msgspec.MsgspecError) as failure:
        tell(f"FAILED  {failure}")
        return 1
    finally:
        shopper.close()
    tell("passed  the shop keeps its promises")
    return 0


def check_clicks(shopper: Shopper, tell: Callable[[str], None]) -> list[str]:
    """Two clicks change the home shelf, and a reason names one of them. Gives the two clicked ids."""
    before = shopper.shelf()
    ids = [placed.item_id for placed in before.items]
    if len(ids) < SHELF:
        raise CheckFailed(f"the home shelf of a stranger holds {len(ids)} products; expected {SHELF}")
    clicked, times = [ids[0], ids[3]], []
    for item_id in clicked:
        began = perf_counter()
        shopper.view(item_id)
        after = shopper.shelf()
        times.append(1000 * (perf_counter() - began))
        tell(f"ok      looked at {shopper.title(item_id)}: new shelf {times[-1]:.1f} ms after the click")
    fresh = [placed for placed in after.items if placed.item_id not in ids]
    if not fresh:
        raise CheckFailed("two clicks did not change the home shelf")
    tell(f"ok      {len(fresh)} of {len(after.items)} products on the home shelf are new")
    because = [(placed, why) for placed in after.items if (why := cause(placed, clicked))]
    if not because:
        found = sorted({reason.code for placed in after.items for reason in placed.reasons})
        raise CheckFailed(f"no product on the home shelf names a clicked one as its reason; reasons: {found}")
    placed, (code, seed) = because[0]
    tell(f"ok      {shopper.title(placed.item_id)}: {code.replace('_', ' ')}, because of {shopper.title(seed)}")
    return clicked


def cause(placed: Placed, clicked: list[str]) -> tuple[str, str] | None:
    """The first reason that names a clicked product, as (code, item id)."""
    for reason in placed.reasons:
        if reason.item_id is not None and reason.item_id in clicked:
            return reason.code, reason.item_id
    return None


def check_sold_out(shopper: Shopper, tell: Callable[[str], None]) -> None:
    """A product that sells out is in no later slate; back in stock, it may return."""
    item_id = shopper.shelf().items[0].item_id
    began = perf_counter()
    shopper.change(item_id, {"availability": "out_of_stock"})
    try:
        shelf = shopper.shelf()
        took = 1000 * (perf_counter() - began)
        if item_id in {placed.item_id for placed in shelf.items}:
            raise CheckFailed(f"{item_id} sold out and is still on the home shelf")
        tell(f"ok      {shopper.title(item_id)} sold out and left the shelf within {took:.1f} ms")
    finally:
        shopper.change(item_id, {"availability": "in_stock"})


def check_beside(shopper: Shopper, item_id: str, tell: Callable[[str], None]) -> None:
    """The shelves of a product page are not empty and do not hold the product itself."""
    for placement in ("similar", "bought_together"):
        shelf = [placed.item_id for placed in shopper.shelf(placement, [item_id]).items]
        if not shelf or item_id in shelf:
            raise CheckFailed(f"the shelf {placement!r} of {item_id} is {shelf}")
        tell(f"ok      {placement.replace('_', ' ')}: {shopper.title(shelf[0])} and {len(shelf) - 1} more")


def check_forgotten(shopper: Shopper, tell: Callable[[str], None]) -> None:
    """After erasure the engine believes nothing about this visitor."""
    known = shopper.interest()
    if known.total_events < 2:
        raise CheckFailed(f"the engine counts {known.total_events} events of a visitor who made 2")
    began = perf_counter()
    receipt = shopper.forget()
    left = shopper.interest()
    if left.total_events or left.items or left.warmth != "cold":
        raise CheckFailed(f"after erasure the engine still believes {left}")
    tell(f"ok      forgotten: {receipt.n_events} events erased in {perf_counter() - began:.1f} s")
