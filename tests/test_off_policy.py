"""Off-policy estimates: against written-out sums, a simulated bandit whose truth is known, public logs, and obp."""

from __future__ import annotations

import importlib.util
import math
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endcap.errors import InvalidInput
from endcap.feedback.off_policy import (
    checks,
    cross_fitted,
    doubts,
    estimates,
    importance,
    jackknife,
    judge,
    mean,
    unskewed,
)

ROOT = Path(__file__).parent.parent
OPEN_BANDIT = Path(os.environ.get("ENDCAP_DATA", ROOT.parent / "shared" / "data")) / "open_bandit" / "events.parquet"


def bench() -> Any:
    """benchmarks/off_policy_coverage.py as a module: it holds the simulated bandit."""
    name = "off_policy_coverage"
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def drawn(n: int, k: int = 5, seed: int = 0) -> dict[str, Any]:
    """A small log with everything an estimator takes."""
    rng = np.random.default_rng(seed)
    logging, target = rng.dirichlet(np.full(k, 2.0), n), rng.dirichlet(np.full(k, 2.0), n)
    action = (rng.random(n)[:, None] > logging.cumsum(1)).sum(1).clip(0, k - 1)
    at = np.arange(n)
    return {
        "action": action, "logging": logging, "target": target, "propensity": logging[at, action],
        "chosen": target[at, action], "reward": rng.exponential(1.0, n) * (rng.random(n) < 0.3),
        "q": rng.random((n, k)), "user": rng.integers(0, max(1, n // 4), n),
    }  # fmt: skip


# ---------------------------------------------------------------- values


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 60), st.integers(0, 10_000), st.floats(0.5, 20.0))
def test_every_value_is_the_sum_that_its_name_says(n: int, seed: int, clip: float) -> None:
    log = drawn(n, seed=seed)
    weight = importance(log["chosen"], log["propensity"])
    logged = log["q"][np.arange(n), log["action"]]
    target = (log["q"] * log["target"]).sum(1)
    found = estimates(log["reward"], weight, (logged, target), cluster=log["user"], clip=clip)
    w, r = weight.tolist(), log["reward"].tolist()
    expected = {
        "ips": math.fsum(a * b for a, b in zip(w, r, strict=True)) / n,
        "clipped": math.fsum(min(a, clip) * b for a, b in zip(w, r, strict=True)) / n,
        "snips": math.fsum(a * b for a, b in zip(w, r, strict=True)) / math.fsum(w),
        "dm": math.fsum(target.tolist()) / n,
        "dr": math.fsum(t + a * (b - q) for t, a, b, q in zip(target.tolist(), w, r, logged.tolist(), strict=True)) / n,
    }
    assert {name: one.value for name, one in found.items()} == pytest.approx(expected, abs=1e-12, rel=1e-9)
    for one in found.values():
        assert one.low <= one.value <= one.high


def test_places_are_judged_apart_and_added_up() -> None:
    log = drawn(90, seed=4)
    weight = importance(log["chosen"], log["propensity"])
    place = np.arange(90) % 3
    whole = estimates(log["reward"], weight, place=place, cluster=log["user"])
    for name in ("ips", "snips"):
        apart = [estimates(log["reward"][place == k], weight[place == k])[name].value for k in range(3)]
        assert whole[name].value == pytest.approx(sum(apart))


def test_the_target_that_logged_is_worth_its_own_mean() -> None:
    log = drawn(200)
    weight = importance(log["propensity"], log["propensity"])
    own = mean(log["reward"], log["user"])
    for name in ("ips", "clipped", "snips"):
        assert estimates(log["reward"], weight, cluster=log["user"])[name] == own


# ---------------------------------------------------------------- intervals


@settings(max_examples=40, deadline=None)
@given(st.integers(5, 40), st.integers(0, 10_000))
def test_the_error_is_the_jackknife_written_out(n: int, seed: int) -> None:
    log = drawn(n, seed=seed)
    weight = importance(log["chosen"], log["propensity"])
    users = np.unique(log["user"])
    if users.shape[0] < 2:
        return
    found = jackknife([(weight * log["reward"], weight)], log["user"])
    without = []
    for user in users:
        rest = log["user"] != user
        without.append(float((weight * log["reward"])[rest].sum() / weight[rest].sum()))
    g = users.shape[0]
    squares = sum((one - found.value) ** 2 for one in without)
    assert found.standard_error == pytest.approx(math.sqrt((g - 1) / g * squares), rel=1e-9, abs=1e-12)


def test_the_error_of_a_plain_mean_is_the_textbook_one() -> None:
    values = np.random.default_rng(2).normal(3.0, 2.0, 400)
    found = mean(values)
    assert found.standard_error == pytest.approx(values.std(ddof=1) / 20, rel=1e-2)
    assert found.high - found.value == pytest.approx(1.966 * found.standard_error, rel=0.03)


def test_decisions_of_one_user_count_as_one_when_they_are_all_the_same() -> None:
    rng = np.random.default_rng(5)
    once = rng.normal(size=50)
    tenfold, user = np.repeat(once, 10), np.repeat(np.arange(50), 10)
    assert mean(tenfold, user).standard_error == pytest.approx(mean(once).standard_error)
    assert mean(tenfold).standard_error < 0.4 * mean(once).standard_error


def test_rare_large_rewards_reach_further_up() -> None:
    rewards = np.zeros(400)
    rewards[:12] = 5.0
    found = mean(rewards)
    assert found.high - found.value > 1.2 * (found.value - found.low)
    mirrored = mean(-rewards)
    assert mirrored.value - mirrored.low == pytest.approx(found.high - found.value)


@given(st.floats(-0.9, 0.9), st.floats(0.1, 4.0))
def test_the_correction_inverts_halls_transformation(skew: float, quantile: float) -> None:
    t = unskewed(quantile, skew)
    assert t + skew * t**2 / 3 + skew**2 * t**3 / 27 + skew / 6 == pytest.approx(quantile, abs=1e-6)


def test_one_user_alone_says_nothing_about_others() -> None:
    found = mean(np.arange(5.0), np.zeros(5, np.int64))
    assert (found.value, found.low, found.high) == (2.0, -np.inf, np.inf)


def test_intervals_hold_the_truth_of_a_simulated_bandit() -> None:
    """95 % are expected; a right interval holds fewer than 175 of 200 logs once in 100,000 runs."""
    module = bench()
    world = module.new_world()
    for target in module.TARGETS:
        found = module.covered(world, target, 200, 2_000, seed=7)
        for name in ("snips", "dr"):
            assert found[name][0] >= 175, (target, name, found[name])


def test_the_check_of_coverage_would_notice_intervals_that_are_too_short() -> None:
    """The reward model alone is wrong on purpose, and its interval does not know."""
    module = bench()
    assert module.covered(module.new_world(), "greedy", 50, 2_000, seed=7)["dm"][0] < 40


# ---------------------------------------------------------------- checks


@pytest.mark.parametrize("wrong", [0.0, -0.1, 1.2, float("nan"), float("inf")])
def test_a_propensity_that_is_none_names_its_row(wrong: float) -> None:
    propensity = np.full(9, 0.5)
    propensity[6] = wrong
    with pytest.raises(InvalidInput, match="row 6: propensity"):
        importance(np.full(9, 0.5), propensity)


@pytest.mark.parametrize("wrong", [-0.1, 1.2, float("nan")])
def test_a_target_probability_that_is_none_names_its_row(wrong: float) -> None:
    target = np.full(9, 0.5)
    target[3] = wrong
    with pytest.raises(InvalidInput, match="row 3: target probability"):
        importance(target, np.full(9, 0.5))


def test_arrays_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(InvalidInput, match="pair them"):
        importance(np.ones(3), np.ones(4))
    with pytest.raises(InvalidInput, match="one each"):
        judge(np.ones(3), np.ones(4))
    with pytest.raises(InvalidInput, match="row 1: reward nan"):
        judge(np.array([1.0, np.nan]), np.ones(2))


def test_the_effective_sample_is_what_equal_weights_would_need() -> None:
    weight = np.array([0.0, 0.0, 4.0, 1.0])
    found = checks(weight, 1.0)
    assert found.ess == pytest.approx(25 / 17)
    assert (found.decisions, found.max_weight, found.mean_weight) == (4, 4.0, 1.25)
    place = np.array([0, 0, 1, 1])
    assert checks(np.array([1.0, 1.0, 9.0, 1.0]), 1.0, place=place).ess == pytest.approx(100 / 82)


def test_a_verdict_holds_numbers_or_reasons_never_both() -> None:
    log = drawn(3_000)
    weight = importance(log["chosen"], log["propensity"])
    good = judge(log["reward"], weight, support=1.0, min_ess=200)
    assert set(good.estimates) == {"ips", "clipped", "snips"}
    assert good.reasons == ()
    few = judge(log["reward"], weight, support=1.0, min_ess=2_900)
    assert (few.estimates, len(few.reasons)) == ({}, 1)
    assert "effective sample size" in few.reasons[0]
    unsupported = judge(log["reward"], weight, support=0.94, min_ess=200)
    assert unsupported.estimates == {}
    assert "94.0%" in unsupported.reasons[0]
    wrong = judge(log["reward"], 1.5 * weight, support=1.0, min_ess=200)
    assert "mean weight 1.4" in wrong.reasons[0]
    assert judge(np.zeros(0), np.zeros(0)).estimates == {}


def test_a_mean_weight_that_is_off_by_chance_is_no_reason() -> None:
    rng = np.random.default_rng(0)
    weight = np.where(rng.random(60) < 0.5, 2.4, 0.0)
    found = checks(weight, 1.0)
    assert abs(found.mean_weight - 1) > 0.05
    assert doubts(found, min_ess=1) == ()


def test_support_that_the_log_cannot_say_is_the_mean_weight() -> None:
    """The target wants action 1 in a third of the moments, which was never drawn."""
    rng = np.random.default_rng(1)
    wanted = rng.random(9_000) < 1 / 3
    weight = importance((~wanted).astype(float), np.ones(9_000))
    found = judge(np.ones(9_000), weight)
    assert found.checks.support == pytest.approx(2 / 3, abs=0.02)
    assert found.estimates == {}


# ---------------------------------------------------------------- the reward model


def test_the_reward_model_finds_a_reward_that_it_can_express() -> None:
    rng = np.random.default_rng(3)
    n = 4_000
    context = np.column_stack([np.ones(n), rng.normal(size=(n, 2))])
    truth = rng.normal(size=(3, 4))  # coefficients by action
    action, target = rng.integers(0, 4, n), rng.dirichlet(np.ones(4), n)
    expected = context @ truth
    reward = expected[np.arange(n), action] + rng.normal(0, 0.1, n)
    logged, under = cross_fitted(context, context, action, reward, target, cluster=rng.integers(0, 500, n))
    np.testing.assert_allclose(logged, expected[np.arange(n), action], atol=0.15)
    np.testing.assert_allclose(under, (expected * target).sum(1), atol=0.15)
    one = np.full(n, 2)
    np.testing.assert_allclose(cross_fitted(context, context, action, reward, one)[1], expected[:, 2], atol=0.15)


def test_a_prediction_never_saw_the_cluster_it_is_about() -> None:
    """Every user has a reward of their own, given away by a feature: only a model that saw the user knows it."""
    user = np.repeat(np.arange(40), 5)
    context = np.column_stack([np.ones(200), np.eye(40)[user]])
    reward = np.random.default_rng(0).normal(size=40)[user]
    action = np.zeros(200, np.int64)
    seen, _ = cross_fitted(context, np.ones((200, 1)), action, reward, action)
    unseen, _ = cross_fitted(context, np.ones((200, 1)), action, reward, action, cluster=user)
    assert np.corrcoef(seen, reward)[0, 1] > 0.9
    assert abs(np.corrcoef(unseen, reward)[0, 1]) < 0.5


def test_an_action_that_was_never_taken_is_expected_to_earn_what_the_context_says() -> None:
    rng = np.random.default_rng(8)
    context = np.column_stack([np.ones(500), rng.normal(size=500)])
    reward = context @ np.array([2.0, 1.0])
    _, under = cross_fitted(context, np.ones((500, 1)), np.zeros(500, np.int64), reward, np.full(500, 3))
    np.testing.assert_allclose(under, reward, atol=1e-2)


# ---------------------------------------------------------------- public logs


def open_bandit() -> Any:
    """20,000 decisions of two policies on 80 items at 3 positions: what each logged, as columns by policy."""
    if not OPEN_BANDIT.exists():
        pytest.skip(f"no Open Bandit sample at {OPEN_BANDIT}; set ENDCAP_DATA to the folder that holds open_bandit/")
    import polars as pl

    frame = pl.read_parquet(OPEN_BANDIT)
    return {name: frame.filter(pl.col("policy") == name) for name in ("random", "bts")}


def probabilities(frame: Any, n: int = 80) -> Any:
    """[3, 80] how often a policy put each item at each position: it depends on nothing else but time."""
    table = np.zeros((3, n))
    np.add.at(table, (frame["position"].to_numpy() - 1, frame["action"].to_numpy()), 1.0)
    return table / table.sum(1, keepdims=True)


def test_the_thompson_policy_is_worth_its_own_mean_judged_by_the_random_one() -> None:
    logs = open_bandit()
    own, log = logs["bts"]["click"].to_numpy(), logs["random"]
    target = probabilities(logs["bts"])[log["position"].to_numpy() - 1, log["action"].to_numpy()]
    weight = importance(target, log["propensity"].to_numpy())
    reward = log["click"].to_numpy().astype(float)
    context = np.column_stack([np.ones(10_000), np.eye(3)[log["position"].to_numpy() - 1][:, 1:]])
    policy = probabilities(logs["bts"])[log["position"].to_numpy() - 1]
    q = cross_fitted(context, np.ones((10_000, 1)), log["action"].to_numpy().astype(np.int64), reward, policy)
    found = judge(reward, weight, q, support=1.0)
    assert found.reasons == ()
    truth = mean(own.astype(float))
    assert truth.value == pytest.approx(0.0042)
    for name in ("ips", "snips", "dr"):
        one = found.estimates[name]
        assert one.low < truth.high, name
        assert one.high > truth.low, name
        assert abs(one.value - truth.value) < 0.0035, name


def test_the_random_policy_judged_by_the_thompson_one_is_refused() -> None:
    """Thompson sampling hardly ever shows most items: weights to 278, 340 effective decisions of 10,000."""
    logs = open_bandit()
    log = logs["bts"]
    weight = importance(np.full(10_000, 1 / 80), log["propensity"].to_numpy())
    reward = log["click"].to_numpy().astype(float)
    found = judge(reward, weight, support=1.0)
    assert found.estimates == {}
    assert found.checks.max_weight > 100
    assert "effective sample size" in found.reasons[0]
    anyway = estimates(reward, weight)["snips"]
    assert anyway.low < 0.0038 < anyway.high


# ---------------------------------------------------------------- obp


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_values_equal_those_of_obp() -> None:
    """obp 0.5.7 pins libraries that Python 3.11 cannot install; it works without its pins:

    pip install --no-deps --ignore-requires-python obp==0.5.7, and torch, pandas, seaborn, PyYAML, tqdm beside it.
    """
    ope = pytest.importorskip("obp.ope", reason="obp is not installed; see this test's docstring")
    n, k = 3_000, 5
    log = drawn(n, k, seed=9)
    weight = importance(log["chosen"], log["propensity"])
    ours = estimates(log["reward"], weight, (log["q"][np.arange(n), log["action"]], (log["q"] * log["target"]).sum(1)))
    given = {
        "reward": log["reward"], "action": log["action"], "pscore": log["propensity"],
        "action_dist": log["target"][:, :, None], "position": np.zeros(n, int),
    }  # fmt: skip
    modelled = {**given, "estimated_rewards_by_reg_model": log["q"][:, :, None]}
    theirs = {
        "ips": ope.InverseProbabilityWeighting().estimate_policy_value(**given),
        "clipped": ope.InverseProbabilityWeighting(lambda_=10.0).estimate_policy_value(**given),
        "snips": ope.SelfNormalizedInverseProbabilityWeighting().estimate_policy_value(**given),
        "dm": ope.DirectMethod().estimate_policy_value(**modelled),
        "dr": ope.DoublyRobust().estimate_policy_value(**modelled),
    }
    assert {name: one.value for name, one in ours.items()} == pytest.approx(theirs, abs=1e-8)
