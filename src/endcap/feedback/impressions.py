"""Impressions: the slate that was shown, as a fact for the log."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

import msgspec

from endcap.types import Context, Impression, Query, Slate

_encode = msgspec.json.Encoder().encode


@lru_cache(4_096)
def hash_of(
    placement: str, policy: str | None, warmth: str, context: Context | None, items: tuple[str, ...] = ()
) -> str:
    """Equal for equal moments and items that the query named; few distinct ones come again and again."""
    moment = (placement, policy, warmth, context)
    return blake2b(_encode((*moment, items) if items else moment), digest_size=6).hexdigest()


def named_no_items(slate: Impression) -> bool:
    """Whether a logged slate's query named no items, as one on a product or cart page does; its hash tells."""
    plain = hash_of(slate.placement, slate.versions.get("policy"), slate.warmth, slate.context)
    return slate.context_hash in ("", plain)


def impression_of(query: Query, slate: Slate) -> Impression:
    """The fact that ``slate`` was shown in answer to ``query``: everything needed to judge the policy later."""
    placed = slate.items
    propensities = [one.propensity for one in placed]
    ranks = [one.rank for one in placed]
    tried = ranks.count(None) < len(ranks)
    return Impression(
        event_id=f"imp:{slate.request_id}",
        request_id=slate.request_id,
        ts=slate.ts,
        received_at=slate.ts,
        user_id=query.user_id,
        anon_id=query.anon_id,
        session_id=query.session_id,
        placement=slate.placement,
        items=[one.item_id for one in placed],
        propensities=propensities if min(propensities, default=1.0) < 1.0 else [],
        ranks=[at if rank is None else rank for at, rank in enumerate(ranks)] if tried else [],
        scores=[one.score for one in placed],
        teams=[one.team or 0 for one in placed] if placed and placed[0].team is not None else [],
        arm=slate.arm,
        arm_propensity=slate.arm_propensity,
        variants=slate.variants,
        versions=slate.versions,
        warmth=slate.warmth,
        session_events=slate.session_events,
        context=query.context,
        context_hash=hash_of(
            slate.placement, slate.versions.get("policy"), slate.warmth, query.context, tuple(query.items)
        ),
    )


def query_of(slate: Impression) -> Query:
    """What was asked when a logged slate was shown, as far as the impression says."""
    return Query(
        user_id=slate.user_id, anon_id=slate.anon_id, session_id=slate.session_id, placement=slate.placement,
        n=len(slate.items), ts=slate.ts, context=slate.context,
    )  # fmt: skip
