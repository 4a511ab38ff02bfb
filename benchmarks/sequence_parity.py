"""Parity: do the sequence models reach what was published of them, on the published protocol?

    python benchmarks/sequence_parity.py beauty DATA --seeds 1 2 3     SASRec, leave one out
    python benchmarks/sequence_parity.py yoochoose DATA --seeds 1 2 3  GRU4Rec, and the others beside it
    python benchmarks/sequence_parity.py later DATA --epochs 60        SASRec on Beauty, split by time

DATA: the folder with ``amazon_beauty`` and ``bench_yoochoose_100k``; not part of the package.

Beauty (Amazon 5-core 2014): of each shopper the last item is the target, the one before says when to stop, the rest is
learned; all 12,101 items are ranked, less the shopper's earlier ones. Published of SASRec with a sampled softmax: HR@10
.0921, NDCG@10 .0531 (eSASRec, RecSys 2025). This split leaks (an item rare in train must be in test), so it is good
for parity and for nothing else.

Later: the first nine tenths of Beauty's events are learned, each of the others is a target; a shopper's own earlier
events count as they come and are no candidates; an item or a shopper that was never seen is a miss.

YooChoose, 100,000 clicks (session-rec): every event of a test session from the second on is a target, all items are
ranked. Recorded lists of GRU4Rec in session-rec on 387 targets: HR@20 .571, MRR@20 .329.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import polars as pl
import torch

from endcap.config import Config, DeepConfig
from endcap.features.histories import Histories
from endcap.learning.networks import Lessons, fit_network
from endcap.learning.networks import windows as lessons_of
from endcap.learning.networks.fitting import train
from endcap.learning.networks.sasrec import SasRec
from endcap.learning.networks.windows import BETAS, Course, Windows, cut
from endcap.learning.sequences import COLUMNS, Sequences
from endcap.models.gru4rec import Gru4RecSource
from endcap.models.network import NetworkSource, Window
from endcap.models.nextitnet import NextItNetSource
from endcap.models.sasrec import SasRecSource

MOST = 50
SOURCES: dict[str, type[NetworkSource]] = {
    "gru4rec": Gru4RecSource,
    "nextitnet": NextItNetSource,
    "sasrec": SasRecSource,
}


def shown(stage: str, done: int, total: int) -> None:
    """One line per pass."""
    if done == total:
        print(f"{stage} {perf_counter():.0f} s", file=sys.stderr, flush=True)


def beauty_windows(events: pl.DataFrame) -> tuple[Windows, np.ndarray, np.ndarray, int]:
    """(what is learned, rows of each shopper's history before the target, targets, number of items)."""
    names = sorted(events["item_id"].unique().to_list())
    place_of = {name: place for place, name in enumerate(names)}
    events = events.sort("user_id", "position", maintain_order=True)
    place = np.array([place_of[one] for one in events["item_id"].to_list()], np.int32)
    user = events["user_id"].to_numpy()
    ends = np.append(np.flatnonzero(user[1:] != user[:-1]) + 1, user.shape[0]).astype(np.int64)
    starts = np.concatenate(([0], ends[:-1])).astype(np.int64)
    begin, end = cut(starts, ends - 2, MOST)
    windows = Windows(place, begin, end, np.maximum(starts, ends - 2 - MOST), ends - 2, place[ends - 2])
    return windows, np.column_stack([starts, ends - 1]), place[ends - 1], len(names)


def beauty(folder: Path, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """One run of SASRec."""
    windows, history, target, n_items = beauty_windows(pl.read_parquet(folder / "amazon_beauty" / "events.parquet"))
    lessons_of.NEGATIVES, lessons_of.GROUPS = args.negatives, args.groups
    torch.manual_seed(seed)
    net = SasRec(n_items, args.dim, MOST, args.blocks, args.dropped)
    course = Course(net, windows, seed)
    how = DeepConfig(dim=args.dim, epochs=args.epochs, minutes=args.minutes, threads=args.threads, seed=seed)
    steps = torch.optim.Adam(net.parameters(), lr=args.rate, betas=BETAS, fused=True)
    told = train("sasrec", net, course, how, rate=args.rate, steps=steps, patience=args.patience, progress=shown)
    hits = ndcg = 0.0
    with torch.no_grad():
        for part in np.array_split(np.arange(target.shape[0]), 100):
            places, lengths = course._padded(np.maximum(history[part, 0], history[part, 1] - MOST), history[part, 1])
            scores = course.scores(places, lengths)
            for row, one in enumerate(part.tolist()):
                scores[row, windows.place[history[one, 0] : history[one, 1]]] = -np.inf
            right = torch.from_numpy(target[part].astype(np.int64))[:, None]
            rank = (scores >= scores.gather(1, right)).sum(dim=1).numpy()
            hits += float((rank <= 10).sum())
            ndcg += float((1.0 / np.log2(1.0 + rank))[rank <= 10].sum())
    n = target.shape[0]
    return {"model": "sasrec", "seed": seed, "hr10": round(hits / n, 4), "ndcg10": round(ndcg / n, 4), **told}


def later(folder: Path, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """One run of SASRec on a split by time, with the settings that are shipped."""
    events = pl.read_parquet(folder / "amazon_beauty" / "events.parquet").sort("timestamp", "position")
    names = events["item_id"].unique(maintain_order=True).to_list()
    item = events["item_id"].replace_strict(names, np.arange(len(names)), return_dtype=pl.Int32).to_numpy()
    users = events["user_id"].unique(maintain_order=True)
    user = events["user_id"].replace_strict(users, np.arange(len(users)), return_dtype=pl.Int32).to_numpy()
    zeros, cut_at = np.zeros(len(events), np.int8), int(0.9 * len(events))
    whole = {
        "user": user, "item": item, "action": zeros + 1, "ts_s": events["timestamp"].to_numpy(), "session": user,
        "hour": zeros, "device": zeros, "region": zeros.astype(np.int16), "placement": zeros.astype(np.int16),
    }  # fmt: skip
    columns = {name: whole[name][:cut_at] for name in COLUMNS}
    how = DeepConfig(dim=args.dim, epochs=args.epochs, minutes=args.minutes, threads=args.threads, seed=seed)
    learned = Lessons(Sequences(**columns, item_ids=names, regions=[], placements=[]), [None] * len(names))
    network = fit_network("sasrec", learned, how, progress=shown)
    source = SasRecSource(Histories(Config().covisit))
    source.network = network
    source.open(network)
    place_in = {name: k for k, name in enumerate(network.item_ids)}
    place = np.array([place_in.get(name, -1) for name in names], np.int32)[item]
    past: dict[int, list[int]] = {}
    ranks: list[float] = []
    for k in range(len(events)):
        known = past.setdefault(int(user[k]), [])
        if k >= cut_at:
            rank = np.inf
            if known and place[k] >= 0:
                window = np.array(known[-source.most :], np.int32)
                vector = source.encode(Window(window, np.zeros_like(window), np.ones(window.shape[0], np.int8)))
                scores = network.vectors @ vector
                scores[known] = -np.inf
                rank = float((scores >= scores[place[k]]).sum())
            ranks.append(rank)
        if place[k] >= 0:
            known.append(int(place[k]))
    found = np.array(ranks)
    ndcg = float((1.0 / np.log2(1.0 + found))[found <= 20].sum()) / len(ranks)
    return {"model": "sasrec", "seed": seed, "targets": len(ranks), **measures(ranks), "ndcg20": round(ndcg, 4),
            **network.meta}  # fmt: skip


def yoochoose(folder: Path, model: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """One run on sessions: passes are found on the validation part, then train and validation are learned together."""
    events = pl.read_parquet(folder / "bench_yoochoose_100k" / "events.parquet").sort("timestamp_ms", "session_id")
    recorded = pl.read_parquet(folder / "bench_yoochoose_100k" / "baseline_recommendations.parquet")
    seen = events.filter(pl.col("split") != "test")
    names = seen["item_id"].unique(maintain_order=True).to_list()
    place_of = {name: place for place, name in enumerate(names)}
    events = events.filter(pl.col("item_id").is_in(names))  # a target that was never seen is a miss: counted below
    session_of = {name: k for k, name in enumerate(events["session_id"].unique(maintain_order=True).to_list())}
    session = np.array([session_of[one] for one in events["session_id"].to_list()], np.int32)
    item = np.array([place_of[one] for one in events["item_id"].to_list()], np.int32)
    part = events["split"].to_numpy()
    zeros = np.zeros(len(events), np.int8)
    data = Sequences(
        user=session, item=item, action=zeros + 1, ts_s=events["timestamp_ms"].to_numpy() // 1000, session=session,
        hour=zeros, device=zeros, region=zeros.astype(np.int16), placement=zeros.astype(np.int16), item_ids=names,
        regions=[], placements=[],
    )  # fmt: skip
    rows = np.flatnonzero(part != "test")
    columns = {name: getattr(data, name)[rows] for name in COLUMNS}
    learned = Lessons(Sequences(**columns, item_ids=names, regions=[], placements=[]), [None] * len(names))
    how = DeepConfig(
        dim=args.dim, epochs=args.epochs, minutes=args.minutes, threads=args.threads, seed=seed
    )  # fmt: skip
    began = perf_counter()
    network = fit_network(model, learned, how, progress=shown)
    seconds = perf_counter() - began
    source = SOURCES[model](Histories(Config().covisit))
    source.network = network
    source.open(network)
    place_in = {name: k for k, name in enumerate(network.item_ids)}
    told = {
        (one["session_id"], one["position"]) for one in recorded.filter(pl.col("algorithm") == "gru4rec").to_dicts()
    }
    raw = pl.read_parquet(folder / "bench_yoochoose_100k" / "events.parquet").filter(pl.col("split") == "test")
    ranks: list[float] = []
    recorded_ranks: list[float] = []
    for (name,), rows in raw.sort("timestamp_ms", maintain_order=True).group_by(["session_id"], maintain_order=True):
        items = [place_in.get(one, -1) for one in rows["item_id"].to_list()]
        for k in range(1, len(items)):
            window = np.array([one for one in items[:k] if one >= 0][-source.most :], np.int32)
            rank = np.inf
            if items[k] >= 0 and window.shape[0]:
                user = source.encode(Window(window, np.zeros_like(window), np.ones(window.shape[0], np.int8)))
                scores = network.vectors @ user
                rank = float((scores >= scores[items[k]]).sum())
            ranks.append(rank)
            if (name, k - 1) in told:
                recorded_ranks.append(rank)
    return {
        "model": model, "seed": seed, "targets": len(ranks), **measures(ranks), "seconds": round(seconds, 1),
        "recorded": {"targets": len(recorded_ranks), **measures(recorded_ranks)}, **network.meta,
    }  # fmt: skip


def measures(ranks: list[float]) -> dict[str, float]:
    """HR and MRR among the best 20."""
    found = np.array(ranks)
    hit = found <= 20
    return {"hr20": round(float(hit.mean()), 4), "mrr20": round(float((hit / np.maximum(found, 1.0)).mean()), 4)}


RUNS = {"beauty": beauty, "later": later}


def main() -> None:
    """Run and print one JSON line per seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["beauty", "yoochoose", "later"])
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--models", nargs="+", default=["gru4rec"], choices=["gru4rec", "nextitnet", "sasrec"])
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--blocks", type=int, default=1)
    parser.add_argument("--dropped", type=float, default=0.2)
    parser.add_argument("--negatives", type=int, default=256)
    parser.add_argument("--groups", type=int, default=16)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--patience", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    for seed in args.seeds:
        for model in args.models if args.what == "yoochoose" else ["sasrec"]:
            found = (
                RUNS[args.what](args.data, seed, args) if args.what in RUNS else yoochoose(args.data, model, seed, args)
            )
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
