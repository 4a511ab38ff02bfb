"""Table: training rows as a data frame, for learners outside of Endcap."""

from __future__ import annotations

import numpy as np
import polars as pl

from endcap.learning.lessons import OBJECTIVES
from endcap.learning.train import Rehearsal


def frame(done: Rehearsal) -> pl.DataFrame:
    """One row per candidate: ``query`` (number of the request), ``ts`` (epoch ms), ``judged`` (of the newest part, with
    all its candidates: judge by it, do not learn from it), ``weight`` (how much the request counts), the outcomes (0 or
    1), and every feature column.
    """
    parts, first = [], 0
    for table, judged in ((done.learned, False), (done.unseen, True)):
        query = np.repeat(np.arange(first, first + len(table), dtype=np.int32), table.sizes)
        first += len(table)
        weights = table.row_weights()
        known = {
            "query": query, "ts": np.repeat(table.ts, table.sizes), "judged": np.full(query.shape[0], judged),
            "weight": np.ones(query.shape[0], np.float32) if weights is None else weights,
        }  # fmt: skip
        labels = {name: table.labels[:, k] for k, name in enumerate(OBJECTIVES)}
        features = {name: table.rows[:, k] for k, name in enumerate(done.columns)}
        parts.append(pl.DataFrame({**known, **labels, **features}))
    return pl.concat(parts)
