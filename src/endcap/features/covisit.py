"""Co-visitation: which items go together, in four senses, counted live.

Idea: each pair of the trail (an earlier item a, a later item b of one shopper) is a vote. Per item a bounded list of
neighbours holds one row of four channels, so a pair costs one lookup per direction for all of them:

* ``VIEW_VIEW`` both ways, 2^-(gap / pair half-life): touched close in time. Any two positive actions count. Where the
  clock says nothing, between the lines of one order, the place does: 2 / (1 + steps apart).
* ``NEXT`` a -> b, 1: b directly followed a within a session. Lines of an order count in the order in which they came:
  baskets are filled shelf by shelf, and where the order means nothing the counts are merely thin.
* ``TO_BUY`` a -> b: a was looked at, then b was bought. A carted a counts 1, a viewed one decays like VIEW_VIEW.
* ``BUY_BUY`` both ways, 1: both bought within ``buy_window_d``.

Votes fade with age (half-life ``age_half_life_d``), on touch and on read, never by a timer: a weight is worth
``weight * 2^-((t - at_s) / half-life)``. Reference times are multiples of ``QUANTUM_S``, so the decay factors come from
a small table and a touch of a neighbour from the same day costs no exponential. Beside the pairs, ``mass`` counts how
often an item took part in each channel as the first or only one: views and other positive actions, positive actions,
actions that may lead to a purchase, purchases. Readers divide by it: cosine (Sarwar et al. 2001) or conditional
probability (Deshpande & Karypis 2004). Counts are of events while pairs are deduplicated, so a ratio may exceed 1.

A full list keeps its strongest: a newcomer replaces the neighbour of the least faded total (buying counts six times)
if it weighs as much, else it is turned away. As all totals of a list fade alike and votes only add, the least total of
the last scan, faded, stays a lower bound: ``floor`` remembers it, so most newcomers are turned away unscanned.

Layout: ``blocks`` by item, pools ``other`` int32, ``weight`` float32 [4], ``at_s`` uint32. Cost: 24 bytes per neighbour
held, 60 per item; per pair two scans of at most ``neighbours`` ids. Late pairs are added at their own, smaller worth,
so no factor ever exceeds the one of a single quantum.

When not to use it: alone for items that nobody touched yet (content does that), or for next-item prediction on long
sequences, where session-kNN and neural models see more than pairs.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from endcap.batches import UNCLEAN, EventBatch
from endcap.blocks import Blocks, grown, take
from endcap.config import CovisitConfig
from endcap.features.histories import Trail
from endcap.types import ACTION_CODE, ACTION_GROUP, ACTION_WEIGHT, F4, F8, I1, I2, I4, I8, SEEN, U1, U4, WANTED, Arrays

VIEW_VIEW, NEXT, TO_BUY, BUY_BUY = 0, 1, 2, 3
N_CHANNELS = 4
PURCHASE = ACTION_CODE["purchase"]
BUYING = 6.0  # a vote of a buying channel in a neighbour's total
QUANTUM_S = 65_536  # reference times are multiples of this: about 18 hours
NEGLIGIBLE = 2.0**-10  # a closeness below this is no vote
MARGIN = 0.9999  # float32 rounding lowers a total by less than this, so the floor stays a lower bound
SESSION_S = 1_800  # NEXT: a longer pause is another session
LN2 = math.log(2.0)
N_FACTORS = 1024

# Small kernels are pasted into the loop over pairs: passing a dozen arrays costs as much as the work (120 -> 88
# ns per vote, measured).


@njit(cache=True, nogil=True, inline="always")
def fade(factors: F8, newer_s: int, older_s: int) -> float:
    """The decay factor between two reference times."""
    quanta = (newer_s - older_s) // QUANTUM_S
    return float(factors[quanta]) if quanta < N_FACTORS else 0.0


@njit(cache=True, nogil=True, inline="always")
def total(v: float, n: float, t: float, b: float) -> float:
    """What a neighbour is worth when places are scarce."""
    return BUYING * t + BUYING * b + v + n  # in this order all sums are of float64, whatever comes in


@njit(cache=True, nogil=True, inline="always")
def find(b: int, row: I4) -> int:
    """The place of ``b`` in ``row``, -1 when absent. No early way out: a maximum over int32 becomes vector code."""
    wanted, found = np.int32(b), np.int32(-1)
    for k in range(np.int32(row.shape[0])):
        found = max(found, np.int32(k) if row[k] == wanted else np.int32(-1))
    return int(found)


@njit(cache=True, nogil=True, inline="always")
def is_below(worth: float, ref_s: int, least: float, least_s: int, factors: F8) -> bool:
    """Whether a total as of ``ref_s`` is less than one as of ``least_s``."""
    if ref_s >= least_s:
        return worth < least * fade(factors, ref_s, least_s)
    return worth * fade(factors, least_s, ref_s) < least


@njit(cache=True, nogil=True)
def weakest(base: int, n: int, ref_s: int, weight: F4, at_s: U4, factors: F8) -> tuple[int, float]:
    """The neighbour of the least faded total (the first of equals), and that total at ``ref_s``."""
    least, where = np.inf, base
    newest = ref_s
    for k in range(base, base + n):
        newest = max(newest, int(np.int64(at_s[k])))
    for k in range(base, base + n):
        worth = total(weight[k, 0], weight[k, 1], weight[k, 2], weight[k, 3])
        worth *= fade(factors, newest, int(np.int64(at_s[k])))
        if worth < least:
            least, where = worth, k
    back = fade(factors, newest, ref_s)
    return where, least / back if back > 0.0 else np.inf


@njit(cache=True, nogil=True, inline="always")
def add(k: int, v: float, n: float, t: float, w: float, ref_s: int, weight: F4, at_s: U4, factors: F8) -> None:
    """Add votes, worth their values at ``ref_s``, to the row at pool place ``k``."""
    was_s = int(np.int64(at_s[k]))
    factor = 1.0
    if was_s < ref_s:
        faded = fade(factors, ref_s, was_s)
        for c in range(N_CHANNELS):
            weight[k, c] *= faded
        at_s[k] = ref_s
    elif was_s > ref_s:
        factor = fade(factors, was_s, ref_s)
    weight[k, VIEW_VIEW] += v * factor
    weight[k, NEXT] += n * factor
    weight[k, TO_BUY] += t * factor
    weight[k, BUY_BUY] += w * factor


@njit(cache=True, nogil=True)
def widen(
    a: int, start: I8, length: I4, cap: I4, tail: I8, free: I8, n_free: I8, other: I4, weight: F4, at_s: U4
) -> None:
    """Move the list of ``a`` to a block of twice the size. The caller has made sure that the pool has one."""
    base, fresh = start[a], take(start, cap, a, tail, free, n_free, other.shape[0])
    for k in range(length[a]):
        other[fresh + k] = other[base + k]
        at_s[fresh + k] = at_s[base + k]
        for c in range(N_CHANNELS):
            weight[fresh + k, c] = weight[base + k, c]
    start[a] = fresh


@njit(cache=True, nogil=True, inline="always")
def vote(
    a: int, b: int, v: float, n: float, t: float, w: float, ref_s: int,
    start: I8, length: I4, cap: I4, tail: I8, free: I8, n_free: I8, max_cap: int,
    other: I4, weight: F4, at_s: U4, floor: F8, factors: F8,
) -> None:  # fmt: skip
    """Add votes, worth their values at ``ref_s``, to neighbour ``b`` of ``a``; a new one may find no place."""
    base, held = start[a], length[a]
    k = find(b, other[base : base + held])
    if k >= 0:
        add(base + k, v, n, t, w, ref_s, weight, at_s, factors)
        return
    if held < max_cap:
        if held == cap[a]:
            widen(a, start, length, cap, tail, free, n_free, other, weight, at_s)
        place = start[a] + held
        length[a] = held + 1
    else:
        worth = total(v, n, t, w)
        if is_below(worth, ref_s, floor[a, 0], int(floor[a, 1]), factors):
            return
        place, least = weakest(base, held, ref_s, weight, at_s, factors)
        if least < np.inf:
            floor[a, 0], floor[a, 1] = least * MARGIN, ref_s
        if worth < least:
            return
    other[place] = b
    at_s[place] = ref_s
    weight[place, VIEW_VIEW] = v
    weight[place, NEXT] = n
    weight[place, TO_BUY] = t
    weight[place, BUY_BUY] = w


@njit(cache=True, nogil=True)
def fold_mass(
    ts: I8, user: I4, item: I4, action: I1, flags: U1, mass: F4, mass_at_s: U4, factors: F8, half_life: float
) -> None:
    """Count the batch's positive interactions per item and channel."""
    for e in range(ts.shape[0]):
        code, i = action[e], item[e]
        if user[e] < 0 or i < 0 or ACTION_WEIGHT[code] <= 0 or flags[e] & UNCLEAN:
            continue
        at_s = ts[e] // 1000
        ref_s = at_s // QUANTUM_S * QUANTUM_S
        unit = math.exp(LN2 * (at_s - ref_s) / half_life)
        bought = code == PURCHASE
        leads = ACTION_GROUP[code] == SEEN or ACTION_GROUP[code] == WANTED
        add(i, unit, unit, unit if leads else 0.0, unit if bought else 0.0, ref_s, mass, mass_at_s, factors)


@njit(cache=True, nogil=True)
def fold(
    begin: int, earlier: I4, later: I4, gap_s: I4, distance: I2, earlier_action: I1, later_action: I1, trail_s: U4,
    start: I8, length: I4, cap: I4, tail: I8, free: I8, n_free: I8, max_cap: int,
    other: I4, weight: F4, at_s: U4, floor: F8, factors: F8, scales: F8,
) -> int:  # fmt: skip
    """Fold the trail from pair ``begin`` on. Gives the pair at which the pool was full, else the number of pairs."""
    pair_half_life, half_life, buy_window = scales[0], scales[1], scales[2]
    when, ref_s, unit = -1, 0, 1.0
    for p in range(begin, earlier.shape[0]):
        if tail[0] + 2 * max_cap > other.shape[0]:
            return p
        a, b, gap = earlier[p], later[p], gap_s[p]
        bought = later_action[p] == PURCHASE
        both = bought and earlier_action[p] == PURCHASE
        close = math.exp(-LN2 * gap / pair_half_life) if gap > 0 else 2.0 / (1.0 + distance[p])
        if trail_s[p] != when:  # the pairs of one interaction stand together
            when = int(np.int64(trail_s[p]))
            ref_s = when // QUANTUM_S * QUANTUM_S
            unit = math.exp(LN2 * (when - ref_s) / half_life)  # one vote now, as of ref_s
        v = unit * close if close >= NEGLIGIBLE else 0.0
        n = unit if distance[p] == 1 and gap <= SESSION_S else 0.0
        t = 0.0
        if bought and not both:
            t = unit if ACTION_GROUP[earlier_action[p]] == WANTED else v
        w = unit if both and gap <= buy_window else 0.0
        if v + n + t + w > 0.0:
            vote(
                a, b, v, n, t, w, ref_s, start, length, cap, tail, free, n_free, max_cap,
                other, weight, at_s, floor, factors,
            )  # fmt: skip
        if v + w > 0.0:
            vote(
                b, a, v, 0.0, 0.0, w, ref_s, start, length, cap, tail, free, n_free, max_cap,
                other, weight, at_s, floor, factors,
            )  # fmt: skip
    return int(earlier.shape[0])


class Covisit:
    """Neighbour lists of all items."""

    __slots__ = (
        "_factors",
        "_floor",
        "_scales",
        "at_s",
        "blocks",
        "half_life_s",
        "mass",
        "mass_at_s",
        "other",
        "weight",
    )

    def __init__(self, config: CovisitConfig) -> None:
        self.half_life_s = config.age_half_life_d * 86_400
        self._scales: F8 = np.array(
            [config.pair_half_life_s, self.half_life_s, config.buy_window_d * 86_400], np.float64
        )
        self._factors: F8 = np.exp2(-np.arange(N_FACTORS) * (QUANTUM_S / self.half_life_s))
        self.blocks = Blocks(config.neighbours)
        self.other: I4 = np.zeros(1024, np.int32)
        self.weight: F4 = np.zeros((1024, N_CHANNELS), np.float32)
        self.at_s: U4 = np.zeros(1024, np.uint32)
        self.mass: F4 = np.zeros((0, N_CHANNELS), np.float32)
        self.mass_at_s: U4 = np.zeros(0, np.uint32)
        self._floor: F8 = np.zeros((0, 2))  # least total, its reference time

    def fold(self, batch: EventBatch, trail: Trail) -> None:
        """Learn from a clean batch and the trail that ``Histories`` made of it."""
        fold_mass(
            batch.ts, batch.user, batch.item, batch.action, batch.flags,
            self.mass, self.mass_at_s, self._factors, self.half_life_s,
        )  # fmt: skip
        at, n, blocks = 0, len(trail), self.blocks
        while at < n:
            at = fold(
                at, trail.earlier, trail.later, trail.gap_s, trail.distance, trail.earlier_action, trail.later_action,
                trail.at_s, blocks.start, blocks.length, blocks.cap, blocks.tail, blocks.free, blocks.n_free,
                blocks.max_cap, self.other, self.weight, self.at_s, self._floor, self._factors, self._scales,
            )  # fmt: skip
            if at < n:
                room = self.other.shape[0] + 2 * blocks.max_cap
                self.other, self.at_s = grown(self.other, room, 0), grown(self.at_s, room, 0)
                self.weight = grown(self.weight, room, 0)

    def grow(self, _n_users: int, n_items: int) -> None:
        """Make room for dense ids below these."""
        self.blocks.grow(n_items)
        self.mass = grown(self.mass, n_items, 0)
        self.mass_at_s = grown(self.mass_at_s, n_items, 0)
        self._floor = grown(self._floor, n_items, 0)

    def arrays(self, _n_users: int, n_items: int) -> Arrays:
        """The state as named arrays."""
        used = int(self.blocks.tail[0])
        return {
            **self.blocks.arrays(n_items),
            "other": self.other[:used],
            "weight": self.weight[:used],
            "at_s": self.at_s[:used],
            "mass": self.mass[:n_items],
            "mass_at_s": self.mass_at_s[:n_items],
            "floor": self._floor[:n_items],
        }

    def load(self, arrays: Arrays) -> None:
        """The inverse of ``arrays``."""
        self.blocks.load(arrays)
        self.other = np.array(arrays["other"], np.int32)
        self.weight = np.array(arrays["weight"], np.float32)
        self.at_s = np.array(arrays["at_s"], np.uint32)
        self.mass = np.array(arrays["mass"], np.float32)
        self.mass_at_s = np.array(arrays["mass_at_s"], np.uint32)
        self._floor = np.array(arrays["floor"], np.float64)
