"""How well and how fast words that are typed find the item they are of, by the term index and by the content sketch.

    python benchmarks/search.py ITEMS.parquet [...] [--items 100000] [--queries 1000]

The files have a column ``title``. Titles beyond their own are made of halves of two. A query is 1, 2 or 3 words in a
row out of the title of a random item, each of three letters or more; then the same with one typing error in the longest
word: a letter left out, doubled, changed, or swapped with the next. What counts as found is that very item, though
others may hold the same words: recall@10, and the mean of 1 / rank within ten. Times are those of ``TermIndex.meant``
and ``search`` for 20 items, in microseconds of the processor; for the sketch, of making the vector and of the search.
Last come whole answers, by ``Engine.search``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from time import thread_time

import numpy as np
import polars as pl

from endcap.config import Config
from endcap.engine import Engine
from endcap.models.content import ContentSource, vectors_of
from endcap.models.term_index import TermIndex
from endcap.models.vocabulary import words_of
from endcap.runtime import Runtime
from endcap.stores.memory import MemoryLog
from endcap.types import I4, Item, Query

SLICE = 512
LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Shop:
    """A catalogue that does not change."""

    version = 1

    def __init__(self, records: list[Item]) -> None:
        self.records = records

    def n_items(self) -> int:
        return len(self.records)

    def record(self, item: int) -> Item | None:
        return self.records[item]

    def changed_since(self, version: int) -> I4 | None:
        return None if version < self.version else np.zeros(0, np.int32)


def titles_of(files: list[str], n: int) -> list[str]:
    """``n`` titles."""
    own = [title for file in files for title in pl.read_parquet(file)["title"].drop_nulls().to_list()]
    rng, found = np.random.default_rng(3), own[:n]
    while len(found) < n:
        one, other = (own[int(rng.integers(len(own)))].split() for _ in range(2))
        found.append(" ".join(one[: (len(one) + 1) // 2] + other[len(other) // 2 :]))
    return found


def mistyped(text: str, rng: np.random.Generator) -> str:
    """One error in the longest word."""
    words = text.split()
    at = max(range(len(words)), key=lambda k: len(words[k]))
    word, place = words[at], int(rng.integers(0, len(words[at])))
    kind = int(rng.integers(4))
    if kind == 0:
        word = word[:place] + word[place + 1 :]
    elif kind == 1:
        word = word[:place] + word[place] + word[place:]
    elif kind == 2:
        word = word[:place] + LETTERS[int(rng.integers(26))] + word[place + 1 :]
    else:
        place = min(place, len(word) - 2)
        word = word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    return " ".join([*words[:at], word, *words[at + 1 :]])


def queries_of(records: list[Item], n_words: int, n: int, rng: np.random.Generator) -> list[tuple[int, str]]:
    """(item, query) pairs."""
    found: list[tuple[int, str]] = []
    while len(found) < n:
        item = int(rng.integers(len(records)))
        words = words_of(records[item].title or "", 300)
        begin = int(rng.integers(0, max(1, len(words) - n_words + 1)))
        chosen = words[begin : begin + n_words]
        if len(chosen) == n_words and all(len(word) >= 3 and word.isalpha() for word in chosen):
            found.append((item, " ".join(chosen)))
    return found


def measured(ask: Callable[[str], I4], queries: list[tuple[int, str]]) -> str:
    """recall@10, MRR@10, p50 and p99."""
    ranks, times = [], []
    for item, text in queries:
        began = thread_time()
        items = ask(text)
        times.append(thread_time() - began)
        places = np.flatnonzero(items[:10] == item)
        ranks.append(1.0 / (1 + int(places[0])) if places.shape[0] else 0.0)
    p50, p99 = np.percentile(np.array(times) * 1e6, [50, 99])
    score = np.array(ranks)
    return f"{(score > 0).mean():.3f} | {score.mean():.3f} | {p50:.0f} | {p99:.0f}"


def main() -> None:
    """Build both, ask both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=1_000)
    given = parser.parse_args()
    shop = Shop([Item(item_id=str(k), title=title) for k, title in enumerate(titles_of(given.files, given.items))])
    warm = TermIndex(Shop(shop.records[:10]))
    warm.asked = True
    warm.catch_up(SLICE)
    warm.search(warm.meant("compiled"), 1)
    index, sketch, slowest = TermIndex(shop), ContentSource(shop), 0.0
    index.asked = True
    began = last = thread_time()
    while index.catch_up(SLICE):
        slowest, last = max(slowest, thread_time() - last), thread_time()
    seconds = thread_time() - began
    while sketch.catch_up(SLICE):
        pass
    n = shop.n_items()
    print(
        f"{n} items, {len(index.vocabulary)} words, built in {seconds:.2f} s ({1e6 * seconds / n:.0f} us an item), "
        f"slowest slice of {SLICE} {1e3 * slowest:.0f} ms, {index.nbytes / n:.0f} bytes an item"
    )

    def by_terms(text: str) -> I4:
        return index.search(index.meant(text), 20)[0]

    def by_sketch(text: str) -> I4:
        x = vectors_of([Item(item_id="q", title=text)], sketch.projection)[0]
        return sketch.vectors.nearest(x, 20, -1, 1e-6)[0]

    rng = np.random.default_rng(7)
    print("| words | error | by | recall@10 | MRR@10 | p50 us | p99 us |\n|---|---|---|---|---|---|---|")
    for n_words in (1, 2, 3):
        plain = queries_of(shop.records, n_words, given.queries, rng)
        wrong = [(item, mistyped(text, rng)) for item, text in plain]
        for error, queries in (("none", plain), ("one", wrong)):
            for name, ask in (("terms", by_terms), ("sketch", by_sketch)):
                ask(queries[0][1])
                print(f"| {n_words} | {error} | {name} | {measured(ask, queries)} |", flush=True)
    print(whole(shop.records, [text for _, text in queries_of(shop.records, 3, given.queries, rng)]))


def whole(records: list[Item], queries: list[str]) -> str:
    """The whole answer of an engine: the first, which reads the catalogue, and the others."""
    with Engine(MemoryLog(), Config(), Runtime()) as engine:
        for begin in range(0, len(records), 5_000):
            engine.put_items(records[begin : begin + 5_000])
        times = []
        for text in queries:
            began = thread_time()
            engine.search(text, Query(n=20))
            times.append(thread_time() - began)
    p50, p99 = np.percentile(np.array(times[1:]) * 1e6, [50, 99])
    return f"a whole slate of 20 for 3 words: p50 {p50:.0f} us, p99 {p99:.0f} us; the first search {times[0]:.2f} s"


if __name__ == "__main__":
    main()
