"""Diagnosis: why a list is general, or why an item is not on it.

The questions that shops ask of a recommender are "why does everybody get the same list?" and "why is my product not
there?". Each answer here is read from the same state and the same path that made the slate; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from msgspec import Struct

from endcap.recommend import Ask, Recommender
from endcap.types import Query

SKEW_MS = 24 * 3_600_000


class Finding(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One cause. ``code`` is stable; ``remedy`` says what to do about it."""

    code: str
    message: str
    remedy: str = ""


def findings(recommender: Recommender, query: Query, t_ms: int, item_id: str | None = None) -> list[Finding]:
    """Causes, the most fundamental first; a single ``personal`` finding when there is nothing to mend."""
    ask = recommender.understand(query, t_ms)
    recommender.retrieve(ask)
    recommender.begin_guard(ask)
    if item_id is not None:
        return list(why_not(recommender, ask, item_id))
    found = list(of_the_shop(recommender, ask)) + list(of_the_shopper(recommender, ask))
    found += list(of_the_query(recommender, ask))
    if not found:
        message = f"the list is personal: it starts from {ask.interest.n_seeds} items of this shopper"
        found = [Finding(code="personal", message=message)]
    return found


def of_the_shop(recommender: Recommender, ask: Ask) -> Iterator[Finding]:
    """What is missing for everybody."""
    state = recommender.state
    if state.offset == 0:
        yield Finding(
            code="no_events",
            message="the log is empty",
            remedy="send events with POST /v1/events, or import history with `endcap import events FILE`",
        )
        return
    if int(state.covisit.blocks.tail[0]) == 0:
        yield Finding(
            code="no_neighbours",
            message="no shopper has touched two items within a day, so no item leads to another",
            remedy="check that events of one visitor carry the same user_id or anon_id",
        )
    last_s = int(state.cleaner.last_s.max()) if state.cleaner.last_s.shape[0] else 0
    if last_s and ask.t_ms - last_s * 1000 > SKEW_MS:
        age = (ask.t_ms - last_s * 1000) // 3_600_000
        yield Finding(
            code="stale",
            message=f"the newest event is {age} hours old",
            remedy="check that the shop still sends events, and that their ts are in milliseconds of the present",
        )


def of_the_shopper(recommender: Recommender, ask: Ask) -> Iterator[Finding]:
    """What is missing for this one."""
    query, interest, state = ask.query, ask.interest, recommender.state
    if query.user_id is None and query.anon_id is None:
        yield Finding(
            code="no_shopper",
            message="the query names no shopper",
            remedy="send user_id or anon_id, the same as in events",
        )
        return
    user = recommender.state.user_of(query)
    who = query.user_id or query.anon_id
    if not query.personalization or not state.people.may_profile(user):
        yield Finding(
            code="no_consent",
            message=f"profiling is off for {who!r} (consent denied, or personalization switched off)",
            remedy="nothing to mend: this is the shopper's choice",
        )
    elif user < 0:
        yield Finding(
            code="unknown_user",
            message=f"no event of {who!r} has arrived",
            remedy="compare the id with the one in events: same field (user_id or anon_id), same case, same prefix",
        )
    elif interest.n_seeds == interest.n_context:
        n = int(state.histories.count[user])
        yield Finding(
            code="no_history",
            message=f"{who!r} is known, but {n} of its events count towards interest",
            remedy="interest needs item events (view, cart_add, purchase ...); see `endcap doctor` for cleaned events",
        )


def of_the_query(recommender: Recommender, ask: Ask) -> Iterator[Finding]:
    """What the query itself does."""
    query, n = ask.query, len(recommender.candidates)
    unknown = [item_id for item_id, dense in zip(query.items, ask.context, strict=True) if dense < 0]
    if unknown:
        yield Finding(
            code="unknown_items",
            message=f"{len(unknown)} of the query's items are unknown, first {unknown[0][:80]!r}",
            remedy="use the item ids of the catalogue and of events",
        )
    for part in ask.degraded:
        yield Finding(code="degraded", message=f"{part} failed; see the server's log", remedy="")
    allowed = int(recommender.guard.allow(recommender.candidates.items[:n]).sum())
    if n and (query.filter or ask.placement.filter) and allowed < ask.n:
        yield Finding(
            code="filter_too_tight",
            message=f"of {n} candidates {allowed} may be shown",
            remedy="loosen the filter of the query or of the placement, or raise placements.*.candidates",
        )
    elif n and allowed == 0:
        yield Finding(
            code="nothing_available",
            message=f"none of {n} candidates may be shown: out of stock, hidden, expired, excluded or blocked",
            remedy="look at availability in the catalogue and at block rules",
        )


def why_not(recommender: Recommender, ask: Ask, item_id: str) -> Iterator[Finding]:
    """Why one item is not in the answer."""
    state = recommender.state
    item = state.items.get(item_id)
    if item < 0:
        yield Finding(
            code="unknown_item", message=f"no item {item_id[:80]!r} was ever sent", remedy="PUT /v1/items/{id}"
        )
        return
    one = np.array([item], np.int32)
    if not state.catalogue.available(one, ask.t_ms)[0]:
        yield Finding(
            code="not_available",
            message=f"{item_id!r} is deleted, hidden, out of stock, not yet published or expired",
            remedy="PUT /v1/items/{id} with its present availability",
        )
    elif not recommender.guard.allow(one)[0]:
        yield Finding(
            code="not_allowed",
            message=f"{item_id!r} is excluded: by the query, a filter, a block rule, or the shopper hid it",
            remedy="compare with the query's filter, exclude and items, and with the rules of this placement",
        )
    slate = recommender.recommend(ask.query, ask.t_ms, "why-not")
    placed = [one.item_id for one in slate.items]
    if item_id in placed:
        yield Finding(code="shown", message=f"{item_id!r} is in the answer, place {placed.index(item_id) + 1}")
        return
    score = recommender.scores(ask.query, ask.t_ms, [item_id])[item_id]
    lowest = slate.items[-1].score if slate.items else 0.0
    proposed = item in recommender.candidates.items[: len(recommender.candidates)].tolist()
    if score < lowest:
        yield Finding(
            code="outscored",
            message=f"its score is {score:.4f}, the last item of the answer has {lowest:.4f}",
            remedy="a boost rule raises it, a pin rule fixes its place",
        )
    elif proposed:
        yield Finding(
            code="composed_out",
            message=f"its score {score:.4f} would do, but a cap, its group, or diversity kept it out",
            remedy="see category_cap, brand_cap and diversity of the placement",
        )
