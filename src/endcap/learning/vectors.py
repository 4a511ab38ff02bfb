"""Vectors: what the trained sources of an engine speak by, fitted from what it knows now and swapped in.

One call for a background job, an evaluation on a virtual clock, or a notebook. What there is too little data for is
left as it was, and said. Deep models learn from sequences, which only a state that notes them has
(learning/sequences.py).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np

from endcap.engine import Engine, Progress, silent
from endcap.learning.boosting import TooFewExamples
from endcap.learning.cold import fit_projection
from endcap.learning.content import fit_content
from endcap.learning.factors import factors_of_ratings, fit_factors, pairs_of
from endcap.learning.fusion import fit_fusion
from endcap.learning.networks import Lessons, fit_network
from endcap.learning.ratings import Ratings
from endcap.learning.sequences import NotedState
from endcap.models.content import ContentModel
from endcap.models.factors import Factors
from endcap.models.network import MODELS, Network
from endcap.sources import Trained

ALWAYS = ("factors", "content", "alike")  # cheap enough to be fitted unasked


def refit_vectors(engine: Engine, kinds: Collection[str] = ALWAYS, progress: Progress = silent) -> dict[str, str]:
    """Fit and use these kinds. Gives by kind what became of it: "used", or why it was not fitted."""
    fitted = fit_vectors(engine, kinds, progress=progress)
    return {kind: found if isinstance(found, str) else "used" for kind, found in fitted.items()}


def fit_vectors(
    engine: Engine, kinds: Collection[str], ratings: Ratings | None = None, progress: Progress = silent,
    checkpoints: Path | None = None,
) -> dict[str, Trained | str]:  # fmt: skip
    """The same, but gives what was fitted itself. ``ratings``: for ``factors.method = "mf"``."""
    found: dict[str, Trained | str] = {}
    for kind in (*ALWAYS, *MODELS):
        if kind in kinds:
            try:
                found[kind] = fitted(engine, kind, ratings, progress, checkpoints)
            except TooFewExamples as few:
                found[kind] = few.message
    return found


def fitted(engine: Engine, kind: str, ratings: Ratings | None, progress: Progress, checkpoints: Path | None) -> Trained:
    """Fit one kind and let the engine serve it."""
    if kind == "factors":
        model: Trained = new_factors(engine, ratings)
    elif kind == "content":
        model = new_content(engine)
    elif kind == "alike":
        model = fit_fusion(engine, {"offset": engine.offset})
    else:
        model = new_network(engine, kind, progress, checkpoints)
    engine.use_model(kind, model)
    return model


def new_factors(engine: Engine, ratings: Ratings | None = None) -> Factors:
    """Factors of the interactions that the engine's rings hold; with ``factors.method = "mf"``, of ``ratings``.

    With them goes the map that gives cold items a vector, where one can be learned.
    """
    state, config = engine.state, engine.config.factors
    n_users, n_items = len(state.users), len(state.items)
    if config.method == "mf":
        if ratings is None:
            raise TooFewExamples("factors.method is mf, which reads ratings from a log: endcap train does")
        factors = factors_of_ratings(ratings, config, {"offset": state.offset})
        reach = dict(zip(ratings.item_ids, np.bincount(ratings.item, minlength=len(ratings.item_ids)), strict=True))
    else:
        pairs = pairs_of(state.histories, n_users, n_items, engine.runtime.now() // 1000, config.half_life_d)
        names = [state.items.name(item) for item in range(n_items)]
        factors = fit_factors(pairs, names, config, {"offset": state.offset})
        reach = dict(zip(names, np.bincount(pairs.item, minlength=n_items), strict=True))
    items = np.array([state.items.get(item_id) for item_id in factors.item_ids], np.int32)
    projection = fit_projection(
        items, factors.vectors, np.array([reach[item_id] for item_id in factors.item_ids], np.int32),
        [state.catalogue.record(item) for item in items.tolist()], state.vectors,
    )  # fmt: skip
    return replace(factors, projection=projection)


def new_content(engine: Engine) -> ContentModel:
    """The content space of the engine's catalogue."""
    return fit_content(engine.items(n=len(engine.state.items)), meta={"offset": engine.offset})


def new_network(engine: Engine, model: str, progress: Progress = silent, checkpoints: Path | None = None) -> Network:
    """A deep model of what the engine's state has noted."""
    state = engine.state
    if not isinstance(state, NotedState):
        raise TooFewExamples(f"{model} learns from sequences, which this engine does not note: endcap train does")
    sequences = state.sequences(engine.config.deep.events)
    gap_s = engine.config.clean.session_gap_s
    records = [state.catalogue.record(item) for item in range(len(sequences.item_ids))]
    meta = {"offset": state.offset, "gap_s": gap_s}
    return fit_network(model, Lessons(sequences, records), engine.config.deep, meta, progress, checkpoints)
