"""Term index: items for words that a shopper typed.

Idea: an inverted index from words to the records that hold them, with BM25's two insights (Robertson and Zaragoza,
2009): a rare word says more than a common one, and a word says less the more others stand around it and the more often
it was said already. A record is read in fields: a word in the title counts more than one in the brand, a category, an
attribute, or the description (BM25F). Each typed word stands for several (models/vocabulary.py); of those the one that
speaks most for a record counts, so a record does not win by holding many spellings of one word.

    score(record) = sum over typed words of  rarity x max over meant words of  share x weight,   0 to 1

``weight`` = s / (s + SOON (1 - LENGTH + LENGTH x all / USUAL)), where s adds up the fields that hold the word and
``all`` those of every word. The usual length is a constant, so a record's weights depend on that record alone and never
have to be made anew. The rarity is that of the words meant together, counted at the moment of the query.

Layout, one row per record that was read: its words and their weights, one after the other (``begin``, ``word``,
``weight``). The postings are the same entries sorted by word, for the first ``sorted`` rows; rows that came after lie
at the end and are read as they are, until there are ``TAIL`` of them. A record whose words changed gets a new row and
leaves a dead one; ``held`` counts live rows only. All of it is a cache of the catalogue, read in slices by
``catch_up``, from the first search on: a shop that does not search pays nothing.

Cost: docs/search.md. Memory: 16 bytes for a word of a record and ~300 for a word of the vocabulary. Not for: meaning
without common words, which an encoder's vectors have.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Protocol

import numpy as np
from numba import njit

from endcap.blocks import grown
from endcap.models.vocabulary import Vocabulary, is_single, words_of
from endcap.topn import LIMIT, N_SIZES, best, ranked
from endcap.types import F4, I4, I8, U1, Item

TITLE, BRAND, CATEGORY, VALUE, DESCRIPTION = 1.0, 0.8, 0.5, 0.4, 0.2  # what a word counts by where it stands
SINGLE = 0.3  # part that counts of a single character of a script without spaces
SOON = 1.2  # how soon more of the same word counts no more (k1)
LENGTH, USUAL = 0.6, 10.0  # how much a record's length counts (b), and the length that is no matter
MOST_WORDS = 16  # of one query
MOST_MEANT = 8 * MOST_WORDS
TITLE_CHARS, DESCRIPTION_CHARS, VALUE_CHARS, MOST_VALUES = 300, 1_000, 80, 48
TAIL, TAIL_SHARE = 256, 64  # unsorted rows: so many, or one in so many
LEAST_DEAD = 1_024  # dead rows before they are dropped; then half of all
NOBODY = -1


def texts_of(item: Item) -> Iterator[tuple[str, int, float]]:
    """The texts of a record that a shopper may ask for: text, how much of it is read, what a word counts."""
    if item.title:
        yield item.title, TITLE_CHARS, TITLE
    if item.brand:
        yield item.brand, VALUE_CHARS, BRAND
    for part in dict.fromkeys(chain.from_iterable(item.categories[:4])):
        yield part, VALUE_CHARS, CATEGORY
    for value in (item.color, item.material, item.pattern, item.gender, item.age_group, item.size, item.sku, item.mpn):
        if value:
            yield value, VALUE_CHARS, VALUE
    for tag in item.tags[:MOST_VALUES]:
        yield tag, VALUE_CHARS, VALUE
    for held in islice(item.attributes.values(), MOST_VALUES):
        for value in [held] if isinstance(held, str) else held if isinstance(held, list) else ():
            yield value, VALUE_CHARS, VALUE
    if item.description:
        yield item.description, DESCRIPTION_CHARS, DESCRIPTION


def weights_of(item: Item) -> dict[str, float]:
    """What each word of a record counts, 0 to 1."""
    said: dict[str, float] = {}
    for text, most, counts in texts_of(item):
        for word in words_of(text, most):
            said[word] = said.get(word, 0.0) + (counts * SINGLE if is_single(word) else counts)
    slowly = SOON * (1.0 - LENGTH + LENGTH * sum(said.values()) / USUAL)
    return {word: s / (s + slowly) for word, s in said.items()}


@njit(cache=True, nogil=True)
def sort_postings(begin: I8, word: I4, weight: F4, n_rows: int, head: I8, post_row: I4, post_weight: F4) -> None:
    """The entries of ``n_rows`` rows by word: those of word w are from ``head[w]`` to before ``head[w + 1]``."""
    head[:] = 0
    for e in range(begin[n_rows]):
        head[word[e] + 1] += 1
    for w in range(head.shape[0] - 1):
        head[w + 1] += head[w]
    for row in range(n_rows):
        for e in range(begin[row], begin[row + 1]):
            place = head[word[e]]
            post_row[place], post_weight[place] = row, weight[e]
            head[word[e]] += 1
    for w in range(head.shape[0] - 1, 0, -1):
        head[w] = head[w - 1]
    head[0] = 0


@njit(cache=True, nogil=True)
def weigh(words: I4, share: F4, ends: I4, single: U1, held: I4, n_live: int) -> None:
    """Turn the ``share`` of each meant word into its factor: the rarity of those meant together, of the whole query.

    A typed word that nothing stands for would be as rare as the rarest that something does.
    """
    whole = 0.0
    rarest = 0.0
    n_unknown = 0
    first = 0
    for k in range(ends.shape[0]):
        records = 0
        for m in range(first, ends[k]):
            records += held[words[m]]
        records = min(records, n_live)
        rarity = np.log1p((n_live - records + 0.5) / (records + 0.5)) * (SINGLE if single[k] != 0 else 1.0)
        strongest = 0.0
        for m in range(first, ends[k]):
            share[m] *= rarity
            strongest = max(strongest, share[m])
        whole += strongest
        rarest = max(rarest, strongest)
        n_unknown += ends[k] == first
        first = ends[k]
    whole += n_unknown * rarest
    for m in range(share.shape[0]):
        share[m] /= whole


@njit(cache=True, nogil=True)
def gather(
    words: I4, factor: F4, ends: I4, n_typed: int, head: I8, post_row: I4, post_weight: F4, n_sorted: int,
    begin: I8, word: I4, weight: F4, n_rows: int, item_of: I4, met: I4, sums: F4, generation: int, entry: I4,
    follow: I4, typed_of: I4, ids: I4, scores: F4,
) -> int:  # fmt: skip
    """Fill ``ids`` and ``scores`` with the live rows that hold a meant word; returns how many.

    The words meant by the k-th typed one end before ``ends[k]``; each counts ``factor``. ``met`` [rows, 4] holds
    (generation, typed word) and, read as ``sums``, in columns 2 and 3 the score of the words before and the best of
    this one; ``entry`` [words] is -1 everywhere, before and after.
    """
    n = 0
    first = 0
    for k in range(n_typed):
        for m in range(first, ends[k]):
            w = words[m]
            if w + 1 >= head.shape[0]:
                continue
            for p in range(head[w], head[w + 1]):
                row = post_row[p]
                value = factor[m] * post_weight[p]
                if met[row, 0] != generation:
                    met[row, 0], met[row, 1] = generation, k
                    sums[row, 2], sums[row, 3] = 0.0, value
                    ids[n] = row
                    n += 1
                elif met[row, 1] != k:
                    met[row, 1] = k
                    sums[row, 2] += sums[row, 3]
                    sums[row, 3] = value
                elif value > sums[row, 3]:
                    sums[row, 3] = value
        first = ends[k]
    live = 0
    for j in range(n):
        row = ids[j]
        if item_of[row] >= 0:
            ids[live], scores[live] = item_of[row], sums[row, 2] + sums[row, 3]
            live += 1
    n_meant = ends[n_typed - 1] if n_typed > 0 else 0
    k = 0
    for m in range(n_meant):  # entry: the last place of a word among the meant ones; follow: the place before
        while m >= ends[k]:
            k += 1
        typed_of[m] = k
        follow[m] = entry[words[m]]
        entry[words[m]] = m
    strongest = np.zeros(n_typed, np.float32)
    for row in range(n_sorted, n_rows):
        if item_of[row] < 0:
            continue
        total = np.float32(0.0)
        for e in range(begin[row], begin[row + 1]):
            m = entry[word[e]]
            while m >= 0:
                value = factor[m] * weight[e]
                k = typed_of[m]
                if value > strongest[k]:
                    total += value - strongest[k]
                    strongest[k] = value
                m = follow[m]
        if total > 0.0:
            ids[live], scores[live] = item_of[row], total
            live += 1
            strongest[:] = 0.0
    for m in range(n_meant):
        entry[words[m]] = -1
    return live


@njit(cache=True, nogil=True)
def speak(rows: I4, words: I4, factor: F4, ends: I4, begin: I8, word: I4, weight: F4, out: I4) -> None:
    """out[j, k] = the word of row ``rows[j]`` that speaks most for the k-th typed one, -1 = none does."""
    out[:] = -1
    for j in range(rows.shape[0]):
        if rows[j] < 0:
            continue
        first = 0
        for k in range(ends.shape[0]):
            strongest = np.float32(0.0)
            for m in range(first, ends[k]):
                for e in range(begin[rows[j]], begin[rows[j] + 1]):
                    if word[e] == words[m] and factor[m] * weight[e] > strongest:
                        strongest, out[j, k] = factor[m] * weight[e], word[e]
            first = ends[k]


class Records(Protocol):
    """The catalogue's records."""

    version: int

    def n_items(self) -> int: ...
    def record(self, item: int) -> Item | None: ...
    def changed_since(self, version: int) -> I4 | None: ...


@dataclass(frozen=True, slots=True)
class Meant:
    """What a query stands for."""

    typed: list[str]  # its words, each once
    words: I4  # [m] numbers of words of the catalogue
    factor: F4  # [m] what each counts; those of all typed words add up to at most 1
    ends: I4  # [typed] where the words meant by each end


class TermIndex:
    """Finds records by their words."""

    def __init__(self, catalogue: Records) -> None:
        self.asked = False  # whether anybody has searched: from then on it follows the catalogue
        self.vocabulary = Vocabulary()
        self.held: I4 = np.zeros(1024, np.int32)  # live rows that hold a word
        self.n_live = 0
        self._catalogue = catalogue
        self._version = 0
        self._waiting: dict[int, None] = {}
        self._n = 0  # rows
        self._begin: I8 = np.zeros(1024, np.int64)
        self._word: I4 = np.zeros(1024, np.int32)
        self._weight: F4 = np.zeros(1024, np.float32)
        self._item_of: I4 = np.full(1024, NOBODY, np.int32)
        self._row_of: I4 = np.full(1024, NOBODY, np.int32)
        self._sorted = 0  # rows
        self._head: I8 = np.zeros(1, np.int64)
        self._post_row: I4 = np.zeros(0, np.int32)
        self._post_weight: F4 = np.zeros(0, np.float32)
        self._generation = 0
        self._met: I4 = np.zeros((0, 4), np.int32)
        self._ids: I4 = np.zeros(0, np.int32)
        self._scores: F4 = np.zeros(0, np.float32)
        self._entry: I4 = np.full(0, -1, np.int32)
        self._follow: I4 = np.zeros(MOST_MEANT, np.int32)
        self._typed_of: I4 = np.zeros(MOST_MEANT, np.int32)
        self._tally: I4 = np.zeros(N_SIZES, np.int32)
        self._heap: I8 = np.zeros(LIMIT, np.int64)

    # ------------------------------------------------------------ the catalogue

    def catch_up(self, most: int) -> int:
        """Read what the catalogue gained or changed, at most ``most`` records; returns how many still wait.

        Before the first search (``asked``) nothing is read.
        """
        if not self.asked:
            return 0
        if self._version != self._catalogue.version:
            changed = self._catalogue.changed_since(self._version) if self._version else None
            items = range(self._catalogue.n_items()) if changed is None else changed.tolist()
            self._version = self._catalogue.version
            self._waiting.update(dict.fromkeys(items))
        if self._waiting:
            now = list(islice(self._waiting, most))
            for item in now:
                del self._waiting[item]
            self._read(now)
        return len(self._waiting)

    def is_ready(self, most: int) -> bool:
        """Follow the catalogue from now on, at most ``most`` records at once; whether all of it has been read."""
        self.asked = True
        return self.catch_up(most) == 0

    @property
    def is_behind(self) -> bool:
        """Whether a search must wait until the catalogue has been read."""
        return not self.asked or bool(self._waiting)

    def _read(self, items: Sequence[int]) -> None:
        """Rows for the records of these items; what did not change keeps its row."""
        self._row_of = grown(self._row_of, max(items) + 1, NOBODY)
        for item in items:
            record = self._catalogue.record(item)
            counts = {} if record is None else weights_of(record)
            words = np.array([self.vocabulary.intern(word) for word in counts], np.int32)
            weights = np.array(list(counts.values()), np.float32)
            row = int(self._row_of[item])
            if row >= 0:
                first, last = self._begin[row], self._begin[row + 1]
                if np.array_equal(self._word[first:last], words) and (self._weight[first:last] == weights).all():
                    continue
                self._give_up(item, row)
            if counts:
                self._append(item, words, weights)
        self.vocabulary.learn()
        if self._n - self.n_live > max(LEAST_DEAD, self._n // 2):
            self._close_gaps()
        elif self._n - self._sorted > max(TAIL, self._n // TAIL_SHARE):
            self._sort()

    def _append(self, item: int, words: I4, weights: F4) -> None:
        row, first = self._n, int(self._begin[self._n])
        last = first + words.shape[0]
        self._begin, self._item_of = grown(self._begin, row + 2, 0), grown(self._item_of, row + 1, NOBODY)
        self._word, self._weight = grown(self._word, last, 0), grown(self._weight, last, 0)
        self.held = grown(self.held, len(self.vocabulary), 0)
        self._word[first:last], self._weight[first:last] = words, weights
        self._begin[row + 1] = last
        self._item_of[row], self._row_of[item] = item, row
        self.held[words] += 1
        self._n, self.n_live = row + 1, self.n_live + 1

    def _give_up(self, item: int, row: int) -> None:
        self.held[self._word[self._begin[row] : self._begin[row + 1]]] -= 1
        self._item_of[row] = self._row_of[item] = NOBODY
        self.n_live -= 1

    def _sort(self) -> None:
        """Make the postings of all rows."""
        entries = int(self._begin[self._n])
        self._head = np.zeros(len(self.vocabulary) + 1, np.int64)
        self._post_row, self._post_weight = np.empty(entries, np.int32), np.empty(entries, np.float32)
        sort_postings(self._begin, self._word, self._weight, self._n, self._head, self._post_row, self._post_weight)
        self._sorted = self._n

    def _close_gaps(self) -> None:
        """Drop dead rows, and words that no record holds any more."""
        live = np.flatnonzero(self._item_of[: self._n] >= 0)
        sizes = np.diff(self._begin[: self._n + 1])[live]
        stays = np.repeat(self._item_of[: self._n] >= 0, np.diff(self._begin[: self._n + 1]))
        used = self.held[: len(self.vocabulary)] > 0
        renumbered = (np.cumsum(used) - 1).astype(np.int32)
        self._word = renumbered[self._word[: stays.shape[0]][stays]]
        self._weight = self._weight[: stays.shape[0]][stays]
        self.held = self.held[: used.shape[0]][used]
        self.vocabulary = Vocabulary(word for word, is_used in zip(self.vocabulary.words, used, strict=True) if is_used)
        self._begin = np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes)))
        self._item_of, self._n = self._item_of[live], live.shape[0]
        self._row_of[self._item_of] = np.arange(self._n, dtype=np.int32)
        self._entry = np.full(0, -1, np.int32)
        self._sort()

    # ------------------------------------------------------------ search

    def meant(self, text: str) -> Meant:
        """What a query stands for: of its words the first ``MOST_WORDS``, each once."""
        typed = list(dict.fromkeys(words_of(text, VALUE_CHARS * MOST_WORDS)))[:MOST_WORDS]
        words, factor, ends = self.vocabulary.meant(typed, self.held)
        weigh(words, factor, ends, np.array([is_single(one) for one in typed], np.uint8), self.held, self.n_live)
        return Meant(typed, words, factor, ends)

    def search(self, meant: Meant, most: int) -> tuple[I4, F4]:
        """(items, scores) of the ``most`` best, best first; at most ``topn.LIMIT``."""
        n = self._gather(meant)
        return ranked(self._heap, int(best(self._ids, self._scores, n, min(most, LIMIT), self._tally, self._heap)))

    def everything(self, meant: Meant) -> tuple[I4, F4]:
        """(items, scores) of every record that holds a meant word, in no order: views."""
        n = self._gather(meant)
        return self._ids[:n], self._scores[:n]

    def _gather(self, meant: Meant) -> int:
        if not meant.words.shape[0]:
            return 0
        self._met = grown(self._met, self._n, 0)
        self._ids, self._scores = grown(self._ids, self._n, 0), grown(self._scores, self._n, 0)
        self._entry = grown(self._entry, len(self.vocabulary), -1)
        if self._generation == 2**31 - 2:
            self._met[:], self._generation = 0, 0
        self._generation += 1
        return int(
            gather(
                meant.words, meant.factor, meant.ends, len(meant.typed), self._head, self._post_row,
                self._post_weight, self._sorted, self._begin, self._word, self._weight, self._n, self._item_of,
                self._met, self._met.view(np.float32), self._generation, self._entry, self._follow, self._typed_of,
                self._ids, self._scores,
            )
        )  # fmt: skip

    def said(self, meant: Meant, items: I4) -> list[list[str]]:
        """For each of these items [n] the words of its record that answer the query, at most one for a typed word."""
        rows = np.full(items.shape[0], NOBODY, np.int32)
        known = items < self._row_of.shape[0]
        rows[known] = self._row_of[items[known]]
        out = np.empty((items.shape[0], len(meant.typed)), np.int32)
        speak(rows, meant.words, meant.factor, meant.ends, self._begin, self._word, self._weight, out)
        words = self.vocabulary.words
        return [[words[w] for w in dict.fromkeys(spoken) if w >= 0] for spoken in out.tolist()]

    @property
    def nbytes(self) -> int:
        """Bytes held, those of the vocabulary's strings estimated."""
        arrays = [held for held in vars(self).values() if isinstance(held, np.ndarray)]
        return sum(array.nbytes for array in arrays) + self.vocabulary.nbytes
