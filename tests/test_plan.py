"""Protocols as lists of queries."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import logs
from endcap.errors import InvalidInput
from endcap.evaluation.dataset import TEST
from endcap.evaluation.folder import from_frame
from endcap.evaluation.plan import DAY_MS, make_plan, running_count, training_plan
from endcap.types import ACTION_CODE

PURCHASE = ACTION_CODE["purchase"]


def test_prequential_asks_right_before_every_view_of_the_last_part():
    data = logs.clustered(buys=True)
    plan = make_plan(data, "prequential", "next")
    cut = data.ts[0] + 0.7 * (data.ts[-1] - data.ts[0])
    views = np.flatnonzero((data.action == ACTION_CODE["view"]) & (data.ts >= cut))
    assert np.array_equal(plan.at, views)
    assert np.array_equal(plan.relevant, data.item[views])
    assert plan.begin == np.searchsorted(data.ts, cut)


def test_the_answer_is_never_among_what_is_folded():
    data = logs.clustered(buys=True)
    for protocol, target in (("prequential", "next"), ("prequential", "basket"), ("sessions", "next")):
        plan = make_plan(data, protocol, target)
        assert (plan.at <= plan.event).all(), (protocol, target)


def test_buys_within_a_day_are_the_shoppers_own_and_no_later():
    data = logs.clustered(buys=True)
    plan = make_plan(data, "prequential", "buy24h")
    for q in range(0, len(plan), 7):
        k = plan.event[q]
        mine = (data.user == data.user[k]) & (data.action == PURCHASE) & (np.arange(len(data)) >= k)
        mine &= data.ts <= data.ts[k] + DAY_MS
        assert set(plan.answers(q).tolist()) == set(data.item[mine].tolist())
    assert all(plan.answers(q).shape[0] for q in range(len(plan)))


def test_a_basket_is_asked_for_before_its_first_line():
    data = logs.clustered(buys=True)
    plan = make_plan(data, "prequential", "basket")
    for q in range(len(plan)):
        lines = np.flatnonzero((data.session == data.session[plan.event[q]]) & (data.action == PURCHASE))
        assert plan.at[q] == lines[0]
        assert set(plan.answers(q).tolist()) == set(data.item[lines].tolist())


def test_sessions_leave_out_first_events_and_sessions_begun_in_the_warm_up():
    data = logs.clustered()
    plan = make_plan(data, "sessions", "next")
    first = {int(s): int(np.flatnonzero(data.session == s)[0]) for s in np.unique(data.session)}
    assert plan.shared_frozen
    for event in plan.event.tolist():
        begin = first[int(data.session[event])]
        assert event > begin >= plan.begin


def test_sessions_follow_the_sets_own_split():
    frame = logs.clustered_frame()
    last = frame["session_id"].unique(maintain_order=True).to_list()[-30:]
    split = pl.when(pl.col("session_id").is_in(last)).then(pl.lit("test")).otherwise(pl.lit("train"))
    data = from_frame("split", frame.with_columns(split.alias("split")), {})
    plan = make_plan(data, "sessions", "next")
    assert len(plan) == 30 * 5
    assert (data.split[plan.event] == TEST).all()


def test_leave_one_out_folds_everything_but_the_last_item_and_says_what_it_is():
    data = logs.clustered()
    plan = make_plan(data, "leave-one-out", "next")
    last = {int(u): int(np.flatnonzero(data.user == u)[-1]) for u in np.unique(data.user)}
    assert set(plan.event.tolist()) == set(last.values())
    assert not set(plan.fold.tolist()) & set(plan.event.tolist())
    assert plan.seen == "drop"


def test_a_tuning_window_ends_where_the_test_begins():
    data = logs.clustered()
    test, tuning = make_plan(data, "prequential", "next"), make_plan(data, "prequential", "next", tuning=True)
    assert tuning.fold.shape[0] == test.begin
    assert tuning.event.max() < test.begin
    assert tuning.begin < test.begin


def test_training_queries_lie_in_the_warm_up():
    data = logs.clustered(buys=True)
    for protocol, target in (("prequential", "next"), ("prequential", "basket"), ("leave-one-out", "next")):
        plan = make_plan(data, protocol, target)
        training = training_plan(data, plan, n=100)
        assert 0 < len(training) <= 100
        assert (training.at < plan.begin).all()
        assert (np.diff(training.at) >= 0).all()
        assert np.isin(training.event, plan.fold[: plan.begin]).all()
        assert np.array_equal(plan.fold[training.at], training.event)


def test_a_sample_keeps_queries_and_answers_together():
    data = logs.clustered(buys=True)
    whole, part = (make_plan(data, "prequential", "basket", limit=n) for n in (0, 20))
    answers = {int(whole.event[q]): whole.answers(q).tolist() for q in range(len(whole))}
    assert len(part) == 20
    assert (np.diff(part.at) > 0).all()
    assert all(answers[int(part.event[q])] == part.answers(q).tolist() for q in range(20))


def test_a_target_that_never_happens_is_refused():
    with pytest.raises(InvalidInput, match="no 'purchase' target"):
        make_plan(logs.clustered(), "prequential", "purchase")


def test_running_count_counts_earlier_equals():
    assert running_count(np.array([5, 7, 5, 5, 7, 1])).tolist() == [0, 0, 1, 2, 1, 0]
