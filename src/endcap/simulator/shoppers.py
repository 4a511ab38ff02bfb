"""The shoppers: what they like, how it drifts, what they look at, and the chance that they click.

An item at place k of a slate is looked at with probability theta_k, whatever it is; an item that is looked at is
clicked with probability ``appeal`` (the position-based model). Both are known here and nowhere else:

    appeal = base x taste x quality x moment x patience, at most 0.9

* taste: (1 - INTENT) x the shopper's own weight of the category + INTENT x whether the session came for it; both have
  mean 1 over the categories. Then how well the price suits. The weights drift by a random walk, day by day.
* quality: of the item itself, the same for everyone.
* moment: ``moment`` > 0 makes gifts good on phones, in the evening and in the south, and tools good at desks by day;
  the log odds between the two, ``lean``, are a sum of device, hour and region.
* patience: each showing in vain lowers the appeal to that shopper; half of it is forgotten in a day.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from endcap.simulator.shop import N_CATEGORIES, Shop
from endcap.types import F4, F8, I4, I8

DEVICES = ("mobile", "desktop", "tablet")
REGIONS = ("north", "east", "south", "west")
INTENT = 0.3
MOST = 0.9
PRICE_SENSE = 0.15

# The sides of the moment, in log odds for gifts.
BY_DEVICE: F8 = np.array([0.9, -0.9, 0.0])
BY_REGION: F8 = np.array([-0.3, 0.0, 0.3, 0.0])
EVENING, DAY = 0.6, -0.6
EVENING_FROM = 17  # until midnight

CART = 0.25  # of those who clicked
BUY = 0.4  # of those who put it into the cart
WORTH = 1.0 + CART * (3.0 + BUY * 6.0)  # of a click, carts and purchases that follow included, by the default rewards


@dataclass(frozen=True, slots=True)
class Habits:
    """What a scenario says about its shoppers."""

    n: int = 1_500
    places: int = 8  # of a slate
    attention: float = 0.7  # theta_k = (k + 1) ** -attention
    base: float = 0.1
    taste: float = 1.0  # strength; 0 = everyone likes everything equally
    drift: float = 0.1  # of the taste, standard deviation per day
    moment: float = 0.0  # strength
    patience: float = 0.8  # factor per showing in vain; 1 = never tired

    def theta(self) -> F8:
        """[places] the probability that a place is looked at."""
        theta: F8 = np.power(np.arange(1.0, self.places + 1), -self.attention)
        return theta


class Shoppers:
    """Their state. Tastes are drawn and drift by ``rng``; nothing depends on what they are shown but patience."""

    def __init__(self, rng: np.random.Generator, habits: Habits, shop: Shop) -> None:
        self._rng = rng
        self.habits = habits
        self.shop = shop
        self.theta = habits.theta()
        self._likes: F8 = rng.normal(size=(habits.n, N_CATEGORIES))
        self.tier: F8 = 0.7 * rng.normal(size=habits.n)
        self.device: I4 = rng.choice(len(DEVICES), habits.n, p=[0.55, 0.35, 0.1]).astype(np.int32)
        self.region: I4 = rng.integers(0, len(REGIONS), habits.n, np.int32)
        self.vain: F4 = np.zeros((habits.n, len(shop)), np.float32)  # showings without a click, fading
        self.weights: F8 = self._weighted()

    def _weighted(self) -> F8:
        """[n, categories] tastes with mean 1."""
        raised = np.exp(self.habits.taste * self._likes)
        weights: F8 = raised / raised.mean(axis=1, keepdims=True)
        return weights

    def next_day(self) -> None:
        """Tastes drift, annoyance fades."""
        step = self.habits.drift
        self._likes = self._likes * np.sqrt(1 - step**2) + step * self._rng.normal(size=self._likes.shape)
        self.weights = self._weighted()
        self.vain *= 0.5

    def lean(self, device: I4, hour: I4, region: I4) -> F8:
        """Log odds of gifts against tools at these moments (arrays of equal length)."""
        by_hour = np.where(hour >= EVENING_FROM, EVENING, DAY)
        return self.habits.moment * (BY_DEVICE[device] + by_hour + BY_REGION[region])

    def arms(self, lean: F8) -> F8:
        """[v, 2] expected reward of a full slate of gifts and of tools, where nothing but the moment counts."""
        half = lean[:, None] * np.array([0.5, -0.5])
        value: F8 = WORTH * self.theta.sum() * np.minimum(MOST, self.habits.base * np.exp(half))
        return value

    def appeal(self, who: int, intent: int, lean: float, items: I4 | I8) -> F8:
        """Chance that ``who`` clicks each of ``items`` once looked at."""
        shop, habits = self.shop, self.habits
        chance: F8 = habits.base * shop.quality[items] * np.exp(lean * (0.5 - shop.kind[items]))
        if habits.taste > 0:
            category = shop.category[items]
            chance *= (1 - INTENT) * self.weights[who, category] + INTENT * N_CATEGORIES * (category == intent)
            chance *= np.exp(-PRICE_SENSE * habits.taste * (shop.tier[items] - self.tier[who]) ** 2)
        if habits.patience < 1:
            chance *= habits.patience ** self.vain[who, items]
        return np.minimum(MOST, chance)

    def reward(self, appeal: F8) -> float:
        """Expected reward of a slate whose items have this appeal, in order."""
        return WORTH * float(self.theta[: appeal.shape[0]] @ appeal)
