"""Impressions: the slate that was shown, as a fact for the log."""

from __future__ import annotations

from hashlib import blake2b

import msgspec

from endcap.types import Impression, Query, Shown, Slate

_encode = msgspec.json.Encoder().encode


def impression_of(query: Query, slate: Slate) -> Impression:
    """The fact that ``slate`` was shown in answer to ``query``: everything needed to judge the policy later."""
    placed = slate.items
    ranks = [at if one.rank is None else one.rank for at, one in enumerate(placed)]
    shown = tuple(map(
        Shown, [one.item_id for one in placed], range(len(placed)), [one.propensity for one in placed], ranks,
        [one.score for one in placed],
    ))  # fmt: skip
    moment = _encode((slate.placement, slate.versions.get("policy"), slate.warmth, query.context, query.items))
    return Impression(
        event_id=f"imp:{slate.request_id}",
        request_id=slate.request_id,
        ts=slate.ts,
        received_at=slate.ts,
        user_id=query.user_id,
        anon_id=query.anon_id,
        session_id=query.session_id,
        placement=slate.placement,
        items=shown,
        arm=slate.arm,
        arm_propensity=slate.arm_propensity,
        variants=slate.variants,
        versions=slate.versions,
        warmth=slate.warmth,
        session_events=slate.session_events,
        context=query.context,
        context_hash=blake2b(moment, digest_size=6).hexdigest(),
    )
