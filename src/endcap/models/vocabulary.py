"""Vocabulary: the words of a catalogue as numbers, and for a word that was typed, those it may have meant.

Idea: a query's word stands for itself, for words that begin with it ("candle" for "candles"), and for words that are
one typing error away: a letter too many, too few, another one, or two that changed places. Such words share a spelling
once a letter is dropped from each (symmetric deletion; Garbe 2012, after Bocek et al., 2007), so they are found by
looking up a dozen hashes and not by comparing with every word.

Words are runs of letters and digits after case and accents are folded. Scripts that write no spaces are cut into single
characters and pairs of neighbours, which needs no dictionary and does for Chinese and Japanese nearly what one does
(Nie, Gao, Zhang, Zhou, SIGIR 2000).

Layout: ``words`` and ``ids``; code points of all words in one array; keys (hash, word) in chains, ``heads`` by hash. A
word of n letters has about 2 n keys of 12 bytes. Words with digits and words of scripts without spaces have none: 12
and 13 are two sizes and no mistake.

Cost: ~2 us to learn a word, ~10 us to look one up. Memory: ~300 bytes a word. Not for: words that sound alike, or two
errors in one word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import accumulate

import numpy as np
from numba import njit

from endcap.blocks import grown
from endcap.models.terms import FNV_PRIME, FNV_START, plain
from endcap.types import F4, I4, I8, U1, U4

LONGEST = 24  # letters of a word that has keys
LEAST_BEGUN = 3  # letters of a beginning
LEAST_EDITED = 4  # letters of a typed word that may hold an error
BEGINNING, DROPPED = 1, 2  # kinds of keys
MOST = 8  # words that one typed word may stand for
WALKED = 4_096  # keys of one chain that are looked at
BEGUN = 0.8  # what a longer word counts that begins with the whole of the typed one; less the longer it is
MISTAKEN = 0.5  # what a word counts that is one error away
RARER = 8  # a word that is there is taken for a mistake only if the other is in so many times as many records
COMMON = 0.02  # how much more a word counts for every doubling of the records that hold it, in choosing ``MOST``
CHAIN = 2  # keys per place of the table at most

SPACELESS = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+")
ACCENTS = re.compile("[\u0300-\u036f]")


def words_of(text: str, most: int) -> list[str]:
    """The words of the first ``most`` characters of a text, in order, with repeats."""
    folded = plain(text, most)
    if folded.isascii():
        return folded.split()
    folded = unicodedata.normalize("NFC", ACCENTS.sub("", unicodedata.normalize("NFD", folded)))
    found: list[str] = []
    for word in folded.split():
        end = 0
        for run in SPACELESS.finditer(word):
            found += [word[end : run.start()]] if run.start() > end else []
            chars, end = run.group(), run.end()
            found += [chars[k : k + 2] for k in range(len(chars) - 1)]
            found += chars
        found += [word[end:]] if end < len(word) else []
    return found


def is_single(word: str) -> bool:
    """One character of a script without spaces: half a word at best."""
    return len(word) == 1 and SPACELESS.match(word) is not None


def has_keys(word: str) -> bool:
    """Whether a word may be the beginning of another, or begun or mistyped itself."""
    return LEAST_BEGUN <= len(word) <= LONGEST and word.isalpha() and (word.isascii() or not SPACELESS.match(word))


@njit(cache=True, nogil=True)
def key(codes: U4, first: int, last: int, but: int, kind: int) -> int:
    """A 32-bit hash of ``codes[first:last]`` without the one at ``but`` (-1 = with all)."""
    h = np.uint64(FNV_START) ^ np.uint64(kind)
    prime = np.uint64(FNV_PRIME)
    for k in range(first, last):
        if k != but:
            h = (h ^ np.uint64(codes[k])) * prime
    h ^= h >> np.uint64(29)
    h *= np.uint64(0xBF58476D1CE4E5B9)
    h ^= h >> np.uint64(32)
    return int(h & np.uint64(0xFFFFFFFF))


@njit(cache=True, nogil=True)
def add_keys(codes: U4, cut: I8, word: int, keys: U4, word_of: I4, n: int) -> int:
    """Append the keys of a word: its beginnings, itself, and itself without each letter. Returns the new number."""
    first, last = cut[word], cut[word + 1]
    for end in range(first + LEAST_BEGUN, last):
        keys[n], word_of[n] = key(codes, first, end, -1, BEGINNING), word
        n += 1
    keys[n], word_of[n] = key(codes, first, last, -1, DROPPED), word
    n += 1
    if last - first >= LEAST_EDITED:
        for but in range(first, last):
            keys[n], word_of[n] = key(codes, first, last, but, DROPPED), word
            n += 1
    return n


@njit(cache=True, nogil=True)
def link(keys: U4, first: int, last: int, heads: I4, after: I4) -> None:
    """Put the keys from ``first`` to before ``last`` at the head of their chains."""
    mask = heads.shape[0] - 1
    for k in range(first, last):
        place = keys[k] & mask
        after[k] = heads[place]
        heads[place] = k


@njit(cache=True, nogil=True)
def one_apart(a: U4, codes: U4, first: int, last: int) -> bool:
    """Whether ``a`` and ``codes[first:last]`` differ by one letter more, less, or changed, or by two swapped."""
    n, m = a.shape[0], last - first
    if abs(n - m) > 1:
        return False
    same = 0
    while same < min(n, m) and a[same] == codes[first + same]:
        same += 1
    tail = 0
    while tail < min(n, m) - same and a[n - 1 - tail] == codes[last - 1 - tail]:
        tail += 1
    left, right = n - same - tail, m - same - tail
    if left <= 1 and right <= 1:
        return True
    swapped = left == 2 and right == 2
    return swapped and a[same] == codes[first + same + 1] and a[same + 1] == codes[first + same]


@njit(cache=True, nogil=True)
def begins(a: U4, codes: U4, first: int, last: int) -> bool:
    """Whether ``codes[first:last]`` is longer than ``a`` and begins with it."""
    if last - first <= a.shape[0]:
        return False
    for k in range(a.shape[0]):  # noqa: SIM110  # numba has no generators
        if a[k] != codes[first + k]:
            return False
    return True


@njit(cache=True, nogil=True)
def keep(word: int, share: float, held: int, words: I4, shares: F4, value: F4, n: int) -> int:
    """Put a word into the list of the ``MOST`` best, once; returns the new length."""
    for k in range(n):
        if words[k] == word:
            return n
    worth = share * (1.0 + COMMON * np.log2(1.0 + held))
    at = n
    if n == MOST:
        at = 0
        for k in range(1, n):
            if value[k] < value[at]:
                at = k
        if value[at] >= worth:
            return n
    words[at], shares[at], value[at] = word, share, worth
    return max(n, at + 1)


@njit(cache=True, nogil=True)
def meant(
    typed: U4, itself: int, held: I4, codes: U4, cut: I8, keys: U4, word_of: I4, heads: I4, after: I4,
    words: I4, shares: F4, value: F4,
) -> int:  # fmt: skip
    """Fill ``words`` and ``shares`` [MOST] with what a typed word may stand for; returns how many.

    Of words one letter apart, those that only lack or have a last letter (one candle, two candles) are no mistake.

    ``itself``: the word with this spelling, -1 = none; ``held`` [words]: records that hold each word.
    """
    n, length = 0, typed.shape[0]
    if itself >= 0 and held[itself] > 0:
        n = keep(itself, 1.0, held[itself], words, shares, value, n)
        value[0] = np.inf
    known = RARER * held[itself] if itself >= 0 else 0
    mask = heads.shape[0] - 1
    if length >= LEAST_EDITED:
        for but in range(-1, length):
            wanted = key(typed, 0, length, but, DROPPED)
            k, walked = heads[wanted & mask], 0
            while k >= 0 and walked < WALKED:
                word = word_of[k]
                if keys[k] == wanted and held[word] > 0 and one_apart(typed, codes, cut[word], cut[word + 1]):
                    size = cut[word + 1] - cut[word]
                    if begins(typed, codes, cut[word], cut[word + 1]):
                        n = keep(word, BEGUN * length / size, held[word], words, shares, value, n)
                    elif held[word] > known or (but == length - 1 and size == length - 1):
                        n = keep(word, MISTAKEN, held[word], words, shares, value, n)
                k, walked = after[k], walked + 1
    if length >= LEAST_BEGUN:
        wanted = key(typed, 0, length, -1, BEGINNING)
        k, walked = heads[wanted & mask], 0
        while k >= 0 and walked < WALKED:
            word = word_of[k]
            if keys[k] == wanted and held[word] > 0 and begins(typed, codes, cut[word], cut[word + 1]):
                n = keep(word, BEGUN * length / (cut[word + 1] - cut[word]), held[word], words, shares, value, n)
            k, walked = after[k], walked + 1
    return n


@njit(cache=True, nogil=True)
def all_meant(
    typed: U4, ends: I4, itself: I4, keyed: U1, held: I4, codes: U4, cut: I8, keys: U4, word_of: I4, heads: I4,
    after: I4, words: I4, shares: F4, value: F4, until: I4,
) -> int:  # fmt: skip
    """The same for several typed words, one behind the other; what the k-th may stand for ends before ``until[k]``.

    A word that is not ``keyed`` stands for itself alone.
    """
    n = 0
    first = 0
    for k in range(ends.shape[0]):
        if keyed[k] != 0:
            n += meant(
                typed[first : ends[k]], itself[k], held, codes, cut, keys, word_of, heads, after,
                words[n : n + MOST], shares[n : n + MOST], value,
            )  # fmt: skip
        elif itself[k] >= 0 and held[itself[k]] > 0:
            words[n], shares[n] = itself[k], 1.0
            n += 1
        first = ends[k]
        until[k] = n
    return n


def codes_of(word: str) -> U4:
    """Code points."""
    return np.frombuffer(word.encode("utf-32-le", "surrogatepass"), np.uint32)


class Vocabulary:
    """Words by number, in order of first appearance."""

    def __init__(self, words: Iterable[str] = ()) -> None:
        self.words: list[str] = []
        self.ids: dict[str, int] = {}
        self._codes: U4 = np.zeros(1024, np.uint32)
        self._cut: I8 = np.zeros(1024, np.int64)
        self._learned = 0  # words that have their keys
        self._n = 0  # keys
        self._keys: U4 = np.zeros(0, np.uint32)
        self._word_of: I4 = np.zeros(0, np.int32)
        self._after: I4 = np.zeros(0, np.int32)
        self._heads: I4 = np.full(4096, -1, np.int32)
        self._value: F4 = np.zeros(MOST, np.float32)
        for word in words:
            self.intern(word)
        self.learn()

    def __len__(self) -> int:
        return len(self.words)

    def intern(self, word: str) -> int:
        """The number of a word; a new one is looked up by others only after ``learn``."""
        found = self.ids.get(word)
        if found is None:
            found = self.ids[word] = len(self.words)
            self.words.append(word)
        return found

    def learn(self) -> None:
        """Make the keys of the words that came since."""
        new = self.words[self._learned :]
        if not new:
            return
        codes, n = codes_of("".join(new)), len(self.words)
        self._cut = grown(self._cut, n + 1, 0)
        np.cumsum([len(word) for word in new], out=self._cut[self._learned + 1 : n + 1])
        begin = int(self._cut[self._learned])
        self._cut[self._learned + 1 : n + 1] += begin
        self._codes = grown(self._codes, begin + codes.shape[0], 0)
        self._codes[begin : begin + codes.shape[0]] = codes
        first, room = self._n, self._n + sum(2 * len(word) for word in new if has_keys(word))
        self._keys, self._word_of = grown(self._keys, room, 0), grown(self._word_of, room, 0)
        self._after = grown(self._after, room, -1)
        for at, word in enumerate(new, self._learned):
            if has_keys(word):
                self._n = add_keys(self._codes, self._cut, at, self._keys, self._word_of, self._n)
        if self._n > CHAIN * self._heads.shape[0]:
            self._heads, first = np.full(4 * self._heads.shape[0], -1, np.int32), 0
        link(self._keys, first, self._n, self._heads, self._after)
        self._learned = n

    def meant(self, typed: Sequence[str], held: I4) -> tuple[I4, F4, I4]:
        """(words [m], shares [m], ends [typed]): what each typed word may stand for, and what that counts, 1 = itself.

        ``held`` [words]: records that hold each word; one that none holds is not meant.
        """
        ids = self.ids
        itself = np.array([ids.get(word, -1) for word in typed], np.int32)
        keyed = np.array([has_keys(word) for word in typed], np.uint8)
        ends = np.array(list(accumulate(map(len, typed))), np.int32)
        words, shares = np.empty(MOST * len(typed), np.int32), np.empty(MOST * len(typed), np.float32)
        until = np.empty(len(typed), np.int32)
        n = all_meant(
            codes_of("".join(typed)), ends, itself, keyed, held, self._codes, self._cut, self._keys, self._word_of,
            self._heads, self._after, words, shares, self._value, until,
        )  # fmt: skip
        return words[:n], shares[:n], until

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays, and about those of the strings and the dictionary."""
        arrays = (self._codes, self._cut, self._keys, self._word_of, self._after, self._heads)
        return sum(array.nbytes for array in arrays) + 150 * len(self.words)
