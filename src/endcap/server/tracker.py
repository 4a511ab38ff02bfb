"""The tracker's route: a page's events in, its shelves out, in one request that needs no preflight.

A beacon cannot set headers, and a cross-origin request with an Authorization header costs a second round trip, so the
key (a browser key, which every visitor can read anyway) and everything else stand in a text/plain body. The events are
on disk and folded before the shelves are made: a shelf knows the view of the page that it stands on.

A shelf's cards hold what a shop window shows, and only of items that have a title. Without an anonymous id, and for a
browser that says ``Sec-GPC: 1``, nothing is stored and the shelves are not personal.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct, field

from endcap.errors import InvalidInput, NotFound
from endcap.server.intake import take
from endcap.server.service import Service, check_id
from endcap.server.slates import answer
from endcap.server.wire import Call, Reply, decode_as, encode, too_large
from endcap.slate.sentences import language_of, text
from endcap.types import Ack, Context, Interaction, Item, Query, Refusal, Slate

MAX_BEACON = 65_536  # bytes: what a browser's beacon may hold
MAX_SHELVES = 12
BEACON = "Sent as text/plain too. The key may stand in `key` or in a header."
DEVICE = {b"?0": "desktop", b"?1": "mobile"}
SHOWABLE = {"exists": "title"}


class ShelfWish(Struct, frozen=True, kw_only=True):
    """A shelf that a page has room for."""

    placement: str = "home"
    n: int = 0  # 0 = the number that the placement sets
    items: list[str] = field(default_factory=list)  # the product page's item, the cart's items
    exclude: list[str] = field(default_factory=list)


class Beacon(Struct, frozen=True, kw_only=True):
    """What the tracker sends."""

    key: str = ""  # a browser key
    anon_id: str | None = None  # None: no consent, so no profile
    events: list[Interaction] = field(default_factory=list)  # at most what max_batch says; each gets anon_id
    shelves: list[ShelfWish] = field(default_factory=list)
    context: Context | None = None


class RawBeacon(Struct, frozen=True, kw_only=True):
    """The same with the events undecoded, so that a broken one does not cost the others."""

    anon_id: str | None = None
    events: msgspec.Raw = msgspec.Raw(b"[]")
    shelves: list[ShelfWish] = field(default_factory=list)
    context: Context | None = None


class Card(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a page shows of an item."""

    item_id: str
    title: str | None = None
    url: str | None = None
    image: str | None = None
    brand: str | None = None
    price: float | None = None
    list_price: float | None = None
    currency: str | None = None
    availability: str = "in_stock"
    reason: str | None = None  # code of the first reason
    why: str | None = None  # the same as a sentence, in the first language of the browser that there is


class Shelf(Struct, frozen=True, kw_only=True):
    """One shelf, filled. Send its ``request_id`` with a click on one of its cards."""

    request_id: str
    placement: str
    items: list[Card]


class TrackerAnswer(Struct, frozen=True, kw_only=True):
    """What became of a beacon."""

    accepted: int
    rejected: list[Refusal]
    offset: int
    shelves: list[Shelf]


_decode = msgspec.json.Decoder(RawBeacon).decode


async def beacon(service: Service, call: Call) -> Reply:
    """Store the events, then fill the shelves."""
    if len(call.body) > MAX_BEACON:
        raise too_large(MAX_BEACON)
    told = decode_as(_decode, call.body)
    if len(told.shelves) > MAX_SHELVES:
        raise InvalidInput(f"{len(told.shelves)} shelves; expected at most {MAX_SHELVES}", field="shelves")
    told = msgspec.structs.replace(told, context=placed_in(call, told.context))
    anon_id = None if call.headers.get(b"sec-gpc") == b"1" else told.anon_id
    ack = Ack(accepted=0)
    if anon_id is not None:
        check_id("anon_id", anon_id)
        if bytes(told.events) != b"[]":
            ack = await take(service, bytes(told.events), call.key, anon_id)
    shelves = [await filled(service, call, told, wish, anon_id) for wish in told.shelves]
    offset = ack.offset or service.engine.offset
    return Reply(encode(TrackerAnswer(accepted=ack.accepted, rejected=ack.rejected, offset=offset, shelves=shelves)))


def placed_in(call: Call, context: Context | None) -> Context:
    """The moment, with the kind of device that the browser's headers tell when the page does not."""
    context = context or Context()
    mobile = call.headers.get(b"sec-ch-ua-mobile", b"?1" if b"Mobi" in call.headers.get(b"user-agent", b"") else b"?0")
    return context if context.device else msgspec.structs.replace(context, device=DEVICE.get(mobile, "desktop"))


async def filled(service: Service, call: Call, told: RawBeacon, wish: ShelfWish, anon_id: str | None) -> Shelf:
    """The slate of one shelf, logged as shown, with what its cards show."""
    query = Query(
        anon_id=anon_id, placement=wish.placement, n=wish.n, items=wish.items, exclude=wish.exclude, filter=SHOWABLE,
        context=told.context, personalization=anon_id is not None,
    )  # fmt: skip
    slate = await answer(service, call, query, shown=True)
    spoken = language_of(call.headers.get(b"accept-language", b"").decode("latin-1"))
    return Shelf(request_id=slate.request_id, placement=slate.placement, items=cards(service, slate, spoken))


def cards(service: Service, slate: Slate, language: str) -> list[Card]:
    """A card for each item, in order. An item that was deleted since the slate was made keeps its place, unnamed."""
    found = []
    for placed in slate.items:
        try:
            item = service.engine.item(placed.item_id)
        except NotFound:
            item = Item(item_id=placed.item_id)
        reason = placed.reasons[0] if placed.reasons else None
        found.append(
            Card(
                item_id=item.item_id, title=item.title, url=item.url, image=next(iter(item.image_urls), None),
                brand=item.brand, price=item.price, list_price=item.list_price, currency=item.currency,
                availability=item.availability, reason=reason.code if reason else None,
                why=text(reason, service.title_of, language) if reason else None,
            )
        )  # fmt: skip
    return found
