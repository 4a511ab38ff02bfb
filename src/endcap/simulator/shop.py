"""The shop: what is sold, since when, for how much, and how many are left.

Twelve categories in two kinds, "Gifts" and "Tools". Some items are on the shelf from the start, the others arrive at
an even pace. A part of them is scarce: it sells out and comes back after a few days.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from endcap.types import F8, I4, I8, Item

KINDS = ("Gifts", "Tools")
CATEGORIES = (
    ("Candles", "Cards", "Chocolate", "Jewellery", "Toys", "Vases"),
    ("Brushes", "Drills", "Hammers", "Ladders", "Lamps", "Saws"),
)  # by kind
N_CATEGORIES = sum(map(len, CATEGORIES))
BRANDS = ("Alder", "Birch", "Cedar", "Dogwood", "Elm", "Fir", "Ginkgo", "Hazel", "Ivy", "Juniper", "Larch", "Maple")
PLENTY = 1_000_000_000
DAY_MS = 86_400_000


class Shop:
    """The catalogue as arrays by item, and its stock.

    ``n_start`` items are on sale at ``start_ms``; ``n_later`` more arrive during ``days`` days, evenly. ``spread`` is
    the standard deviation of the logarithm of an item's own appeal, 0 = all equally good. ``scarce`` is the share of
    items of which few are in stock.
    """

    def __init__(
        self, rng: np.random.Generator, start_ms: int, n_start: int, n_later: int = 0, days: float = 1.0,
        *, spread: float = 0.0, scarce: float = 0.0,
    ) -> None:  # fmt: skip
        n = n_start + n_later
        self.category: I4 = rng.permutation(np.arange(n, dtype=np.int32) % N_CATEGORIES)
        self.kind: I4 = self.category // len(CATEGORIES[0])
        self.brand: I4 = rng.integers(0, len(BRANDS), n, np.int32)
        self.tier: F8 = rng.normal(size=n)  # of price: 0 = middle of its category
        self.price: F8 = np.round(8.0 * (1 + self.category % 6) * np.exp(0.5 * self.tier), 2)
        self.quality: F8 = np.exp(spread * rng.normal(size=n) - spread**2 / 2)  # mean 1
        later = start_ms + (np.arange(1, n_later + 1) / (n_later + 1) * days * DAY_MS).astype(np.int64)
        self.arrives_ms: I8 = np.concatenate([np.zeros(n_start, np.int64), later])
        self.refill: I4 = np.where(rng.random(n) < scarce, rng.integers(3, 12, n), PLENTY).astype(np.int32)
        self.stock = self.refill.copy()
        self.sold: I8 = np.zeros(n, np.int64)
        self.lost = 0  # purchases that came too late
        self._back: dict[int, int] = {}  # item sold out -> when it comes back
        self._next = n_start  # the first item that has not arrived
        self.ids = [f"{self.leaf(k).lower()}-{k}" for k in range(n)]
        self.number = {item_id: k for k, item_id in enumerate(self.ids)}

    def __len__(self) -> int:
        return len(self.ids)

    def leaf(self, k: int) -> str:
        """Name of the item's category."""
        kind, place = divmod(int(self.category[k]), len(CATEGORIES[0]))
        return CATEGORIES[kind][place]

    @property
    def on_sale(self) -> I4:
        """Items that have arrived and are not sold out."""
        return np.flatnonzero(self.stock[: self._next] > 0).astype(np.int32)

    @property
    def arrived(self) -> int:
        """How many items have been on sale so far: they are the first of the catalogue."""
        return self._next

    def record(self, k: int) -> Item:
        """The item as the shop sends it."""
        leaf, brand, scarce = self.leaf(k), BRANDS[self.brand[k]], self.refill[k] < PLENTY
        return Item(
            item_id=self.ids[k],
            title=f"{brand} {leaf} no. {k}",
            categories=[[KINDS[self.kind[k]], leaf]],
            brand=brand,
            price=float(self.price[k]),
            currency="EUR",
            availability="in_stock" if self.stock[k] > 0 else "out_of_stock",
            stock_qty=int(self.stock[k]) if scarce else None,
            published_at=int(self.arrives_ms[k]) or None,
        )

    def records(self) -> list[Item]:
        """Everything on the shelf at the start."""
        return [self.record(k) for k in range(self._next)]

    def buy(self, k: int, ts: int, away_ms: int = 4 * DAY_MS) -> bool:
        """Sell one of item ``k``; False when it is sold out. A scarce item comes back ``away_ms`` after the last."""
        if self.stock[k] <= 0:
            self.lost += 1
            return False
        self.sold[k] += 1
        if self.refill[k] < PLENTY:
            self.stock[k] -= 1
            if self.stock[k] == 0:
                self._back[k] = ts + away_ms
        return True

    def changes(self, ts: int, bought: Sequence[int]) -> list[Item]:
        """Records that differ from what was last sent: sold out by ``bought``, back in stock or new at ``ts``."""
        changed = {k for k in bought if self.stock[k] == 0}
        for k in [k for k, due in self._back.items() if due <= ts]:
            del self._back[k]
            self.stock[k] = self.refill[k]
            changed.add(k)
        while self._next < len(self) and self.arrives_ms[self._next] <= ts:
            changed.add(self._next)
            self._next += 1
        return [self.record(k) for k in sorted(changed)]
