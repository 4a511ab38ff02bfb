"""Routes of the vectors that a shop brings: one by one, and the sets they form."""

from __future__ import annotations

from msgspec import Struct, json

from endcap.errors import InvalidInput, NotFound
from endcap.item_vectors import VectorSet, is_there, set_of, vector_change, vector_changes, vector_of, vector_sets
from endcap.models.vector_sets import Space, as_vector, check_space
from endcap.server.service import Service, check_id
from endcap.server.wire import Call, Reply, decode_as, encode


class VectorBody(Struct, frozen=True, kw_only=True):
    """A vector and what made it. Only its direction counts."""

    vector: list[float]
    encoder: str
    version: str


class VectorSetList(Struct, frozen=True, kw_only=True):
    """The sets of vectors, by name."""

    sets: list[VectorSet]


_decode_body = json.Decoder(VectorBody).decode


async def put(service: Service, call: Call) -> Reply:
    """Set an item's vector."""
    body, engine = decode_as(_decode_body, call.body), service.engine
    if not is_there(engine, call.id):
        raise NotFound(
            f"no item {call.id[:80]!r} in the catalogue or in any event; send it first: PUT /v1/items/{{id}}"
        )
    vector = as_vector(body.vector)
    events, refusals = vector_changes(engine, call.name, body.encoder, body.version, [call.id], [vector])
    for refusal in refusals:
        raise InvalidInput(refusal.message, field="vector")
    ack = await service.write(events)
    if engine.state.vectors.spaces.get(call.name) != Space(body.encoder, body.version, len(body.vector)):
        # another first vector of the set was on its way to the log and came before this one
        raise InvalidInput(
            engine.state.vectors.conflict(call.name, body.encoder, body.version, len(body.vector))
            or f"the set {call.name!r} was dropped meanwhile; send the vector again",
            field="name",
        )
    return Reply(encode(ack))


async def get(service: Service, call: Call) -> Reply:
    """An item's vector as it is kept."""
    return Reply(encode(vector_of(service.engine, call.name, call.id)))


async def delete(service: Service, call: Call) -> Reply:
    """Take an item's vector away. Deleting one that is not there is not an error."""
    check_id("id", call.id)
    check_space(call.name, "any", "any")
    return Reply(encode(await service.write([vector_change(service.engine, call.name, call.id)])))


async def sets(service: Service, _call: Call) -> Reply:
    """What sets there are."""
    return Reply(encode(VectorSetList(sets=vector_sets(service.engine))))


async def drop(service: Service, call: Call) -> Reply:
    """Drop a whole set."""
    set_of(service.engine, call.id)
    return Reply(encode(await service.write([vector_change(service.engine, call.id, None)])))
