"""Generated logs for evaluation tests: shoppers with a taste that is known."""

from __future__ import annotations

import numpy as np
import polars as pl

from endcap.evaluation.dataset import Dataset
from endcap.evaluation.folder import from_frame
from endcap.types import Item

START_MS = 1_760_000_000_000
MINUTE_MS = 60_000


def clustered_frame(
    n_sessions: int = 260, n_clusters: int = 8, per_cluster: int = 12, seed: int = 3, buys: bool = False,
    switch: bool = False,
) -> pl.DataFrame:  # fmt: skip
    """Sessions of six views inside one cluster of items each, by 60 users.

    With ``buys`` the first and last view are bought; with ``switch`` the last four views are of another cluster.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for s in range(n_sessions):
        user = f"u{rng.integers(60)}"
        cluster = int(rng.integers(n_clusters))
        begin = START_MS + s * 47 * MINUTE_MS
        chosen = rng.permutation(per_cluster)[:6]
        for k, i in enumerate(chosen):
            now = (cluster + 1) % n_clusters if switch and k > 1 else cluster
            rows.append((user, f"c{now}-{i}", "view", begin + k * MINUTE_MS, f"s{s}"))
        if buys:
            rows.append((user, f"c{cluster}-{chosen[-1]}", "purchase", begin + 7 * MINUTE_MS, f"s{s}"))
            rows.append((user, f"c{cluster}-{chosen[0]}", "purchase", begin + 7 * MINUTE_MS, f"s{s}"))
    names = ["user_id", "item_id", "event_type", "timestamp_ms", "session_id"]
    return pl.DataFrame(rows, schema=names, orient="row")


def clustered(**options: object) -> Dataset:
    """The same as a data set whose top categories are the clusters."""
    frame = clustered_frame(**options)  # type: ignore[arg-type]
    items = {
        item_id: Item(item_id=item_id, categories=[[*item_id.split("-")]], title=item_id)
        for item_id in frame["item_id"].unique().to_list()
    }
    return from_frame("clustered", frame, items)
