"""Always-valid statistics: results that may be looked at after every slate without fooling anybody.

Idea. A fixed-sample interval holds for one look. Who looks all the time sees it exclude the truth sooner or later,
so a difference would be announced where there is none. A confidence sequence holds for all looks together:
P(the truth is outside at any time) <= alpha. Three of them are here:

* ``difference``: of two variants' reward per slate. The normal mixture of Robbins around an asymptotically normal
  estimate (Waudby-Smith et al.). The estimate is a ratio of sums over units (reward over slates), its variance is
  taken over units, so the slates of one shopper may depend on each other as they like.
* ``evidence``: of counts against the shares they should have. A Dirichlet mixture of multinomials (Lindon and
  Malek), an exact martingale, so its alarm rate is below alpha by Ville's inequality with no approximation. It is the
  sample ratio check, and with two equal shares the sign test of interleaving.
* ``share_range``: the share of wins behind such counts, by inverting the same martingale.

Layout: ``Sums`` of one variant, each a number or an array of one shape (a simulation passes every look of every run at
once; a report passes numbers). The code that serves is the code that was checked.

The clock of the mixture is the number of slates over the planned number. The interval is narrowest, about 1.55 times
the fixed-sample one, when the plan is fulfilled; it stays valid before and after. A wrong plan costs width, never
validity. Two guards keep the normal approximation honest where rewards are rare and heavy: no interval is given before
``MIN_REWARDED`` units of each variant brought a reward, and the variance is the larger of the one where variants may
spread differently and the one where they are alike. The former alone is small exactly where a small variant missed
its buyers: with shares of 9 to 1 it raised false alarms in 2.5 % of simulated runs, the larger in none of 400.

Cost: O(1) per look from the sums.

Papers: Robbins, Ann. Math. Stat. 41 (1970); Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas, arXiv 2103.06476; Lindon and
Malek, NeurIPS 2022 (arXiv 2011.03567).

When not to use it: for a result that will be read exactly once, at a time fixed before: a plain interval is a third
narrower. For totals that a few units dominate (one wholesale buyer among a hundred shoppers) no interval of this
kind is right.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from endcap.types import F8

ALPHA = 0.05
SRM_ALPHA = 0.001
MIN_REWARDED = 40  # units with a reward, in each variant, before there is an interval
CONCENTRATION = 1_000.0  # of the Dirichlet mixture: tuned to shares that are off by some percent of themselves
PREFERENCE = 20.0  # the same for wins and losses, which may lie far from a half


class Sums(NamedTuple):
    """What is known of one variant, summed over its units. Each a number, or an array of one common shape."""

    units: F8
    rewarded: F8  # units whose reward is not 0
    slates: F8
    reward: F8
    slates2: F8  # of slates squared
    both: F8  # of slates times reward
    reward2: F8  # of reward squared

    @classmethod
    def of(cls, slates: NDArray[Any], reward: NDArray[Any]) -> Sums:
        """The sums of per-unit totals ``slates`` [n] and ``reward`` [n]."""
        s, r = np.asarray(slates, np.float64), np.asarray(reward, np.float64)
        found = (s.shape[0], np.count_nonzero(r), s.sum(), r.sum(), s @ s, s @ r, r @ r)
        return cls(*(np.asarray(value, np.float64) for value in found))

    @property
    def rate(self) -> F8:
        """Reward per slate; 0 without slates."""
        return self.reward / np.maximum(self.slates, 1.0)

    @property
    def variance(self) -> F8:
        """Of ``rate``, over units: the sum of (reward - rate * slates)^2 over slates^2, with n / (n - 1)."""
        rate = self.rate
        left = np.maximum(self.reward2 - 2.0 * rate * self.both + rate * rate * self.slates2, 0.0)
        bias = self.units / np.maximum(self.units - 1.0, 1.0)
        found: F8 = left * bias / np.maximum(self.slates, 1.0) ** 2
        return found


def difference(one: Sums, base: Sums, planned: float, alpha: float = ALPHA) -> tuple[F8, F8]:
    """Reward per slate of ``one`` minus that of ``base``, and the half-width of its confidence sequence.

    ``planned``: slates of both together that the experiment is planned for, > 0. The half-width is infinite while
    there is too little to say anything.
    """
    apart = one.variance + base.variance
    both = Sums(*(np.add(a, b) for a, b in zip(one, base, strict=True)))
    a, b = np.maximum(one.slates, 1.0), np.maximum(base.slates, 1.0)
    alike = both.variance * (a + b) ** 2 / (a * b)
    width = half_width(np.maximum(apart, alike), (one.slates + base.slates) / planned, alpha)
    enough = np.minimum(one.rewarded, base.rewarded) >= MIN_REWARDED
    return one.rate - base.rate, np.where(enough, width, np.inf)


def half_width(variance: F8, progress: F8, alpha: float = ALPHA) -> F8:
    """Half-width of the normal mixture around an estimate of this variance.

    ``progress``: how much of the planned information is in, 1 = all; the sequence is narrowest there.
    """
    x = np.maximum(progress, 1e-12) * tuned(alpha)
    found: F8 = np.sqrt(variance * (1.0 + 1.0 / x) * (np.log1p(x) - 2.0 * math.log(alpha)))
    return found


def tuned(alpha: float) -> float:
    """The mixture's information at the plan over its prior precision that makes the width least there.

    Solves x = log(1 + x) - 2 log(alpha), where the derivative of the squared width vanishes.
    """
    x = -2.0 * math.log(alpha)
    for _ in range(50):
        x = math.log1p(x) - 2.0 * math.log(alpha)
    return x


def evidence(counts: F8, shares: F8, concentration: float = CONCENTRATION) -> F8:
    """Log of the evidence against ``shares`` in ``counts``; beyond log(1 / alpha) it is an alarm at alpha.

    ``counts`` [..., k], ``shares`` [k] positive with sum 1. Under the right shares exp(evidence) is a martingale of
    mean 1 in the order of arrival, so P(ever beyond log(1 / alpha)) <= alpha.
    """
    prior = concentration * shares
    total = counts.sum(axis=-1)
    mixed = gammaln(concentration) - gammaln(concentration + total)
    found: F8 = mixed + (gammaln(prior + counts) - gammaln(prior) - counts * np.log(shares)).sum(axis=-1)
    return found


def p_value(evidence: float) -> float:
    """The always-valid p-value of a log evidence: the chance of seeing this much, ever, if nothing were wrong."""
    return math.exp(-max(0.0, evidence))


def share_range(wins: int, losses: int, alpha: float = ALPHA) -> tuple[float, float]:
    """Low and high end of the confidence sequence for the share of wins; (0, 1) without any."""
    n = wins + losses
    if n == 0:
        return 0.0, 1.0
    # log evidence against share p, with a Beta prior around a half: convex in p, least at wins / n
    mixed = log_beta(PREFERENCE / 2 + wins, PREFERENCE / 2 + losses) - log_beta(PREFERENCE / 2, PREFERENCE / 2)
    bar = -math.log(alpha)

    def inside(p: float) -> bool:
        if not 0.0 < p < 1.0:
            return False
        likelihood = (wins * math.log(p) if wins else 0.0) + (losses * math.log1p(-p) if losses else 0.0)
        return mixed - likelihood < bar

    def edge(good: float, bad: float) -> float:
        for _ in range(60):
            middle = (good + bad) / 2
            good, bad = (middle, bad) if inside(middle) else (good, middle)
        return bad

    peak = min(max(wins / n, 1e-12), 1.0 - 1e-12)
    return (edge(peak, 0.0) if wins else 0.0), (edge(peak, 1.0) if losses else 1.0)


def log_beta(a: float, b: float) -> float:
    """Log of the Beta function."""
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
