"""The catalogue: what is sold, as columns for kernels and packed records for people.

Idea: the ranker, the filters and the guard ask the same few questions about every item (may it be shown, what leaf
category, what brand, what price), so those answers are flat arrays by dense item id. The whole record is kept beside
them as packed msgpack bytes in one pool and decoded only when somebody asks for it.

Layout, one row per item: ``sellable`` U1, ``listed`` U1 (0 known only from events, 1 listed, 2 deleted), ``adult`` U1,
``category`` I4 (leaf), ``top_category`` I4, ``brand`` I4, ``group`` I4 (all -1 = none), ``log_price`` F4 (NaN =
unknown), ``first_seen_s`` U4 (0 = never), ``published_ms``/``expires_ms`` I8 (0 = none), and the place of its record in
``pool``. One row per category: ``category_parent``, ``category_top``, and the count, sum and sum of squares of the log
prices of its items. Every prefix of a category path is a category of its own, so "Kitchen" and "Kitchen > Mugs" can
both be named.

Deleting keeps the row's category, brand and price: the taste of those who looked at the item stays meaningful; only
``sellable`` and the record go. An item known only from events is sellable unless ``sell_unlisted`` says otherwise.

Cost: ``put`` ~10 us; ``seen`` one pass over the batch. Memory: 60 bytes an item plus its packed
record; replaced records leave holes that are closed when they outweigh the rest.

Not for: several prices or stocks of one item by store; use ``attributes`` and a filter for that.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import msgspec
import numpy as np
from numba import njit
from numpy.typing import NDArray

from endcap.blocks import grown
from endcap.config import CatalogueConfig
from endcap.features.fields import MAX_LEVELS, PATH_SEPARATOR, Column, FieldColumns
from endcap.types import F4, F8, I4, I8, U1, U4, Arrays, Item

BUYABLE = frozenset({"in_stock", "preorder", "backorder"})
UNLISTED, LISTED, DELETED = 0, 1, 2
CHANGES_KEPT = 8192  # item changes that caches can catch up on; older caches rebuild
POOL_SLACK = 1 << 20  # holes in the record pool are tolerated up to this many bytes or the live size
LARGEST = 2**53  # beyond it JSON numbers lose their last digits
PRICE_SD_FLOOR = 0.2  # log units; keeps a category of near-equal prices from making every other one extreme

# Per-item columns with the value a row has before anything is known. What a request reads of a candidate stands in one
# table (the public arrays are views of it): a random item costs one or two cache misses, not eleven.
COLUMNS: dict[str, tuple[type, float]] = {
    "published_ms": (np.int64, 0),
    "expires_ms": (np.int64, 0),
    "category": (np.int32, -1),
    "top_category": (np.int32, -1),
    "brand": (np.int32, -1),
    "group": (np.int32, -1),
    "log_price": (np.float32, math.nan),
    "first_seen_s": (np.uint32, 0),
    "sellable": (np.uint8, 1),
    "listed": (np.uint8, UNLISTED),
    "adult": (np.uint8, 0),
}
ROW = np.dtype([(name, dtype) for name, (dtype, _) in COLUMNS.items()], align=True)
RECORD_COLUMNS: dict[str, tuple[type, float]] = {
    "record_start": (np.int64, -1),
    "record_length": (np.int32, 0),
}
CATEGORY_COLUMNS: dict[str, tuple[type, float]] = {
    "category_parent": (np.int32, -1),
    "category_top": (np.int32, -1),
    "price_n": (np.int32, 0),
    "price_sum": (np.float64, 0),
    "price_sq": (np.float64, 0),
}


class Names(Protocol):
    """A dictionary of strings to dense ids in order of first appearance."""

    def intern(self, key: str) -> int: ...
    def get(self, key: str) -> int: ...
    def name(self, i: int, /) -> str: ...
    def __len__(self) -> int: ...
    def arrays(self) -> Arrays: ...
    def load(self, arrays: Arrays) -> None: ...


@njit(cache=True, nogil=True)
def first_seen(items: I4, ts: I8, first_seen_s: U4) -> None:
    """The first event in log order that names an item dates it."""
    for k in range(items.shape[0]):
        item = items[k]
        if item >= 0 and first_seen_s[item] == 0:
            first_seen_s[item] = max(1, ts[k] // 1000)


@njit(cache=True, nogil=True)
def on_sale(items: I4, t_ms: int, sellable: U1, published_ms: I8, expires_ms: I8, out: U1) -> None:
    """out[k] = 1 if items[k] may be shown at ``t_ms``: sellable, published, not expired."""
    for k in range(items.shape[0]):
        i = items[k]
        out[k] = (
            sellable[i] != 0
            and (published_ms[i] == 0 or published_ms[i] <= t_ms)
            and (expires_ms[i] == 0 or t_ms < expires_ms[i])
        )


def within_64_bits(record: Item) -> Item:
    """The record without whole numbers that no column can hold: what is in the log must always fold."""
    beyond = [
        name
        for name in ("stock_qty", "rating_count", "published_at", "expires_at", "updated_at")
        if not -LARGEST <= (getattr(record, name) or 0) <= LARGEST
    ]
    return msgspec.structs.replace(record, **dict.fromkeys(beyond)) if beyond else record


class Catalogue:
    """Items by dense id. Arrays are public: kernels take them by name. Names of rows come from ``items``."""

    sellable: U1
    listed: U1
    adult: U1
    category: I4
    top_category: I4
    brand: I4
    group: I4
    log_price: F4
    first_seen_s: U4
    published_ms: I8
    expires_ms: I8
    record_start: I8
    record_length: I4
    category_parent: I4
    category_top: I4
    price_n: I4
    price_sum: F8
    price_sq: F8

    def __init__(self, items: Names, config: CatalogueConfig | None = None) -> None:
        """``items``: the dictionary of item ids, shared with whoever interns them."""
        self.items = items
        # Categories, brands and groups are dictionaries of the same kind; that class lives in another room.
        make: Any = type(items)
        self.categories: Names = make()
        self.brands: Names = make()
        self.groups: Names = make()
        sell_unlisted = (config or CatalogueConfig()).sell_unlisted
        fills = {name: fill for name, (_, fill) in COLUMNS.items()} | {"sellable": int(sell_unlisted)}
        self._unknown = np.array(tuple(fills.values()), ROW)
        self._hold(np.full(0, self._unknown))
        for name, (dtype, fill) in (RECORD_COLUMNS | CATEGORY_COLUMNS).items():
            setattr(self, name, np.full(0, fill, dtype))
        self.pool: U1 = np.zeros(0, np.uint8)
        self._tail = 0
        self._holes = 0
        self.version = 0
        self._changes: I4 = np.zeros(CHANGES_KEPT, np.int32)
        self._oldest_version = 0
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(Item)
        self._fields = FieldColumns(self)

    def grow(self, n_users: int, n_items: int) -> None:
        """Make room for dense item ids below ``n_items``."""
        if n_items > self.sellable.shape[0]:
            self._hold(grown(self._rows, n_items, self._unknown))
            for name, (_, fill) in RECORD_COLUMNS.items():
                setattr(self, name, grown(getattr(self, name), n_items, fill))

    def _hold(self, rows: NDArray[Any]) -> None:
        self._rows = rows
        for name in COLUMNS:
            setattr(self, name, rows[name])

    # ---------------------------------------------------------------- writing

    def seen(self, items: I4, ts: I8) -> None:
        """Note items named by events: ``items`` [n] dense ids (-1 skipped), ``ts`` [n] epoch ms."""
        first_seen(items, ts, self.first_seen_s)

    def put(self, item: int, record: Item | None, ts: int) -> None:
        """The catalogue changed at ``ts`` (epoch ms): ``record`` replaces what was known, None deletes the item."""
        self.grow(0, item + 1)
        self._changes[self.version % CHANGES_KEPT] = item
        self.version += 1
        if self.first_seen_s[item] == 0:
            self.first_seen_s[item] = max(1, ts // 1000)
        self._drop_record(item)
        if record is None:
            self.sellable[item] = 0
            self.listed[item] = DELETED
            return
        known = within_64_bits(record)
        self._store_record(item, self._encoder.encode(known))
        self._put_columns(item, known)

    def _put_columns(self, item: int, record: Item) -> None:
        stocked = record.stock_qty is None or record.stock_qty > 0 or record.availability != "in_stock"
        self.sellable[item] = not record.hidden and record.availability in BUYABLE and stocked
        self.listed[item] = LISTED
        self.adult[item] = record.adult
        self.published_ms[item] = record.published_at or 0
        self.expires_ms[item] = record.expires_at or 0
        self.brand[item] = self.brands.intern(record.brand) if record.brand else -1
        self.group[item] = self.groups.intern(record.group_id) if record.group_id else -1
        self._count_price(item, -1)
        leaves = [self._intern_path(path) for path in record.categories if path]
        self.category[item] = leaves[0] if leaves else -1
        self.top_category[item] = self.category_top[leaves[0]] if leaves else -1
        price = record.price
        self.log_price[item] = math.log(price) if price and price > 0 and math.isfinite(price) else math.nan
        self._count_price(item, 1)

    def _intern_path(self, path: list[str]) -> int:
        """The dense id of a category path; every prefix becomes a category too."""
        parent = top = -1
        for end in range(1, 1 + min(len(path), MAX_LEVELS)):
            category = self.categories.intern(PATH_SEPARATOR.join(path[:end]))
            if category >= self.category_parent.shape[0]:
                for name, (_, fill) in CATEGORY_COLUMNS.items():
                    setattr(self, name, grown(getattr(self, name), category + 1, fill))
            top = category if end == 1 else top
            self.category_parent[category] = parent
            self.category_top[category] = top
            parent = category
        return parent

    def _count_price(self, item: int, sign: int) -> None:
        """Add the item's log price to its leaf category's statistics, or take it out again."""
        category, log_price = self.category[item], float(self.log_price[item])
        if category >= 0 and not math.isnan(log_price):
            self.price_n[category] += sign
            self.price_sum[category] += sign * log_price
            self.price_sq[category] += sign * log_price * log_price

    def _store_record(self, item: int, packed: bytes) -> None:
        end = self._tail + len(packed)
        if end > self.pool.shape[0]:
            self.pool = grown(self.pool, end, 0)
        self.pool[self._tail : end] = np.frombuffer(packed, np.uint8)
        self.record_start[item] = self._tail
        self.record_length[item] = len(packed)
        self._tail = end

    def _drop_record(self, item: int) -> None:
        self._holes += int(self.record_length[item])
        self.record_start[item] = -1
        self.record_length[item] = 0
        if self._holes > max(POOL_SLACK, self._tail - self._holes):
            self._close_holes()

    def _close_holes(self) -> None:
        """Move the live records together, in order of item, so that the pool is again as large as what it holds."""
        pool = np.zeros(max(1024, self._tail - self._holes), np.uint8)
        tail = 0
        for item in np.flatnonzero(self.record_start >= 0):
            start, length = int(self.record_start[item]), int(self.record_length[item])
            pool[tail : tail + length] = self.pool[start : start + length]
            self.record_start[item] = tail
            tail += length
        self.pool, self._tail, self._holes = pool, tail, 0

    # ---------------------------------------------------------------- reading

    def packed(self, item: int) -> bytes | None:
        """The item's record as msgpack bytes, or None when it was never listed or is deleted."""
        if item < 0 or item >= self.record_start.shape[0] or self.record_start[item] < 0:
            return None
        start = int(self.record_start[item])
        return self.pool[start : start + int(self.record_length[item])].tobytes()

    def record(self, item: int) -> Item | None:
        """The item as the shop sent it, or None when it was never listed or is deleted."""
        packed = self.packed(item)
        return None if packed is None else self._decoder.decode(packed)

    def is_there(self, item: int) -> bool:
        """Whether a dense id was met and is not deleted."""
        return 0 <= item < len(self.items) and not (item < self.listed.shape[0] and self.listed[item] == DELETED)

    def available(self, items: I4, t_ms: int) -> U1:
        """1 where the item may be shown at ``t_ms`` (epoch ms); one entry per entry of ``items`` [n]."""
        out = np.empty(items.shape[0], np.uint8)
        on_sale(items, t_ms, self.sellable, self.published_ms, self.expires_ms, out)
        return out

    def price_z(self, items: I4) -> F4:
        """Log price against the item's leaf category, in standard deviations; NaN when price or category is unknown."""
        category = self.category[items]
        known = np.maximum(category, 0)
        if len(self.categories) == 0:
            return np.full(items.shape[0], np.nan, np.float32)
        n = np.maximum(self.price_n[known], 1)
        mean = self.price_sum[known] / n
        sd = np.sqrt(np.maximum(self.price_sq[known] / n - mean * mean, 0.0))
        z = (self.log_price[items] - mean) / (sd + PRICE_SD_FLOOR)
        return np.where(category >= 0, z, np.nan).astype(np.float32)

    def category_path(self, category: int) -> list[str]:
        """The parts of a category's path, general to specific."""
        return self.categories.name(category).split(PATH_SEPARATOR)

    def tagged(self, tag: str, name: str) -> I4:
        """Items of a leaf category (its path joined by " > "), of a brand, or the one of an id; none when unknown."""
        if tag == "item":
            item = self.items.get(name)
            return np.array([item] if item >= 0 else [], np.int32)
        if tag == "brand":
            column, wanted = self.brand, [self.brands.get(name)]
        else:  # a part may hold " > " itself, so paths are compared as they are shown
            column, every = self.category, range(len(self.categories))
            wanted = [one for one in every if " > ".join(self.category_path(one)) == name]
        return np.flatnonzero(np.isin(column, wanted) & (column >= 0)).astype(np.int32)

    def n_items(self) -> int:
        """Dense item ids known so far."""
        return len(self.items)

    def item_of(self, item_id: str) -> int:
        """The dense id of an item id, -1 when unknown."""
        return self.items.get(item_id)

    def column(self, field: str) -> Column:
        """The distinct values of one field and each item's place among them, current to the last change.

        The first call for a field reads every record (~1 us each); later calls read only what changed.
        ``field``: a field of ``Item``, or ``attributes.NAME`` for a shop's own. KeyError for any other.
        """
        return self._fields.column(field)

    def changed_since(self, version: int) -> I4 | None:
        """Items changed after ``version``, with repeats; None when that is too long ago to tell."""
        if version < max(self._oldest_version, self.version - CHANGES_KEPT):
            return None
        return self._changes[np.arange(version, self.version) % CHANGES_KEPT]

    # ---------------------------------------------------------------- snapshots

    def arrays(self, n_users: int, n_items: int) -> Arrays:
        """The state: per-item columns [n_items], per-category columns, the record pool, three dictionaries."""
        self.grow(0, n_items)
        n_categories = len(self.categories)
        state: Arrays = {name: getattr(self, name)[:n_items] for name in (*COLUMNS, *RECORD_COLUMNS)}
        state |= {name: getattr(self, name)[:n_categories] for name in CATEGORY_COLUMNS}
        state["pool"] = self.pool[: self._tail]
        state["counts"] = np.array([self._holes, self.version], np.int64)
        for prefix, names in self._dictionaries().items():
            state |= {f"{prefix}.{key}": array for key, array in names.arrays().items()}
        return state

    def load(self, arrays: Arrays) -> None:
        """The inverse of ``arrays``."""
        rows = np.zeros(arrays["sellable"].shape[0], ROW)
        for name in COLUMNS:
            rows[name] = arrays[name]
        self._hold(rows)
        for name in (*RECORD_COLUMNS, *CATEGORY_COLUMNS, "pool"):
            setattr(self, name, np.array(arrays[name]))
        self._tail = self.pool.shape[0]
        self._holes, self.version = (int(x) for x in arrays["counts"])
        self._oldest_version = self.version
        for prefix, names in self._dictionaries().items():
            mark = f"{prefix}."
            names.load({key[len(mark) :]: array for key, array in arrays.items() if key.startswith(mark)})
        self._fields = FieldColumns(self)

    def _dictionaries(self) -> dict[str, Names]:
        return {"categories": self.categories, "brands": self.brands, "groups": self.groups}
