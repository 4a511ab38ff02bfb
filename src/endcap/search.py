"""Search: the items that answer words a shopper typed, best first.

    words -> term index (models/term_index.py) -> the guard of slates -> a little popularity and taste -> slate

The answer is a slate, so whoever shows slates can show it: the same items, scores and reasons, and what may be shown is
decided by the same guard: stock, dates, block rules, filters, what the shopper hid. Boost and bury rules hold, pins and
diversity do not: who types asks for something. The placement ``search``, where the settings have one, gives the number
of items, a filter and whether items that were seen are shown; its sources are not asked.

    score = (words + meaning) x (1 + POPULAR x popularity + TASTE x taste)

``meaning`` is there where the shop has the vector set ``text`` of the sentence encoder: cosines with the query's vector
are added to the score of the words (late fusion), so that a query in another language finds something as well.
Popularity and taste are 0 to 1 and so gentle that they order what answers equally well.

Nothing is logged: that somebody searched, and what they were shown, is for the caller to say (``search`` events).
"""

from __future__ import annotations

import threading
import unicodedata

import numpy as np

from endcap.config import PlacementConfig
from endcap.errors import EndcapError, InvalidInput
from endcap.features.affinity import COLUMNS, Affinity
from endcap.features.counters import HALF_LIVES_S
from endcap.models.encoders.active import best
from endcap.models.encoders.text import Sentences
from endcap.models.term_index import Meant, TermIndex
from endcap.policy import Choice
from endcap.recommend import Ask, Recommender
from endcap.slate.guard import fill
from endcap.types import F4, I4, U1, Placed, Query, Reason, Slate

PLACEMENT, TEXT = "search", "text"
PLAIN = PlacementConfig(sources=[], n=20, diversity=0.0)
MOST_CHARS = 256
DEPTH, LEAST_DEPTH = 4, 128  # records looked at for each item wanted, before all of them are
NEAR = 100  # items that the encoder proposes
MEANING = 0.5  # what a cosine of 1 counts beside words
ALIKE = 0.35  # least cosine of an item without a common word
POPULAR, TASTE = 0.1, 0.15
WEEK = 3  # half-life of popularity
DOUBLINGS = 16.0  # popularity of 1
TOLD = 0.08  # smaller parts of a score are no reason
CATEGORY_SHORT, CATEGORY_LONG, BRAND_SHORT, BRAND_LONG = (
    COLUMNS.index(name) for name in ("category_short", "category_long", "brand_short", "brand_long")
)

encoding = threading.Lock()  # one query at a time: the encoder is a single network


def checked(text: str | None) -> str:
    """The text of a query without white space around it. ``InvalidInput`` when it cannot be one."""
    found = (text or "").strip()
    if not found:
        raise InvalidInput("q is empty; expected the words that the shopper typed", field="q")
    if len(found) > MOST_CHARS:
        raise InvalidInput(f"q has {len(found)} characters; expected at most {MOST_CHARS}", field="q")
    odd = next((one for one in found if unicodedata.category(one) in ("Cc", "Cs") and one not in "\t\r\n"), None)
    if odd is not None:
        raise InvalidInput(f"q holds the control character U+{ord(odd):04X}; expected text", field="q")
    return found


def vector_of(recommender: Recommender, text: str) -> F4 | None:
    """The query's unit vector in the set ``text``; None when the sentence encoder is not here or did not make the set.

    It takes some milliseconds, at the first call seconds: nobody should hold a lock for it.
    """
    space = recommender.state.vectors.spaces.get(TEXT)
    if space is None or (space.encoder, space.version) != (Sentences.id, Sentences.version):
        return None
    try:
        with encoding:
            found, refused = best(TEXT).encode([text.encode()])
    except EndcapError:  # the package is not installed here
        return None
    return None if refused else found[0]


def search(
    recommender: Recommender, text: str, query: Query, t_ms: int, request_id: str, vector: F4 | None = None
) -> Slate:
    """The slate for a checked text. ``vector``: from ``vector_of``. Never writes."""
    context, interest = recommender.interest_of(query, t_ms)
    placement = recommender.config.placements.get(PLACEMENT, PLAIN)
    choice, rules = Choice(recommender.policy.varied(PLACEMENT, placement)), recommender.rules.at(PLACEMENT, t_ms)
    n = query.n or placement.n
    ask = Ask(query, placement, n, t_ms, context, interest, rules, recommender.scoring, choice)
    recommender.begin_guard(ask)
    index = recommender.sources.terms
    meant = index.meant(text)
    items, words = found_by_words(recommender, index, meant, n)
    meaning = np.zeros(items.shape[0], np.float32)
    if vector is not None:
        items, words, meaning = joined(recommender, items, words, vector)
    taste = taste_of(recommender, ask, items)
    scores = ((words + meaning) * (1.0 + POPULAR * popularity(recommender, items, t_ms) + taste.sum(axis=1))).astype(
        np.float32
    )
    promoted = np.zeros(items.shape[0], np.uint8)
    rules.scale(items, scores, promoted)

    def compose(may: U1) -> I4:
        return recommender.composer.compose(items, scores, may, n)

    chosen = fill(recommender.guard, items, recommender.guard.allow(items), n, compose)
    parts = Parts(recommender, words, meaning, taste, promoted)
    shown = items[chosen]
    told = zip(
        recommender.state.items.names(shown.tolist()), scores[chosen].tolist(), chosen.tolist(), shown.tolist(),
        index.said(meant, shown), strict=True,
    )  # fmt: skip
    placed = [
        Placed(item_id, score, parts.reasons(row, item, said), parts.sources(row))
        for item_id, score, row, item, said in told
    ]
    return Slate(
        request_id=request_id, items=placed, placement=PLACEMENT, rung="full" if placed else "refuse",
        offset=recommender.state.offset, ts=t_ms, strategy="search" if placed else "none", warmth=interest.warmth,
        session_events=interest.n_session,
        versions={"search": "words" if vector is None else "words+text", "policy": choice.strategy.version},
    )  # fmt: skip


def found_by_words(recommender: Recommender, index: TermIndex, meant: Meant, n: int) -> tuple[I4, F4]:
    """(items, scores): the best by words, enough of which may be shown if there are any."""
    most = max(LEAST_DEPTH, DEPTH * n)
    items, scores = index.search(meant, most)
    if items.shape[0] < most or int(recommender.guard.allow(items).sum()) >= n:
        return items, scores
    items, scores = index.everything(meant)
    may = recommender.guard.allow(items) > 0
    items, scores = items[may], scores[may]
    first = np.argsort(-scores, kind="stable")[:most]
    return items[first], scores[first]


def joined(recommender: Recommender, items: I4, words: F4, vector: F4) -> tuple[I4, F4, F4]:
    """(items, words, meaning): with those that mean alike, and what the meaning of each adds."""
    sets = recommender.state.vectors
    near, cosines = sets.search(TEXT, vector, NEAR)
    new = np.setdiff1d(near[cosines >= ALIKE], items)
    items = np.concatenate((items, new)).astype(np.int32)
    words = np.concatenate((words, np.zeros(new.shape[0], np.float32)))
    meaning, table = np.zeros(items.shape[0], np.float32), sets.table(TEXT)
    if table is not None:
        rows = table.known(items)
        known = np.flatnonzero(rows >= 0)
        meaning[known] = MEANING * np.maximum(table.unit[rows[known]] @ vector, 0.0)
    return items, words, meaning


def popularity(recommender: Recommender, items: I4, t_ms: int) -> F4:
    """0 to 1: the views, carts or purchases of each item in these weeks, in doublings."""
    keys, found = recommender.state.counters.key, np.full(items.shape[0], -np.inf)
    told = items < keys.shape[0]
    found[told] = keys[:, :, WEEK][items[told]].max(axis=1)
    doublings = np.log2(1.0 + np.exp2(np.minimum(found - t_ms / 1000.0 / HALF_LIVES_S[WEEK], DOUBLINGS)))
    shares: F4 = np.minimum(doublings / DOUBLINGS, 1.0).astype(np.float32)
    return shares


def taste_of(recommender: Recommender, ask: Ask, items: I4) -> F4:
    """[n, 2]: what the shopper's liking of the category and of the brand adds, together up to ``TASTE``."""
    found = np.zeros((items.shape[0], len(COLUMNS)), np.float32)
    if not ask.interest.n_seeds or not items.shape[0]:
        return found[:, :2]
    Affinity(recommender.state.catalogue).read(ask.interest, items, found)
    category = np.maximum(found[:, CATEGORY_SHORT], found[:, CATEGORY_LONG])
    brand = np.maximum(found[:, BRAND_SHORT], found[:, BRAND_LONG])
    both: F4 = TASTE / 2.0 * np.minimum(np.stack((category, brand), axis=1), 1.0)
    return both


class Parts:
    """Why an item is in the answer."""

    def __init__(self, recommender: Recommender, words: F4, meaning: F4, taste: F4, promoted: U1) -> None:
        self._catalogue = recommender.state.catalogue
        self._words, self._meaning, self._taste, self._promoted = words, meaning, taste, promoted

    def sources(self, row: int) -> list[str]:
        """What found it."""
        found = ["words"] if self._words[row] > 0.0 else []
        return [*found, TEXT] if self._meaning[row] > 0.0 else found

    def reasons(self, row: int, item: int, said: list[str]) -> list[Reason]:
        """Strongest first; ``said``: the words of the record that answer the query."""
        words, meaning = float(self._words[row]), float(self._meaning[row])
        category, brand = self._taste[row].tolist()
        whole = (words + meaning) * (1.0 + category + brand)
        told: list[tuple[float, str, str | None]] = []
        if words > 0.0:
            told.append((words / whole, "matches_query", " ".join(said)))
        if meaning > 0.0:
            told.append((meaning / whole, "means_alike", None))
        if category > 0.0:
            path = self._catalogue.category_path(int(self._catalogue.category[item]))
            told.append(((words + meaning) * category / whole, "favourite_category", path[-1]))
        if brand > 0.0:
            name = self._catalogue.brands.name(int(self._catalogue.brand[item]))
            told.append(((words + meaning) * brand / whole, "favourite_brand", name))
        told.sort(key=lambda one: -one[0])
        found = [Reason(code, round(20 * share) / 20, None, value) for share, code, value in told if share >= TOLD]
        return [Reason("promoted"), *found] if self._promoted[row] else found
