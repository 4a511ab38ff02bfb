"""Trainer: what an evaluation, or anyone who replays, hands queries and answers to, and gets a ranker from."""

from __future__ import annotations

from collections.abc import Sequence

from endcap.learning.boosting import Boosting, fit_heads
from endcap.learning.examples import AGAIN, Examples
from endcap.models.tree_ranker import TreeRanker
from endcap.recommend import Recommender
from endcap.types import Query


class RankerTrainer:
    """One objective: the answers that a protocol asks for."""

    def __init__(
        self, how: Boosting | None = None, *, name: str = "trees", negatives: int = 48, most: int = 12_000
    ) -> None:
        self.how = how or Boosting()
        self.examples = Examples(("answer",), negatives=negatives, most=most, seed=self.how.seed, again=AGAIN)
        self._name = name
        self._fits = 0

    def on_query(self, recommender: Recommender, query: Query, t_ms: int, relevant: Sequence[str]) -> None:
        """Take the feature rows of this query's candidates now, before its answer is folded."""
        self.examples.take(recommender, query, t_ms, [relevant])

    def fit(self) -> TreeRanker:
        """A ranker from the newest examples."""
        self._fits += 1
        heads = fit_heads(self.examples.table(), self.examples.columns, ("answer",), {"answer": 1.0}, self.how)
        return TreeRanker(f"{self._name}-{self._fits}", self.examples.columns, heads)
