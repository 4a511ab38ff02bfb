"""Validation and decoding: a bad record costs itself and nothing else, and says why."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bad_input import CORPUS, GOOD, NOW, STRANGE_BUT_GOOD, between, with_
from endcap.config import CleanConfig
from endcap.errors import InvalidInput, TooLarge
from endcap.preprocess.validate import content_id, decode_events, places, refused_records, validate
from endcap.types import ACTIONS, Interaction, Refusal

CLEAN = CleanConfig()


def intake(body: bytes) -> tuple[list[Interaction], list[Refusal]]:
    """What a server does with a body."""
    decoded, refusals = decode_events(body)
    taken = []
    for index, event in zip(places(len(decoded), refusals), decoded, strict=True):
        checked = validate(event, now=NOW, config=CLEAN, index=index)
        if isinstance(checked, Refusal):
            refusals.append(checked)
        else:
            taken.append(checked)
    return taken, refusals


def accepted(**fields: Any) -> Interaction:
    (event,), refusals = intake(json.dumps(with_(**fields)).encode())
    assert not refusals
    return event


def refused(**fields: Any) -> Refusal:
    taken, (refusal,) = intake(json.dumps(with_(**fields)).encode())
    assert not taken
    return refusal


# ---------------------------------------------------------------- the corpus


def test_the_corpus_is_large_and_names_every_input_once() -> None:
    assert len(CORPUS) >= 60
    assert len({name for name, _, _ in CORPUS}) == len(CORPUS)


@pytest.mark.parametrize(("body", "expected"), [row[1:] for row in CORPUS], ids=[row[0] for row in CORPUS])
def test_a_bad_input_is_refused_for_the_right_reason(body: bytes, expected: int | str) -> None:
    if expected == 413:
        with pytest.raises(TooLarge):
            intake(body)
        return
    if expected == 400:
        with pytest.raises(InvalidInput) as failure:
            intake(body)
        assert not isinstance(failure.value, TooLarge)
        assert len(failure.value.message) > 20
        return
    taken, refusals = intake(body)
    assert [event.event_id for event in taken] == ["good-1", "good-2"]
    assert [(refusal.index, refusal.code) for refusal in refusals] == [(1, expected)]
    assert 10 < len(refusals[0].message) < 600


@pytest.mark.parametrize("event", [row[1] for row in STRANGE_BUT_GOOD], ids=[row[0] for row in STRANGE_BUT_GOOD])
def test_strange_but_legal_events_are_taken_as_they_are(event: dict[str, Any]) -> None:
    (taken,), refusals = intake(json.dumps(event).encode())
    assert not refusals
    assert taken.item_id == event.get("item_id")
    if event.get("consent") != "denied":
        assert taken.user_id == event.get("user_id")


def test_all_bad_records_of_the_corpus_in_one_batch_cost_only_themselves() -> None:
    first = len(json.dumps({**GOOD, "event_id": "good-1"}).encode()) + 2
    bad = [
        (body[first:-first], code)
        for name, body, code in CORPUS
        if isinstance(code, str) and name != "a time of 5,000 digits"  # its code depends on who reads the body
    ]
    records = [raw for raw, _ in bad]
    taken, refusals = intake(between(*records))
    assert [event.event_id for event in taken] == ["good-1", "good-2"]
    assert sorted((refusal.index, refusal.code) for refusal in refusals) == [
        (at, code) for at, (_, code) in enumerate(bad, 1)
    ]


# ---------------------------------------------------------------- shapes of a body


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(GOOD),
        json.dumps([GOOD]),
        json.dumps({"events": [GOOD]}),
        json.dumps({"events": [GOOD], "sentAt": "now"}),
        " \n" + json.dumps([GOOD]),
        "\ufeff" + json.dumps([GOOD]),
        json.dumps({**GOOD, "kind": "interaction"}),
        json.dumps({**GOOD, "props": {"events": 3}}),
    ],
)
def test_a_list_an_envelope_and_a_single_event_mean_the_same(body: str) -> None:
    (event,), refusals = intake(body.encode())
    assert (event.event_id, refusals) == ("good", [])


def test_a_bad_single_event_and_a_bad_one_in_an_envelope_are_refused_alike() -> None:
    bad = with_(price="9.99")
    for body in (bad, [bad], {"events": [bad]}):
        taken, (refusal,) = intake(json.dumps(body).encode())
        assert (taken, refusal.code, refusal.field, refusal.index) == ([], "wrong_type", "price", 0)


def test_an_empty_list_is_an_empty_batch() -> None:
    assert intake(b"[]") == ([], [])
    assert intake(b'{"events":[]}') == ([], [])


def test_the_sender_cannot_choose_the_time_of_arrival() -> None:
    assert accepted(received_at=5).received_at == NOW


def test_limits_are_those_of_the_caller() -> None:
    body = json.dumps([GOOD, GOOD]).encode()
    with pytest.raises(TooLarge, match="at most 10 are taken"):
        decode_events(body, max_body=10)
    with pytest.raises(TooLarge, match=r"2 records.*at most 1 are taken.*server\.max_batch"):
        decode_events(body, max_batch=1)


def test_refused_records_keep_what_was_sent() -> None:
    bad = json.dumps(with_(type="viw")).encode()
    body = between(bad)
    _, refusals = decode_events(body)
    (kept,) = refused_records(body, refusals, NOW)
    assert kept.raw == bad
    assert kept.refusal.code == "unknown_type"
    assert kept.received_at == NOW
    assert refused_records(body, [], NOW) == []


def test_a_record_with_nan_is_kept_readable() -> None:
    body = between(b'{"type":"viw","price":NaN}')
    decoded, refusals = decode_events(body)
    assert len(decoded) == 2
    assert refused_records(body, refusals, NOW)[0].raw == b'{"type": "viw", "price": NaN}'


# ---------------------------------------------------------------- messages


def test_an_unknown_type_names_the_nearest_known_one() -> None:
    assert "did you mean view?" in refused(type="viw").message
    assert "did you mean cart_add?" in refused(type="add_to_cart").message
    assert "did you mean purchase?" in refused(type="Purchased").message
    nothing_near = refused(type="zzzzqqq").message
    assert all(name in nothing_near for name in ACTIONS)


def test_a_wrong_unit_of_time_is_named() -> None:
    for factor, unit in ((0.001, "seconds"), (1e3, "microseconds"), (1e6, "nanoseconds")):
        message = refused(ts=int(NOW * factor)).message
        assert f"looks like {unit}; send epoch milliseconds" in message


def test_a_number_where_an_id_belongs_says_put_quotes_around_it() -> None:
    assert "put quotes around it" in refused(user_id=17850).message


def test_a_refusal_names_the_field_and_shortens_the_value() -> None:
    refusal = refused(context={"region": "r" * 5_000})
    assert refusal.field == "context.region"
    assert refusal.value is not None
    assert len(refusal.value) == 80
    assert refused(quantity=-3).field == "quantity"


def test_other_encodings_and_lines_are_recognised() -> None:
    for body, what in (
        (json.dumps([GOOD]).encode("utf-16"), "UTF-16"),
        (b"\x1f\x8b\x08", "gzip"),
        (b'{"a":1}\n{"a":2}', "JSON lines"),
        (b"", "empty"),
    ):
        with pytest.raises(InvalidInput, match=what):
            decode_events(body)


# ---------------------------------------------------------------- what is set


def test_times_are_set_clamped_or_kept() -> None:
    assert accepted(ts=None).ts == NOW
    assert accepted(ts=0).ts == NOW
    assert accepted(ts=NOW - 5).ts == NOW - 5
    assert accepted(ts=NOW + CLEAN.future_s * 1000).ts == NOW
    assert refused(ts=NOW + CLEAN.future_s * 1000 + 1).code == "bad_time"
    assert accepted().received_at == NOW


def test_denied_consent_keeps_no_id_of_the_person() -> None:
    event = accepted(consent="denied", user_id="ann", anon_id="x", event_id=None)
    assert (event.user_id, event.anon_id, event.item_id) == (None, None, "tea")
    assert "ann" not in msgspec.json.encode(event).decode()


def test_the_event_that_was_passed_in_is_not_changed() -> None:
    event = Interaction(type="view", user_id="ann", anon_id="", item_id="tea", consent="denied")
    before = msgspec.json.encode(event)
    checked = validate(event, now=NOW, config=CLEAN, index=0)
    assert isinstance(checked, Interaction)
    assert msgspec.json.encode(event) == before
    assert checked is not event


def test_a_missing_event_id_is_a_hash_of_what_happened() -> None:
    base = {"event_id": None, "order_id": "o", "variant_id": "v", "position": 1}
    first = accepted(**base)
    assert len(first.event_id) == 32
    assert first.event_id == accepted(**base, price=5.0, query="other").event_id
    for change in (
        {"user_id": "bob"}, {"anon_id": "x"}, {"type": "click"}, {"item_id": "mug"}, {"ts": NOW - 7},
        {"order_id": "p"}, {"variant_id": "w"}, {"position": 2},
    ):  # fmt: skip
        assert accepted(**{**base, **change}).event_id != first.event_id, change


def test_two_searches_of_one_moment_are_two_events_and_a_repeated_one_is_one() -> None:
    base: dict[str, Any] = {"event_id": None, "anon_id": "ann", "ts": NOW - 5, "item_id": None}
    searches = [accepted(type="search", query=query, **base).event_id for query in ("tea", "pot", "tea")]
    assert searches[0] == searches[2] != searches[1]
    pages = [accepted(type="list_view", category=name, **base).event_id for name in ("Kitchen", "Garden")]
    assert len({*searches, *pages}) == 4
    both = [accepted(type="search", query="tea", category=name, **base).event_id for name in ("Kitchen", "Garden")]
    assert len({searches[0], *both}) == 3
    base["item_id"] = "mug"  # an event about an item keeps the id it always had
    assert accepted(type="view", query="tea", **base).event_id == accepted(type="view", **base).event_id


@given(st.tuples(*[st.text(max_size=4) | st.none()] * 5), st.tuples(*[st.text(max_size=4) | st.none()] * 5))
def test_different_contents_have_different_ids_wherever_the_boundaries_lie(
    one: tuple[str | None, ...], two: tuple[str | None, ...]
) -> None:
    def made(parts: tuple[str | None, ...]) -> str:
        user, anon, item, order, variant = parts
        return content_id(
            Interaction(type="view", user_id=user, anon_id=anon, item_id=item, order_id=order, variant_id=variant)
        )

    assert (made(one) == made(two)) == (one == two)


def test_python_callers_cannot_pass_what_json_could_not() -> None:
    for fields in (
        {"user_id": "\ud800"}, {"props": {"a": object()}}, {"price": float("nan")}, {"quantity": float("inf")},
    ):  # fmt: skip
        event = msgspec.structs.replace(Interaction(type="view", user_id="ann", item_id="tea"), **fields)
        assert isinstance(validate(event, now=NOW, config=CLEAN, index=0), Refusal), fields


# ---------------------------------------------------------------- anything at all

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(list(Interaction.__struct_fields__))


@given(st.lists(st.dictionaries(names, values, max_size=5) | values, max_size=5))
@settings(max_examples=150, deadline=None)
def test_any_json_gives_one_verdict_per_record(batch: list[Any]) -> None:
    taken, refusals = intake(json.dumps(batch).encode())
    assert len(taken) + len(refusals) == len(batch)
    assert len({refusal.index for refusal in refusals}) == len(refusals)
    for event in taken:
        assert msgspec.json.decode(msgspec.json.encode(event), type=Interaction) == event


@given(st.binary(max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_read_or_refused_but_never_crash(body: bytes) -> None:
    with contextlib.suppress(InvalidInput):
        intake(body)
