"""Off-policy: what one policy would have earned, from the log of another.

Idea: a decision of the log counts as often as the target policy would have made it more often than the logging policy
did, ``w = target probability / logged probability`` of the action that was taken. With reward r and a reward model q:

    ips      mean(w r)                        right on average, wide
    clipped  mean(min(w, clip) r)             narrower, too low by what was cut
    snips    sum(w r) / sum(w)                the default: a share of decisions that comes out wrong cancels
    dm       mean(q(x, target))               the model alone; its interval does not know the model's error
    dr       mean(q(x, target) + w (r - q))   the model corrected by the log: right if either of both is

None of them can speak of actions that the log could not take. ``judge`` therefore looks at the weights first, and gives
reasons in place of numbers when they are too weak.

Data layout: parallel arrays by decision. ``cluster`` says whose decision it is: those of one user hang together, so
intervals leave out one cluster at a time (jackknife), with the t quantile at the degrees of freedom that the spread of
the clusters' influence leaves (Satterthwaite), corrected for their skewness (Hall). ``place`` cuts decisions into
positions of a slate that are judged apart and added up (independent positions, IIPS); without it there is one place.

Reward model: a ridge on the context, and per action a ridge on what that leaves, each fitted without the cluster that
it is asked about (cross-fitting).

Cost: sorting and bin counts, 60 ms for 100,000 decisions of 20,000 clusters; the model another 250 ms for 12 features
and 4 actions.

Papers: Horvitz & Thompson 1952; Dudik, Langford & Li, ICML 2011 (DR); Swaminathan & Joachims, NeurIPS 2015 (SNIPS); Li
et al., KDD 2018 (IIPS); Hall, JRSS B 1992. Not for: choosing among many candidates by their estimates (the best of many
is lucky), or a log without probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from endcap.errors import InvalidInput
from endcap.types import F8, I8

CLIP = 10.0
CONFIDENCE = 0.95
MIN_ESS = 1_000.0  # fewer effective decisions than this are not worth a number
MIN_SUPPORT = 0.95  # share of the target's actions that the log could have taken
MEAN_TOLERANCE = 0.05  # a mean weight further from 1, and not by chance, says that the probabilities are wrong
CHANCE = 3.0  # standard errors
FOLDS = 5
RIDGE = 10.0  # decisions that an action's own coefficients must outweigh

Term = tuple[F8, F8]  # per decision: numerator and denominator of a ratio of sums


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value per decision (summed over places) with its interval."""

    value: float
    low: float
    high: float
    standard_error: float


@dataclass(frozen=True, slots=True)
class Checks:
    """What the weights say about how far a log can be trusted on a target."""

    decisions: int
    clusters: int
    ess: float  # effective sample size, (sum w)^2 / sum w^2; of the weakest place
    max_weight: float
    mean_weight: (
        float  # 1 where all probabilities are right and the log supports the target; furthest from 1 of a place
    )
    mean_weight_error: float  # its standard error
    support: float  # share of the target's actions that the log could have taken


@dataclass(frozen=True, slots=True)
class Verdict:
    """Estimates by name, or the reasons why there are none."""

    checks: Checks
    estimates: dict[str, Estimate]
    reasons: tuple[str, ...]


def row_number(row: int) -> str:
    """How a row is called in an error."""
    return f"row {row}"


def importance(target: F8, propensity: F8, name: Callable[[int], str] = row_number) -> F8:
    """Weights [n] from both policies' probabilities [n] of the action that was taken.

    ``InvalidInput`` names the first row (by ``name``) whose probability is none: a logged action has one in (0, 1], the
    target may give it 0.
    """
    if target.shape != propensity.shape:
        raise InvalidInput(f"{target.shape[0]} target probabilities for {propensity.shape[0]} logged ones; pair them")
    for what, values, wrong, range_ in (
        ("propensity", propensity, ~((propensity > 0) & (propensity <= 1)), "(0, 1]"),
        ("target probability", target, ~((target >= 0) & (target <= 1 + 1e-9)), "[0, 1]"),
    ):
        if wrong.any():
            row = int(np.argmax(wrong))
            raise InvalidInput(
                f"{name(row)}: {what} {values[row]}; expected a number in {range_}, the probability with which the "
                "policy took this action. Leave out what was not drawn by a known probability"
            )
    return np.asarray(target / propensity, np.float64)


def groups(cluster: I8 | None, n: int) -> tuple[I8, int]:
    """Dense cluster numbers [n] and how many there are; None = each decision by itself."""
    if cluster is None:
        return np.arange(n, dtype=np.int64), n
    found, dense = np.unique(cluster, return_inverse=True)
    return dense.astype(np.int64), int(found.shape[0])


def jackknife(
    terms: Sequence[Term], cluster: I8 | None = None, place: I8 | None = None, confidence: float = CONFIDENCE
) -> Estimate:
    """The sum over places and terms of sum(numerator) / sum(denominator), and its interval.

    Each term is two arrays [n]. One cluster alone, or one that holds all of a denominator, gives an infinite interval.
    """
    group, n_groups = groups(cluster, terms[0][0].shape[0])
    where, n_places = groups(np.zeros_like(group) if place is None else place, group.shape[0])
    cell, cells = group * n_places + where, n_groups * n_places
    value, without = 0.0, np.zeros(n_groups)
    with np.errstate(divide="ignore", invalid="ignore"):
        for numerator, denominator in terms:
            top = np.bincount(cell, numerator, cells).reshape(n_groups, n_places)
            bottom = np.bincount(cell, denominator, cells).reshape(n_groups, n_places)
            value += float((top.sum(0) / bottom.sum(0)).sum())
            without += ((top.sum(0) - top) / (bottom.sum(0) - bottom)).sum(1)
    influence = without - value
    if n_groups < 2 or not np.isfinite(influence).all():
        return Estimate(value, -np.inf, np.inf, np.inf)
    square = influence**2
    total = float(square.sum())
    if total == 0.0:
        return Estimate(value, value, value, 0.0)
    error = float(np.sqrt((n_groups - 1) / n_groups * total))
    excess = float((square**2).sum()) / total**2 - 1 / n_groups  # 0 where all clusters weigh the same
    freedom = max(1.0, min(n_groups - 1.0, 2.0 / excess if excess > 0 else np.inf))
    quantile = float(student.ppf(0.5 + confidence / 2, freedom))
    skew = -float((influence**3).sum()) / total**1.5
    return Estimate(value, value - error * unskewed(quantile, skew), value - error * unskewed(-quantile, skew), error)


def unskewed(quantile: float, skew: float) -> float:
    """The quantile of a studentised sum whose parts are skewed: rare large rewards reach further up than down.

    ``skew``: the parts' third moments over their second to the 3/2, as sums. Hall 1992, inverted in closed form.
    """
    if abs(skew) < 1e-6:
        return quantile
    return float(3 / skew * (np.cbrt(1 + skew * (quantile - skew / 6)) - 1))


def mean(values: F8, cluster: I8 | None = None, place: I8 | None = None, confidence: float = CONFIDENCE) -> Estimate:
    """A mean with its interval: the logged policy's own value, from its rewards [n]."""
    return jackknife([(values, np.ones_like(values))], cluster, place, confidence)


def estimates(
    reward: F8, weight: F8, q: tuple[F8, F8] | None = None, *, cluster: I8 | None = None, place: I8 | None = None,
    clip: float = CLIP, confidence: float = CONFIDENCE,
) -> dict[str, Estimate]:  # fmt: skip
    """Every estimator's value of the target policy, whatever the weights are worth; ``judge`` looks first.

    reward, weight: [n]. q: a reward model's prediction for the logged action and for the target policy, both [n] (see
    ``cross_fitted``); without it there is no dm and no dr. With ``place`` the values of all places are added up.
    """
    one = np.ones_like(weight)
    terms: dict[str, list[Term]] = {
        "ips": [(weight * reward, one)],
        "clipped": [(np.minimum(weight, clip) * reward, one)],
        "snips": [(weight * reward, weight)],
    }
    if q is not None:
        logged, target = q
        terms["dm"] = [(target, one)]
        terms["dr"] = [(target + weight * (reward - logged), one)]
    return {name: jackknife(parts, cluster, place, confidence) for name, parts in terms.items()}


def checks(weight: F8, support: float, cluster: I8 | None = None, place: I8 | None = None) -> Checks:
    """How far the weights [n] can be trusted; ``support``: see ``Checks``."""
    where, n_places = groups(np.zeros(weight.shape[0], np.int64) if place is None else place, weight.shape[0])
    ess, worst = np.inf, Estimate(1.0, 1.0, 1.0, 0.0)
    for k in range(n_places):
        own = where == k
        some = weight[own]
        squares = float((some**2).sum())
        ess = min(ess, float(some.sum()) ** 2 / squares if squares > 0 else 0.0)
        found = mean(some, None if cluster is None else cluster[own])
        if k == 0 or abs(found.value - 1) > abs(worst.value - 1):
            worst = found
    n = weight.shape[0]
    return Checks(
        n, groups(cluster, n)[1], ess if n else 0.0, float(weight.max(initial=0.0)), worst.value if n else 0.0,
        worst.standard_error, support,
    )  # fmt: skip


def doubts(
    found: Checks, min_ess: float = MIN_ESS, min_support: float = MIN_SUPPORT, tolerance: float = MEAN_TOLERANCE
) -> tuple[str, ...]:
    """Why no number should be shown; empty when nothing speaks against it."""
    reasons = []
    if found.ess < min_ess:
        reasons.append(
            f"effective sample size {found.ess:.0f} of {found.decisions} decisions; expected at least {min_ess:.0f}. "
            "Log for longer, explore more, or judge a candidate that is closer to what was logged"
        )
    if found.support < min_support:
        reasons.append(
            f"the log could have taken only {found.support:.1%} of the candidate's actions; expected at least "
            f"{min_support:.0%}. Nothing is known of the others: let exploration reach them"
        )
    off = abs(found.mean_weight - 1)
    unsupported = found.support < min_support and found.mean_weight < 1  # that is why, and it has been said
    if off > tolerance and off > CHANCE * found.mean_weight_error and not unsupported:
        reasons.append(
            f"mean weight {found.mean_weight:.3f}; expected 1 within {tolerance}: the logged probabilities are not "
            "those by which actions were drawn, or actions are missing"
        )
    return tuple(reasons)


def judge(
    reward: F8, weight: F8, q: tuple[F8, F8] | None = None, *, support: float | None = None, cluster: I8 | None = None,
    place: I8 | None = None, min_ess: float = MIN_ESS, min_support: float = MIN_SUPPORT, clip: float = CLIP,
    confidence: float = CONFIDENCE,
) -> Verdict:  # fmt: skip
    """Estimates of the target's value, or the reasons why this log cannot say.

    ``support``: share of the target's actions that the log could have taken; None where the log does not say what else
    could have been drawn: then it is the mean weight, which has that share as its expectation.
    """
    if not reward.shape[0] == weight.shape[0]:
        raise InvalidInput(f"{reward.shape[0]} rewards for {weight.shape[0]} weights; expected one each per decision")
    if not np.isfinite(reward).all():
        row = int(np.argmin(np.isfinite(reward)))
        raise InvalidInput(f"row {row}: reward {reward[row]}; expected a finite number")
    found = checks(weight, 1.0 if support is None else support, cluster, place)
    if support is None:
        found = Checks(
            found.decisions, found.clusters, found.ess, found.max_weight, found.mean_weight, found.mean_weight_error,
            min(1.0, mean(weight, cluster).value) if found.decisions else 0.0,
        )  # fmt: skip
    reasons = doubts(found, min_ess, min_support)
    if reasons:
        return Verdict(found, {}, reasons)
    numbers = estimates(reward, weight, q, cluster=cluster, place=place, clip=clip, confidence=confidence)
    return Verdict(found, numbers, ())


# ---------------------------------------------------------------- the reward model


@dataclass(frozen=True, slots=True)
class RewardModel:
    """Expected reward: context . pooled + own . coefficients of the action."""

    pooled: F8  # [d]
    by_action: F8  # [k, e]

    def logged(self, context: F8, own: F8, action: I8) -> F8:
        """Of the action [n] of each decision."""
        return np.asarray(context @ self.pooled + (own * self.by_action[action]).sum(1), np.float64)

    def target(self, context: F8, own: F8, target: F8) -> F8:
        """Under a policy's probabilities [n, k]."""
        return np.asarray(context @ self.pooled * target.sum(1) + (own * (target @ self.by_action)).sum(1), np.float64)


def ridge(rows: F8, values: F8, penalty: float) -> F8:
    """Least squares with a penalty on every coefficient."""
    return np.asarray(np.linalg.solve(rows.T @ rows + penalty * np.eye(rows.shape[1]), rows.T @ values), np.float64)


def fitted(context: F8, own: F8, action: I8, reward: F8, n_actions: int) -> RewardModel:
    """A model of the reward. An action that was hardly ever taken is expected to earn what the context says."""
    pooled = ridge(context, reward, 1e-3)
    left = reward - context @ pooled
    by_action = np.zeros((n_actions, own.shape[1]))
    order = np.argsort(action, kind="stable")
    present, begin = np.unique(action[order], return_index=True)
    for one, rows in zip(present.tolist(), np.split(order, begin[1:]), strict=True):
        by_action[one] = ridge(own[rows], left[rows], RIDGE)
    return RewardModel(pooled, by_action)


def cross_fitted(
    context: F8, own: F8, action: I8, reward: F8, target: F8 | I8, *, cluster: I8 | None = None, folds: int = FOLDS,
    seed: int = 0,
) -> tuple[F8, F8]:  # fmt: skip
    """Predictions for the logged action and for the target [n] each, by models that never saw the decision's cluster.

    context: [n, d] features, shared by all actions; own: [n, e] features whose coefficients each action has for itself;
    both with a column of ones. action: [n] numbers from 0. target: probabilities [n, k], or the one action [n] that
    the target takes, as integers.
    """
    n = reward.shape[0]
    group, n_groups = groups(cluster, n)
    fold = (np.random.default_rng(seed).permutation(n_groups) % folds)[group]
    one_action = target.ndim == 1
    n_actions = int(max(action.max(initial=0), target.max(initial=0))) + 1 if one_action else target.shape[1]
    logged, expected = np.zeros(n), np.zeros(n)
    for k in range(folds):
        out = fold == k
        model = fitted(context[~out], own[~out], action[~out], reward[~out], n_actions)
        logged[out] = model.logged(context[out], own[out], action[out])
        if one_action:
            expected[out] = model.logged(context[out], own[out], target[out].astype(np.int64))
        else:
            expected[out] = model.target(context[out], own[out], np.asarray(target[out], np.float64))
    return logged, expected
