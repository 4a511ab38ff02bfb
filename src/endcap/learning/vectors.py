"""Vectors: factors and content space of an engine, fitted from what it knows now and swapped in.

One call for a background job, an evaluation on a virtual clock, or a notebook. What there is too little data for is
left as it was, and said.
"""

from __future__ import annotations

from endcap.engine import Engine
from endcap.learning.boosting import TooFewExamples
from endcap.learning.content import fit_content
from endcap.learning.factors import fit_factors, pairs_of
from endcap.models.content import ContentModel
from endcap.models.factors import Factors


def refit_vectors(engine: Engine) -> dict[str, str]:
    """Fit and use both. Gives by model what became of it: "used", or why it was not fitted."""
    outcome: dict[str, str] = {}
    for name, refit in (("factors", refit_factors), ("content", refit_content)):
        try:
            refit(engine)
            outcome[name] = "used"
        except TooFewExamples as few:
            outcome[name] = few.message
    return outcome


def refit_factors(engine: Engine) -> Factors:
    """Factors of the interactions that the engine's rings hold."""
    state, config = engine.state, engine.config.factors
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
