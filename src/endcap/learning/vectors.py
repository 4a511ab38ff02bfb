"""Vectors: factors and content space of an engine, fitted from what it knows now and swapped in.

One call for a background job, an evaluation on a virtual clock, or a notebook. What there is too little data for is
left as it was, and said.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from endcap.engine import Engine
from endcap.learning.boosting import TooFewExamples
from endcap.learning.content import fit_content
from endcap.learning.factors import factors_of_ratings, fit_factors, pairs_of
from endcap.learning.ratings import Ratings
from endcap.models.content import ContentModel
from endcap.models.factors import Factors


def refit_vectors(engine: Engine, kinds: Collection[str] = ("factors", "content")) -> dict[str, str]:
    """Fit and use these kinds. Gives by kind what became of it: "used", or why it was not fitted."""
    fitted = fit_vectors(engine, kinds)
    return {kind: found if isinstance(found, str) else "used" for kind, found in fitted.items()}


def fit_vectors(
    engine: Engine, kinds: Collection[str], ratings: Ratings | None = None
) -> dict[str, Factors | ContentModel | str]:
    """The same, but gives what was fitted itself. ``ratings``: for ``factors.method = "mf"``."""
    fits: dict[str, Callable[[], Factors | ContentModel]] = {
        "factors": lambda: refit_factors(engine, ratings), "content": lambda: refit_content(engine),
    }  # fmt: skip
    found: dict[str, Factors | ContentModel | str] = {}
    for kind, fit in fits.items():
        if kind in kinds:
            try:
                found[kind] = fit()
            except TooFewExamples as few:
                found[kind] = few.message
    return found


def refit_factors(engine: Engine, ratings: Ratings | None = None) -> Factors:
    """Factors of the interactions that the engine's rings hold; with ``factors.method = "mf"``, of ``ratings``."""
    state, config = engine.state, engine.config.factors
    if config.method == "mf":
        if ratings is None:
            raise TooFewExamples("factors.method is mf, which reads ratings from a log: endcap train does")
        factors = factors_of_ratings(ratings, config, {"offset": state.offset})
        engine.use_factors(factors)
        return factors
    n_users, n_items = len(state.users), len(state.items)
    pairs = pairs_of(state.histories, n_users, n_items, engine.runtime.now() // 1000, config.half_life_d)
    names = [state.items.name(item) for item in range(n_items)]
    factors = fit_factors(pairs, names, config, {"offset": state.offset})
    engine.use_factors(factors)
    return factors


def refit_content(engine: Engine) -> ContentModel:
    """The content space of the engine's catalogue."""
    records = engine.items(n=len(engine.state.items))
    model = fit_content(records, meta={"offset": engine.offset})
    engine.use_content(model)
    return model
