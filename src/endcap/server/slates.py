"""Routes that answer with a slate, search among them, and the two that explain one."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from endcap.diagnosis import Finding
from endcap.errors import InvalidInput, NotFound
from endcap.feedback.experiments import unit_of
from endcap.search import PLACEMENT, TEXT, checked
from endcap.server.policy import refuse_browser_query
from endcap.server.service import MAX_SLATE, Service
from endcap.server.wire import Call, Parameters, Reply, decode_as, encode
from endcap.slate.sentences import language_of, text
from endcap.types import Context, Placed, Query, Slate

_decode_query = msgspec.json.Decoder(Query).decode

CONTEXT_NAMES = frozenset({"device", "region", "utc_offset_min", "locale", "page"})
WHO_NAMES = frozenset({"user_id", "anon_id", "session_id"})
SLATE_NAMES = (
    WHO_NAMES | CONTEXT_NAMES | {"n", "ts", "at_least", "exclude", "explain", "personalization", "shown", "lang"}
)
SEARCH_NAMES = (SLATE_NAMES - {"shown", "explain"}) | {"q"}
RECOMMEND_NAMES = SLATE_NAMES | {"placement", "item"}
WAYS = ("text", "image", "audio", "behaviour", "all")  # of being alike
POST_NAMES = frozenset({"shown", "lang"})
NOT_SHOWN = b"shown=0"  # the one query string that is common: known without parsing


async def recommend(service: Service, call: Call) -> Reply:
    """A slate for the query in the body."""
    began = perf_counter()
    query = decode_as(_decode_query, call.body)
    address = call.query_string
    parameters = call.parameters(POST_NAMES) if address and address != NOT_SHOWN else None
    shown = not address or (parameters is not None and is_shown(parameters))
    slate = await answer(service, call, query, shown)
    if parameters is not None:
        slate = in_words(service, slate, parameters.text("lang"))
    body = encode(slate)
    service.metrics.recommend.add(perf_counter() - began)
    return Reply(body)


async def recommend_by_address(service: Service, call: Call) -> Reply:
    """A slate for the query in the address."""
    parameters = call.parameters(RECOMMEND_NAMES)
    placement = parameters.text("placement") or "home"
    return await _named(service, call, parameters, placement, parameters.texts("item"))


async def similar(service: Service, call: Call) -> Reply:
    """Items like the one in the path, in the shop's own mixture or by one way of being alike."""
    parameters = call.parameters(SLATE_NAMES | {"by"})
    way = parameters.text("by")
    if way is None:
        return await _beside(service, call, "similar", parameters)
    if way not in WAYS:
        raise InvalidInput(f"no way {way[:40]!r} of being alike; expected one of {', '.join(WAYS)}", field="by")
    state = service.engine.state
    if way in ("image", "audio") and not state.vectors.has(way, state.items.get(call.id)):
        raise NotFound(
            f"item {call.id[:80]!r} has no {way} vector; send one with PUT /v1/items/{{id}}/vectors/{way}, "
            f"or make them: endcap encode"
        )
    return await _beside(service, call, f"similar_{way}", parameters)


async def bought_together(service: Service, call: Call) -> Reply:
    """Items bought with the one in the path."""
    return await _beside(service, call, "bought_together", call.parameters(SLATE_NAMES))


async def trending(service: Service, call: Call) -> Reply:
    """What is popular here and now."""
    return await _named(service, call, call.parameters(SLATE_NAMES), "trending", [])


async def search(service: Service, call: Call) -> Reply:
    """Items that answer the words in ``q``. The first search reads the catalogue, on a thread of its own."""
    parameters = call.parameters(SEARCH_NAMES)
    words, query = checked(parameters.text("q")), _query_of(parameters, PLACEMENT, [])
    await admitted(service, call, query)
    engine = service.engine
    if engine.recommender.sources.terms.is_behind or engine.state.vectors.held(TEXT):
        slate = await asyncio.to_thread(engine.search, words, query)
    else:
        slate = engine.search(words, query)
    return Reply(encode(in_words(service, slate, parameters.text("lang"))))


async def _beside(service: Service, call: Call, placement: str, parameters: Parameters) -> Reply:
    if service.engine.state.items.get(call.id) < 0:
        raise NotFound(f"no item {call.id[:80]!r}: not in the catalogue and in no event so far")
    return await _named(service, call, parameters, placement, [call.id])


async def _named(service: Service, call: Call, parameters: Parameters, placement: str, items: list[str]) -> Reply:
    began = perf_counter()
    query = _query_of(parameters, placement, items)
    slate = await answer(service, call, query, is_shown(parameters))
    body = encode(in_words(service, slate, parameters.text("lang")))
    service.metrics.recommend.add(perf_counter() - began)
    return Reply(body)


def _query_of(parameters: Parameters, placement: str, items: list[str]) -> Query:
    context: dict[str, Any] = {name: parameters.text(name) for name in CONTEXT_NAMES - {"utc_offset_min"}}
    if parameters.text("utc_offset_min") is not None:
        context["utc_offset_min"] = parameters.number("utc_offset_min", 0, -1_440, 1_440)
    return Query(
        user_id=parameters.text("user_id"),
        anon_id=parameters.text("anon_id"),
        session_id=parameters.text("session_id"),
        placement=placement,
        n=parameters.number("n", 0, 0, MAX_SLATE),
        ts=parameters.number("ts", 0, 0, 2**53),
        context=Context(**context),
        items=items,
        exclude=parameters.texts("exclude"),
        at_least=parameters.number("at_least", 0, 0, 2**63 - 1),
        personalization=parameters.text("personalization") is None or parameters.flag("personalization"),
        explain=parameters.flag("explain"),
    )


async def answer(service: Service, call: Call, query: Query, shown: bool) -> Slate:
    """Check, wait for the offset asked for, recommend, and log the slate as shown unless the caller says otherwise."""
    await admitted(service, call, query)
    slate = await counted(service, call, query, shown)
    service.metrics.slate(slate)
    return slate


async def admitted(service: Service, call: Call, query: Query) -> None:
    """Refuse what this caller may not ask or nobody can answer, and wait for the offset asked for."""
    key = call.key
    if key is not None and key.kind == "browser":
        refuse_browser_query(query, key)
    service.check_query(query)
    if query.at_least > service.engine.offset:
        await service.caught_up(query.at_least)


async def counted(service: Service, call: Call, query: Query, shown: bool) -> Slate:
    """The engine's slate, counted for the variants of the experiments it is part of."""
    began = perf_counter()
    try:
        slate = await made(service, call, query, shown)
    except InvalidInput:  # the question was wrong, not the variant
        raise
    except Exception:
        service.meters.failed(service.engine.experiments.assign(query.placement, unit_of(query)).variants)
        raise
    if slate.variants:
        service.meters.answered(slate.variants, perf_counter() - began, not slate.items)
    return slate


async def made(service: Service, call: Call, query: Query, shown: bool) -> Slate:
    """The engine's slate, logged as an impression when it is shown."""
    if not shown:
        return service.engine.recommend(query)
    if is_prefetch(call.headers):
        return service.engine.recommend(query, "prefetch")
    return await service.serve(query)


def in_words(service: Service, slate: Slate, language: str | None) -> Slate:
    """The slate with a sentence for every reason, where a language is asked for. Reasons are shared: it has copies."""
    if language is None:
        return slate
    spoken = language_of(language)

    def told(placed: Placed) -> Placed:
        reasons = [replace(reason, text=text(reason, service.title_of, spoken)) for reason in placed.reasons]
        return replace(placed, reasons=reasons)

    return replace(slate, items=[told(placed) for placed in slate.items])


def is_shown(parameters: Parameters) -> bool:
    """A slate that is asked for is shown, unless ``shown=0``."""
    return parameters.text("shown") is None or parameters.flag("shown")


def is_prefetch(headers: dict[bytes, bytes]) -> bool:
    """A browser that fetches ahead says so; whether anybody will see the page is not known yet."""
    purpose = headers.get(b"sec-purpose") or headers.get(b"purpose") or headers.get(b"x-moz") or b""
    return purpose.startswith((b"prefetch", b"prerender", b"preview"))


class WhyNot(Struct, frozen=True, kw_only=True):
    """The question: why does this query's list look generic, or why does it lack this item?"""

    query: Query
    item_id: str | None = None


class Findings(Struct, frozen=True, kw_only=True):
    """The answer to ``WhyNot``: the slate's state and what was found."""

    rung: str
    warmth: str
    n_items: int
    degraded: list[str]
    findings: list[Finding]


_decode_why_not = msgspec.json.Decoder(WhyNot).decode


async def why_not(service: Service, call: Call) -> Reply:
    """What keeps a list from being personal, or an item from being in it."""
    question = decode_as(_decode_why_not, call.body)
    service.check_query(question.query)
    slate = service.engine.recommend(question.query)
    found = service.engine.findings(question.query, question.item_id)
    return Reply(
        encode(
            Findings(
                rung=slate.rung,
                warmth=slate.warmth,
                n_items=len(slate.items),
                degraded=slate.degraded,
                findings=found,
            )
        )
    )
