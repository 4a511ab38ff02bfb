"""Experiments: who sees what stays so, shares are kept, and what cannot run is refused with its remedy."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from endcap.config import PlacementConfig, shop_placements
from endcap.errors import ConfigError, InvalidInput, NotFound
from endcap.feedback.experiments import (
    INTERLEAVED,
    NOBODY,
    Experiment,
    Experiments,
    check,
    point,
    started,
    stopped,
    unit_of,
)
from endcap.feedback.guardrails import Guardrails, Measured
from endcap.feedback.guardrails import check as broken
from endcap.types import Query
from rows import at_leisure

PLACEMENTS = shop_placements()
NOW = 1_790_000_000_000


def experiment(**more: Any) -> Experiment:
    given_ = {
        "name": "spread", "placement": "home",
        "variants": {"now": {"weight": 0.5}, "wide": {"weight": 0.5, "settings": {"diversity": 0.6}}}, **more,
    }  # fmt: skip
    return msgspec.convert(given_, Experiment)


def running(*experiments: Experiment) -> Experiments:
    return Experiments(experiments, PLACEMENTS)


def variant(of: Experiments, unit: str, placement: str = "home") -> str | None:
    found = of.assign(placement, unit).variants
    return next(iter(found.values()), None)


# ---------------------------------------------------------------- who sees what


@at_leisure
@given(st.text(min_size=1, max_size=20))
def test_a_unit_keeps_its_variant_wherever_it_is_asked(unit: str) -> None:
    one, other = running(experiment()), running(experiment(name="other", placement="cart"), experiment())
    assert variant(one, unit) == variant(other, unit) is not None


def test_units_fall_into_variants_by_weight() -> None:
    of = running(experiment(variants={"a": {"weight": 0.2}, "b": {"weight": 0.3}, "c": {"weight": 0.5}}, kind="aa"))
    counts = dict.fromkeys("abc", 0)
    for k in range(20_000):
        name = variant(of, f"u{k}")
        assert name is not None
        counts[name] += 1
    assert stats.chisquare(list(counts.values()), [4_000, 6_000, 10_000]).pvalue > 1e-3


def test_points_are_even_and_unrelated_between_salts() -> None:
    points = [(point(b"a", b"u%d" % k), point(b"b", b"u%d" % k)) for k in range(20_000)]
    assert stats.kstest([one for one, _ in points], "uniform").pvalue > 1e-3
    assert abs(stats.pearsonr(*zip(*points, strict=True)).statistic) < 0.03


def test_a_larger_share_adds_units_and_moves_none() -> None:
    small, large = running(experiment(share=0.2)), running(experiment(share=0.7))
    before = {f"u{k}": variant(small, f"u{k}") for k in range(4_000)}
    after = {unit: variant(large, unit) for unit in before}
    assert all(after[unit] == name for unit, name in before.items() if name is not None)
    assert 0.17 < sum(name is not None for name in before.values()) / 4_000 < 0.23
    assert 0.66 < sum(name is not None for name in after.values()) / 4_000 < 0.74


def test_slices_side_by_side_share_no_unit_and_fill_the_traffic() -> None:
    of = running(experiment(share=0.4), experiment(name="rest", share=0.6, first=0.4))
    names = [tuple(of.assign("home", f"u{k}").variants) for k in range(3_000)]
    assert {name for found in names for name in found} == {"spread", "rest"}
    assert all(len(found) == 1 for found in names)


def test_the_next_experiment_deals_anew() -> None:
    one, two = running(experiment()), running(experiment(name="second"))
    together = sum(variant(one, f"u{k}") == variant(two, f"u{k}") for k in range(4_000))
    assert 0.46 < together / 4_000 < 0.54


def test_an_assignment_carries_the_changed_placement_and_the_ranker() -> None:
    of = running(
        experiment(variants={
            "now": {"weight": 0.5}, "new": {"weight": 0.5, "ranker": 7, "settings": {"n": 3, "seen": "drop"}},
        })
    )  # fmt: skip
    found = {variant(of, f"u{k}"): of.assign("home", f"u{k}") for k in range(50)}
    assert found["now"].placement is None
    assert found["now"].ranker is None
    changed = found["new"].placement
    assert isinstance(changed, PlacementConfig)
    assert (changed.n, changed.seen, changed.sources) == (3, "drop", PLACEMENTS["home"].sources)
    assert found["new"].ranker == 7


def test_an_interleaved_slate_gets_both_variants() -> None:
    of = running(experiment(kind="interleave", variants={"a": {"weight": 0.5}, "b": {"weight": 0.5, "ranker": 3}}))
    found = of.assign("home", "u1")
    assert found.variants == {"spread": INTERLEAVED}
    assert found.other is not None
    assert (found.ranker, found.other.ranker) == (None, 3)


def test_nobody_and_other_placements_and_ended_experiments_are_left_alone() -> None:
    of = running(experiment(ended_at=5))
    assert of.assign("home", "u1") is NOBODY
    of = running(experiment())
    assert of.assign("home", unit_of(Query())) is NOBODY
    assert of.assign("cart", "u1") is NOBODY


def test_the_unit_is_the_login_id_else_the_anonymous_one() -> None:
    assert unit_of(Query(user_id="7", anon_id="x")) == "u7"
    assert unit_of(Query(anon_id="7")) == "a7"


# ---------------------------------------------------------------- what cannot run

BAD: list[tuple[str, dict[str, Any], str]] = [
    ("weights", {"variants": {"a": {"weight": 0.5}, "b": {"weight": 0.4}}}, r"s 0.5 \+ 0.4 sum to 0.9; expected 1"),
    ("a weight of 0", {"variants": {"a": {"weight": 1.0}, "b": {"weight": 0.0}}}, "'b' has weight 0.0; expected"),
    ("no variant", {"variants": {}}, "has 0 variants; expected 2 to 16"),
    ("one variant", {"variants": {"a": {"weight": 1.0}}}, "has 1 variants; expected 2 to 16"),
    ("a placement", {"placement": "hoem"}, "no placement 'hoem'; configured: bought_together"),
    ("a name", {"name": "a/b"}, "'a/b' is no name; expected 1 to 64"),
    ("a variant's name", {"variants": {"a": {"weight": 0.5}, "": {"weight": 0.5}}}, "'' is no name"),
    ("a share of 0", {"share": 0.0}, "a slice of 0.0 from 0.0 is no part of the traffic"),
    ("a slice beyond", {"share": 0.6, "first": 0.5}, "first \\+ share at most 1"),
    ("no plan", {"planned": 0}, "planned is 0; expected slates, 1 to 1e\\+12"),
    ("a salt", {"salt": "x" * 300}, "a salt of 300 characters; expected 256"),
    ("a ranker", {"variants": {"a": {"weight": 0.5}, "b": {"weight": 0.5, "ranker": -1}}}, "'b' has ranker -1"),
    ("a/a that differ", {"kind": "aa"}, "is an A/A experiment, whose variants are all alike"),
    (
        "three interleaved",
        {"kind": "interleave", "variants": {k: {"weight": w} for k, w in (("a", 0.5), ("b", 0.25), ("c", 0.25))}},
        "interleaves 3 variants; expected 2",
    ),
    ("a rail", {"guardrails": {"max_error_share": 1.5}}, "max_error_share is 1.5; expected 0 to 1"),
    ("a rail of no time", {"guardrails": {"max_p99_ms": 0.0}}, "max_p99_ms is 0.0; expected milliseconds"),
]  # fmt: skip


@pytest.mark.parametrize(("more", "message"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_what_cannot_run_is_refused_with_its_reason(more: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        check(experiment(**more), [], PLACEMENTS)


@pytest.mark.parametrize(("settings", "message"), [
    ({"diversty": 0.1}, "unknown setting experiments.spread.b.diversty; did you mean experiments.spread.b.diversity"),
    ({"n": "many"}, "experiments.spread.b: Expected `int`, got `str`"),
    ({"arms": {}}, "sets arms, which belongs to the placement itself"),
])  # fmt: skip
def test_a_variant_may_change_only_what_exists(settings: dict[str, Any], message: str) -> None:
    wrong = experiment(variants={"a": {"weight": 0.5}, "b": {"weight": 0.5, "settings": settings}})
    with pytest.raises(ConfigError, match=message):
        check(wrong, [], PLACEMENTS)


def test_overlapping_slices_are_refused_with_a_place_that_is_free() -> None:
    taken = [experiment(name="early", share=0.3, first=0.2), experiment(name="late", share=0.2, first=0.8)]
    with pytest.raises(InvalidInput, match=r"'early' runs on 0.2 to 0.5: .* start it with first = 0.5"):
        check(experiment(share=0.3, first=0.4), taken, PLACEMENTS)
    check(experiment(share=0.3, first=0.5), taken, PLACEMENTS)
    with pytest.raises(InvalidInput, match="smaller shares, or stop the other: endcap experiments stop early"):
        check(experiment(share=0.4), taken, PLACEMENTS)


def test_ended_experiments_and_other_placements_are_not_in_the_way_but_names_are() -> None:
    others = [experiment(name="old", ended_at=3), experiment(name="elsewhere", placement="cart")]
    check(experiment(), others, PLACEMENTS)
    with pytest.raises(InvalidInput, match=r"there is an experiment 'old' already; .* take another name"):
        check(experiment(name="old"), others, PLACEMENTS)
    with pytest.raises(InvalidInput, match="visitors would overlap"):
        running(experiment(), experiment(name="second"))


def test_starting_and_stopping_leave_a_record() -> None:
    begun = started(experiment(ended_at=7, stopped="x"), [], PLACEMENTS, NOW)
    assert (begun.started_at, begun.ended_at, begun.stopped, begun.salt) == (NOW, 0, "", "spread")
    (ended,) = stopped([begun], "spread", "enough", NOW + 5)
    assert (ended.ended_at, ended.stopped, ended.running) == (NOW + 5, "enough", False)
    with pytest.raises(InvalidInput, match="'spread' has ended already: enough"):
        stopped([ended], "spread", "again", NOW + 6)
    with pytest.raises(NotFound, match="no experiment 'spraed'; there are: spread"):
        stopped([ended], "spraed", "", NOW)
    with pytest.raises(NotFound, match="there are: none"):
        running().get("spread")
    assert running(begun).get("spread") == begun
    assert running(ended).all() == [ended]


def test_the_example_of_the_page_runs() -> None:
    text = (Path(__file__).parent.parent / "docs" / "experiments.md").read_text("utf-8")
    examples = re.findall(r"^```toml\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert len(examples) == 2
    for example in examples:
        check(msgspec.convert(tomllib.loads(example), Experiment), [], PLACEMENTS)
    for name in Experiment.__struct_fields__:
        assert f"`{name}`" in text or name in ("started_at", "ended_at"), f"the page lacks {name}"
    for name in Guardrails.__struct_fields__:
        assert f"| `{name}` | {getattr(Guardrails(), name):g} |" in text


# ---------------------------------------------------------------- guardrails

RAILS = Guardrails(max_p99_ms=50.0, max_error_share=0.01, max_empty_share=0.2)
FINE = Measured(slates=1_000, slow=5)


@pytest.mark.parametrize(("bad", "reason"), [
    (Measured(slates=1_000, slow=60), "guardrail max_p99_ms: 60 of the last 1000 slates of b took longer than 50 ms"),
    (Measured(slates=400, failed=20), "guardrail max_error_share: 20 of the last 400 slates of b failed"),
    (Measured(slates=400, empty=200), "guardrail max_empty_share: 200 of the last 400 slates of b were empty"),
])  # fmt: skip
def test_a_broken_rail_gives_its_reason(bad: Measured, reason: str) -> None:
    found = broken(RAILS, {"a": FINE, "b": bad})
    assert found is not None
    assert found.startswith(reason)
    assert broken(RAILS, {"a": bad, "b": bad}) is None, "what the first suffers too is not the experiment's doing"
    assert broken(RAILS, {"a": bad, "b": FINE}) is None
    assert broken(RAILS, {INTERLEAVED: bad}) is not None
    assert (
        broken(Guardrails(max_p99_ms=None, max_error_share=None, max_empty_share=None), {"a": FINE, "b": bad}) is None
    )


def test_a_few_slates_or_a_share_at_the_rail_stop_nothing() -> None:
    assert broken(RAILS, {"a": FINE, "b": Measured(slates=150, failed=150)}) is None
    assert broken(RAILS, {"a": FINE, "b": Measured(slates=1_000, empty=230)}) is None
    assert broken(RAILS, {}) is None


def test_a_rail_of_nothing_breaks_at_the_first() -> None:
    assert broken(Guardrails(max_error_share=0.0), {"a": FINE, "b": Measured(slates=300, failed=1)}) is not None
