"""Routes of the loop's last arrow: the story of a request, and what a placement learned."""

from __future__ import annotations

from endcap.errors import NotFound
from endcap.server.service import Service
from endcap.server.wire import Call, Reply, encode
from endcap.stores.sqlite import SqliteLog
from endcap.story import placement_feedback
from endcap.story import story as story_of


async def story(service: Service, call: Call) -> Reply:
    """A slate, what was done after it, and what was credited."""
    engine = service.engine
    if not isinstance(engine.log, SqliteLog):
        raise NotFound(f"this server's log cannot be searched: {type(engine.log).__name__}")
    return Reply(encode(story_of(engine.state, engine.log, service.config.feedback, call.id, engine.runtime.now())))


async def placement(service: Service, call: Call) -> Reply:
    """Arms, positions and counts of joined feedback."""
    engine = service.engine
    return Reply(encode(placement_feedback(engine.recommender, service.config.feedback, call.id, engine.runtime.now())))
