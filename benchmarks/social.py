"""People you may know on Last.fm (HetRec 2011) with a fifth of the friendships hidden: Recall@20, as JSON.

    python benchmarks/social.py                 five seeds, all models
    python benchmarks/social.py --seeds 1       one, for a look

Protocol: of the 12,717 friendships a random fifth is hidden, by seed. For each user with a hidden one, everybody but
themselves and their visible friends is ranked; recall is the share of the hidden friends among the first 20, averaged
over users. The set has no times for friendships, so nothing here tells how quickly a model learns.

* exact, in scipy over the whole graph: common neighbours; Adamic-Adar; user-user kNN: cosine of the artists' plays (log
  of the count, times the artist's rarity). They are the bar.
* the engine: the product itself. Friendships are two ``follow`` events, plays are ``consume``, each person is an item
  with the tags of what they listen to. ``friends`` and ``kindred`` alone (the latter sees common follows as well as
  common artists), then the placement ``people`` with the preset's weights (rounded from the first seed's), and with
  weights learned from this seed's visible friendships: a fifth of them is hidden once more, and a logistic regression
  learns which of the candidates were friends. It never reads the friendships hidden for the test.

Intervals: 95 %, bootstrap over users for each model's mean; for the difference to the best exact single the same users
are drawn for both. Users of all seeds are drawn together by user, since one user's seeds are no independent draws.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec
import numpy as np
import polars as pl
from scipy.sparse import csr_matrix, diags
from sklearn.linear_model import LogisticRegression

from endcap.config import Config, PlacementConfig, load_config
from endcap.engine import Engine
from endcap.models.linear import DEFAULT_TERMS
from endcap.runtime import Runtime, VirtualClock
from endcap.stores.memory import MemoryLog
from endcap.types import Event, Interaction, Item, ItemChange, Query

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("ENDCAP_DATA", ROOT.parent / "shared" / "data")) / "lastfm_social"
TOP, HIDDEN, TAGS = 20, 0.2, 12
START_MS = 1_300_000_000_000
MINUTE_MS = 60_000
COLUMNS = ("src:friends", "src:kindred", "src:popular", "cos_content_user")
DRAWS = 2_000

Edge = tuple[str, str]
Ranking = Callable[[str], list[str]]


class Lastfm:
    """The set as Python objects."""

    def __init__(self) -> None:
        edges = pl.read_parquet(DATA / "edges.parquet").select("src", "dst")
        self.edges: list[Edge] = sorted({(min(a, b), max(a, b)) for a, b in edges.iter_rows() if a != b})
        events = pl.read_parquet(DATA / "events.parquet")
        plays = events.filter(pl.col("event_type") == "listen").sort("user_id", "value", "item_id")
        self.plays: dict[str, list[tuple[str, float]]] = defaultdict(list)  # least played first
        for user, artist, count in plays.select("user_id", "item_id", "value").iter_rows():
            self.plays[user].append((artist, count))
        self.users = sorted({*self.plays, *(user for edge in self.edges for user in edge)})
        given = pl.read_parquet(DATA / "items.parquet").select("item_id", "title", "tags")
        self.tags = {artist: list(tags or ()) for artist, _, tags in given.iter_rows()}
        self.artists = [
            Item(item_id=f"artist-{artist}", title=title, tags=list(tags or ())[:TAGS])
            for artist, title, tags in given.iter_rows()
        ]

    def person(self, user: str) -> Item:
        """What a profile page would say: the tags of the artists most listened to."""
        weight: dict[str, float] = defaultdict(float)
        for artist, count in self.plays.get(user, ()):
            for place, tag in enumerate(self.tags.get(artist, ())[:5]):
                weight[tag] += np.log1p(count) / (1 + place)
        return Item(item_id=f"user:{user}", tags=sorted(weight, key=lambda tag: (-weight[tag], tag))[:TAGS])


def split(edges: list[Edge], seed: int) -> tuple[list[Edge], list[Edge]]:
    """(visible, hidden)."""
    hidden = np.random.default_rng(seed).random(len(edges)) < HIDDEN
    return [e for e, h in zip(edges, hidden, strict=True) if not h], [
        e for e, h in zip(edges, hidden, strict=True) if h
    ]


def friends_of(edges: Iterable[Edge]) -> dict[str, set[str]]:
    """Who is whose friend, both ways."""
    found: dict[str, set[str]] = defaultdict(set)
    for a, b in edges:
        found[a].add(b)
        found[b].add(a)
    return found


# ---------------------------------------------------------------- exact singles


def exact(data: Lastfm, visible: list[Edge]) -> dict[str, Ranking]:
    """The bar."""
    place = {user: k for k, user in enumerate(data.users)}
    n = len(data.users)
    rows = [place[a] for a, b in visible] + [place[b] for a, b in visible]
    columns = [place[b] for a, b in visible] + [place[a] for a, b in visible]
    graph = csr_matrix((np.ones(len(rows)), (rows, columns)), (n, n))
    degree = np.asarray(graph.sum(axis=1)).ravel()
    rarity = diags(1.0 / np.log(np.maximum(degree, 2)))
    artists = {artist: k for k, artist in enumerate(sorted({a for plays in data.plays.values() for a, _ in plays}))}
    triples = [(place[u], artists[a], np.log1p(c)) for u, plays in data.plays.items() for a, c in plays]
    table = csr_matrix(([t[2] for t in triples], ([t[0] for t in triples], [t[1] for t in triples])), (n, len(artists)))
    listeners = np.asarray((table > 0).sum(axis=0)).ravel()
    table = table @ diags(np.log(n / np.maximum(listeners, 1)))
    length = np.sqrt(np.asarray(table.multiply(table).sum(axis=1)).ravel())
    table = diags(1.0 / np.maximum(length, 1e-12)) @ table
    scores = {
        "common neighbours": (graph @ graph).toarray(),
        "Adamic-Adar": (graph @ rarity @ graph).toarray(),
        "user-user kNN": (table @ table.T).toarray(),
    }
    known = graph.toarray() > 0
    lots = np.random.default_rng(0).random(n) * 1e-9  # equal scores: by lot

    def ranking(matrix: Any) -> Ranking:
        matrix = np.where(known | np.eye(n, dtype=bool), -1.0, matrix + lots)

        def first(user: str) -> list[str]:
            row = matrix[place[user]]
            best = np.argpartition(-row, TOP)[:TOP]
            return [data.users[k] for k in best[np.argsort(-row[best])]]

        return first

    return {name: ranking(matrix) for name, matrix in scores.items()}


# ---------------------------------------------------------------- the engine


def events_of(data: Lastfm, visible: list[Edge]) -> list[Event]:
    """One hour of sign-up: profiles, friends, then plays, the most played last. A minute apart for each user."""
    events: list[Event] = [
        ItemChange(event_id=f"i{k}", item_id=item.item_id, ts=START_MS, received_at=START_MS, item=item)
        for k, item in enumerate([*data.artists, *map(data.person, data.users)])
    ]
    acts: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for a, b in visible:
        acts[a].append(("follow", f"user:{b}"))
        acts[b].append(("follow", f"user:{a}"))
    for user, plays in data.plays.items():
        acts[user] += [("consume", f"artist-{artist}") for artist, _ in plays]
    rows = sorted((k, user, act, item) for user, done in acts.items() for k, (act, item) in enumerate(done))
    for number, (k, user, act, item) in enumerate(rows):
        ts = START_MS + MINUTE_MS * (k + 1)
        events.append(
            Interaction(
                type=act, event_id=f"e{number}", ts=ts, received_at=ts, user_id=user, item_id=item,
                value=1.0 if act == "consume" else None,
            )
        )  # fmt: skip
    return events


def preset(weights: dict[str, float] | None) -> Config:
    """The preset with each source alone beside it, and learned weights in place of its own."""
    config = load_config(preset="social", environ={})[0]
    people = config.placements["people"]
    if weights is not None:
        people = msgspec.structs.replace(people, weights=weights)
    nothing = dict.fromkeys(DEFAULT_TERMS, 0.0)
    single = {
        name: msgspec.structs.replace(people, sources=[name], weights={**nothing, f"src:{name}": 1.0})
        for name in ("friends", "kindred")
    }  # fmt: skip
    placements: dict[str, PlacementConfig] = {"people": people, **single}
    return msgspec.structs.replace(config, placements=placements)


def opened(data: Lastfm, visible: list[Edge], config: Config) -> Engine:
    """An engine that knows the visible friendships."""
    clock = VirtualClock(START_MS + 600 * MINUTE_MS)
    engine = Engine(MemoryLog(), config, Runtime(clock))
    events = events_of(data, visible)
    for begin in range(0, len(events), 20_000):
        refused = engine.replay(events[begin : begin + 20_000])
        assert not refused, refused[0]
    return engine


def learned(data: Lastfm, visible: list[Edge], seed: int) -> dict[str, float]:
    """Weights of the linear ranker from visible friendships that were hidden once more."""
    left, asked = split(visible, 1_000 + seed)
    wanted = friends_of(asked)
    engine = opened(data, left, preset(None))
    reader = engine.recommender
    at = [reader.rows.columns.index(name) for name in COLUMNS]
    scale = [DEFAULT_TERMS[name].scale if name in DEFAULT_TERMS else 0.0 for name in COLUMNS]
    tables, answers = [], []
    for user in sorted(wanted):
        ask = reader.understand(Query(user_id=user, placement="people", n=TOP), engine.runtime.now())
        reader.retrieve(ask)
        reader.begin_guard(ask)
        items, rows = reader.features(ask)
        x = rows[:, at]
        tables.append(np.where(np.array(scale) > 0, x / (np.abs(x) + np.array(scale)), x))
        answers.append([engine.state.items.name(int(item))[5:] in wanted[user] for item in items])
    fit = LogisticRegression(C=10.0, max_iter=1_000).fit(np.concatenate(tables), np.concatenate(answers))
    weights = dict.fromkeys(DEFAULT_TERMS, 0.0)
    return weights | {name: round(float(w), 3) for name, w in zip(COLUMNS, fit.coef_[0], strict=True)}


def served(engine: Engine, placement: str) -> Ranking:
    """The product's own slates."""

    def first(user: str) -> list[str]:
        slate = engine.recommend(Query(user_id=user, placement=placement, n=TOP))
        return [one.item_id.removeprefix("user:") for one in slate.items]

    return first


# ---------------------------------------------------------------- the protocol


def recalls(ranking: Ranking, wanted: dict[str, set[str]]) -> dict[str, float]:
    """Recall@20 of each user."""
    return {user: len(friends & set(ranking(user))) / len(friends) for user, friends in wanted.items()}


def interval(by_user: dict[str, list[float]], rng: np.random.Generator) -> list[float]:
    """95 % of the mean over (user, seed) pairs, users drawn."""
    sums = np.array([sum(values) for values in by_user.values()])
    counts = np.array([len(values) for values in by_user.values()])
    drawn = rng.integers(0, sums.shape[0], (DRAWS, sums.shape[0]))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return [round(float(q), 4) for q in np.quantile(means, (0.025, 0.975))]


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", type=int, default=5)
    asked = options.parse_args()
    data = Lastfm()
    found: dict[str, dict[tuple[str, int], float]] = defaultdict(dict)
    weights: list[dict[str, float]] = []
    for seed in range(asked.seeds):
        began = perf_counter()
        visible, hidden = split(data.edges, seed)
        wanted = friends_of(hidden)
        models = {f"{name} (exact)": ranking for name, ranking in exact(data, visible).items()}
        weights.append(learned(data, visible, seed))
        shipped = opened(data, visible, preset(None))
        models |= {f"engine: {name} alone": served(shipped, name) for name in ("friends", "kindred")}
        models["engine: people, preset's weights"] = served(shipped, "people")
        models["engine: people, learned weights"] = served(opened(data, visible, preset(weights[-1])), "people")
        for name, ranking in models.items():
            found[name] |= {(user, seed): value for user, value in recalls(ranking, wanted).items()}
        told = {name: round(np.mean([v for (_, s), v in r.items() if s == seed]), 4) for name, r in found.items()}
        print(f"seed {seed}: {perf_counter() - began:.0f} s, {told}", file=sys.stderr)
    rng = np.random.default_rng(7)

    def grouped(values: dict[tuple[str, int], float]) -> dict[str, list[float]]:
        by_user: dict[str, list[float]] = defaultdict(list)
        for (user, _), value in values.items():
            by_user[user].append(value)
        return by_user

    means = {name: float(np.mean(list(values.values()))) for name, values in found.items()}
    best = max((name for name in means if "exact" in name), key=means.__getitem__)
    report: dict[str, Any] = {
        "users": len({user for user, _ in found[best]}),
        "seeds": asked.seeds,
        "best_single": best,
    }
    report["models"] = {
        name: {"recall_at_20": round(means[name], 4), "interval": interval(grouped(values), rng)}
        for name, values in found.items()
    }
    for name in found:
        if name.startswith("engine: people"):
            apart = {key: found[name][key] - found[best][key] for key in found[best]}
            report["models"][name]["above_best_single"] = {
                "mean": round(means[name] - means[best], 4), "interval": interval(grouped(apart), rng),
                "by_seed": [
                    round(float(np.mean([v for (_, s), v in apart.items() if s == seed])), 4)
                    for seed in range(asked.seeds)
                ],
            }  # fmt: skip
    report["weights"] = {name: [one[name] for one in weights] for name in COLUMNS}
    print(msgspec.json.format(msgspec.json.encode(report), indent=2).decode())


if __name__ == "__main__":
    main()
