"""What a run shows, as figures: how a share moves, how soon something was learned again, which places are looked at."""

from __future__ import annotations

import numpy as np

from endcap.evaluation.beyond import gini
from endcap.simulator.shop import Shop
from endcap.simulator.world import Record
from endcap.types import F8, I4, I8


def blocks(values: F8, against: F8, size: int) -> list[float]:
    """Sum of ``values`` over sum of ``against``, block by block of ``size`` page views; a short rest is left out."""
    n = values.shape[0] // size * size
    top = values[:n].reshape(-1, size).sum(axis=1)
    share: list[float] = (top / against[:n].reshape(-1, size).sum(axis=1)).tolist()
    return share


def relearned(share: F8, at: int, level: float, window: int) -> int:
    """Page views after ``at`` until the mean of the last ``window`` of them reaches ``level``; -1 = never."""
    total = np.concatenate([[0.0], share[at:].cumsum()])
    mean = (total[window:] - total[:-window]) / window
    reached = np.flatnonzero(mean >= level)
    return window + int(reached[0]) if reached.size else -1


def looked_at(shown: I8, clicks: I8, rounds: int = 500) -> F8:
    """[places] probability that a place is looked at, the first = 1, from counts by (rank, place).

    The position-based model says clicks = shown x theta[place] x appeal[rank]. Its maximum of likelihood for Poisson
    counts is found by turns: each side is its clicks over what the other side lets expect. A place without clicks, or
    that shares no rank with the first place, not even through other places, is NaN: nothing can be said of it.
    """
    theta = np.ones(shown.shape[1])
    for _ in range(rounds):
        appeal = clicks.sum(axis=1) / np.maximum(shown @ theta, 1e-12)
        theta = clicks.sum(axis=0) / np.maximum(appeal @ shown, 1e-12)
        theta /= theta[0] if theta[0] > 0 else 1.0
    meet = (shown.T @ shown > 0).astype(np.int64)  # places that held items of one rank
    joined = np.linalg.matrix_power(meet, shown.shape[1])[0] > 0
    return np.where(joined & (clicks.sum(axis=0) > 0), theta, np.nan)


def by_rank_and_place(record: Record) -> tuple[I8, I8]:
    """(shown, clicks) [places, places] counts of the items that the scores alone would have placed too."""
    places = record.items.shape[1]
    held = (record.ranks >= 0) & (record.ranks < places) & (record.items >= 0)
    cell = (record.ranks.astype(np.int64) * places + np.arange(places))[held]
    shown = np.bincount(cell, minlength=places**2).reshape(places, places)
    clicks = np.bincount(cell[record.clicked[held] > 0], minlength=places**2).reshape(places, places)
    return shown, clicks


def exposure(record: Record, items: I4, begin: int, end: int) -> I8:
    """How often ``items`` [v, places] hold each item on sale by the end of day ``end``, from day ``begin`` on."""
    days = record.day
    held = items[(days >= begin) & (days <= end)]
    counts = np.bincount(held[held >= 0], minlength=record.on_sale[end])
    return counts[: record.on_sale[end]].astype(np.int64)


def concentration(record: Record, begin: int, end: int, *, best: bool = False) -> dict[str, float]:
    """How evenly these days' places were spread over items, and what the slates were worth to the shoppers.

    ``best``: of the slates of one who knows what is true instead of those that were shown.
    """
    counts = np.sort(exposure(record, record.best if best else record.items, begin, end))
    days = record.day
    within = (days >= begin) & (days <= end)
    reward = record.most if best else record.reward
    top = max(1, round(counts.shape[0] / 100))
    return {
        "gini": gini(counts),
        "coverage": float((counts > 0).mean()),
        "top_1_percent": float(counts[-top:].sum() / max(1, counts.sum())),
        "true_reward": float(reward[within].mean()),
        "share_of_the_oracle": float(reward[within].sum() / record.most[within].sum()),
    }


def tried(record: Record) -> float:
    """Share of the places that hold something else than the scores alone would have put there."""
    held = record.items >= 0
    places: I4 = np.arange(record.items.shape[1], dtype=np.int32)
    return float((record.ranks != places)[held].mean())


def clicks_on_new(record: Record, shop: Shop, shown: int = 50) -> tuple[int, float]:
    """Clicks on items that arrived during the run, and the share of them that was shown at least ``shown`` times."""
    new = shop.arrives_ms > 0
    held = record.items >= 0
    clicks = int(record.clicked[held][new[record.items[held]]].sum())
    counts = np.bincount(record.items[held], minlength=len(shop))
    return clicks, float((counts[new] >= shown).mean()) if new.any() else 0.0
