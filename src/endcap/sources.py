"""Sources: everything that proposes candidates from one state, by name, and what of it was trained.

Some sources read what the state folds and need nothing else. Others speak once a training has given them something:
factors, a content space, weights of modalities, a network. ``use`` swaps that between two requests.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from endcap.interest.interest import empty_interest
from endcap.models.alike import MODALITIES, AlikeSource
from endcap.models.cold import ColdItems
from endcap.models.content import ContentModel, ContentSource, unfitted
from endcap.models.factors import Factors, FactorsSource
from endcap.models.fresh import FreshSource
from endcap.models.fusion import FusedSource, Fusion
from endcap.models.gru4rec import Gru4RecSource
from endcap.models.history import HistorySource
from endcap.models.item_item import BoughtTogetherSource, CovisitSource
from endcap.models.kindred import KindredSource
from endcap.models.network import MODELS, Network, NetworkSource
from endcap.models.nextitnet import NextItNetSource
from endcap.models.popular import PopularSource, TrendingSource
from endcap.models.sasrec import SasRecSource
from endcap.models.term_index import TermIndex
from endcap.models.two_tower import TwoTowerSource
from endcap.models.vectors import Codes, coded
from endcap.models.youtube import YoutubeSource
from endcap.protocols import Source
from endcap.state import State
from endcap.types import F4, Interaction, Interest, Stored

SOURCES = (
    "history",
    "covisit",
    "bought_together",
    "session_knn",
    "user_knn",
    "popular",
    "factors",
    "content",
    "trending",
    "item2vec",
    "friends",
    "kindred",
    "fresh",
    *MODALITIES,
    "alike",
    *MODELS,
)
TRAINED = ("factors", "content", "alike", *MODELS)
Trained = Factors | ContentModel | Fusion | Network
Prepared = F4 | Codes | None
FOLLOWED = 16  # shoppers whose next answers wait to be looked for; of more their request does it when it comes


class Sources:
    """The sources of one state. They share scratch with each other, so one thread at a time may ask them."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._followed: dict[int, Interaction] = {}  # by shopper: the newest event
        self._ahead: list[tuple[NetworkSource, Interest]] = []  # what is left to do for one of them
        self.popular = PopularSource(state.counters.tops, state.met)
        self.factors = FactorsSource(ColdItems(state.catalogue, state.vectors))
        self.content = ContentSource(state.catalogue)
        self.terms = TermIndex(state.catalogue)  # what a search reads
        self.alike = FusedSource(self.content, state.vectors, state.catalogue)
        self.two_tower = TwoTowerSource(state.histories, state.catalogue, state.regions)
        self.networks: dict[str, NetworkSource] = {
            "two_tower": self.two_tower,
            "youtube": YoutubeSource(state.histories),
            "gru4rec": Gru4RecSource(state.histories),
            "nextitnet": NextItNetSource(state.histories),
            "sasrec": SasRecSource(state.histories),
        }
        self.by_name: dict[str, Source] = {
            "history": HistorySource(),
            "covisit": CovisitSource(state.covisit, state.met),
            "bought_together": BoughtTogetherSource(state.covisit, state.met),
            "session_knn": state.sessions,
            "user_knn": state.neighbours,
            "popular": self.popular,
            "factors": self.factors,
            "content": self.content,
            "trending": TrendingSource(state.counters.tops, state.met),
            "item2vec": state.item2vec,
            "friends": state.friends,
            "kindred": KindredSource(state.neighbours, state.persons),
            "fresh": FreshSource(state.catalogue, state.fresh_half_life_h),
            **{name: AlikeSource(name, state.vectors) for name in MODALITIES},
            "alike": self.alike,
            **self.networks,
        }

    def over(self, state: State) -> Sources:
        """The sources of another state with the models of this one."""
        other = Sources(state)
        other.factors.use(self.factors.factors, state.items, self.factors.codes)
        if self.content.model is not None:
            other.content.use(self.content.model, self.content.projection)
        other.alike.use(self.alike.fusion)
        for name, source in self.networks.items():
            other.networks[name].use(source.network, state.items, source.codes)
        other.terms.asked = self.terms.asked
        return other

    def use(self, kind: str, model: Trained | None, ready: Prepared = None) -> None:
        """Let the source ``kind`` speak by another model from the next query on, or by none.

        ``ready``: from ``prepared``. ``ArtifactError`` when the model cannot be right.
        """
        codes = ready if isinstance(ready, Codes) else None
        if kind == "content" and isinstance(model, ContentModel | None) and isinstance(ready, np.ndarray):
            self.content.use(model, ready)
        elif kind == "factors" and isinstance(model, Factors | None):
            self.factors.use(model, self._state.items, codes)
        elif kind == "alike" and isinstance(model, Fusion | None):
            self.alike.use(model)
        elif kind in MODELS and isinstance(model, Network | None):
            self.networks[kind].use(model, self._state.items, codes)
        else:
            raise TypeError(f"a {type(model).__name__} is no model of the source {kind!r}")

    def catch_up(self, most: int) -> int:
        """Give vectors to what the catalogue gained or changed, at most ``most`` items; returns how many still wait."""
        sources = (self.content, self.factors, self.two_tower, self.terms)
        return max(source.catch_up(most) for source in sources)

    def serving(self) -> list[str]:
        """The trained sources that have something to speak by."""
        found: dict[str, Trained | None] = {"factors": self.factors.factors, "content": self.content.model}
        found["alike"] = self.alike.fusion
        found |= {name: source.network for name, source in self.networks.items()}
        return [name for name, model in found.items() if model is not None]

    def follow(self, stored: Sequence[Stored]) -> None:
        """Note whose events were just folded: ``look_ahead`` turns to them, the last first."""
        if all(source.network is None for source in self.networks.values()):
            return
        followed, events = self._followed, [one.event for one in stored if isinstance(one.event, Interaction)]
        for event in events[-FOLLOWED:]:
            user = self._state.person(event.user_id, event.anon_id)
            followed.pop(user, None)
            followed[user] = event
        while len(followed) > FOLLOWED:
            del followed[next(iter(followed))]

    def look_ahead(self) -> bool:
        """Compute what one network will say to one of those followed, well under a millisecond; False: all is done.

        The request would compute the same, so this is for when nothing else waits. Where the moment counts, that of
        the event is expected to last.
        """
        if self._ahead:
            source, interest = self._ahead.pop()
            source.look_ahead(interest)
        elif self._followed:
            user, event = self._followed.popitem()
            if user >= 0 and self._state.people.may_profile(user):
                interest = empty_interest()
                t_ms = max(event.ts, event.received_at)
                interest.user, interest.t_s = user, t_ms // 1000
                interest.hour, interest.device, interest.region = self._state.moment(event.context, t_ms)
                awake = [source for source in self.networks.values() if source.network is not None]
                self._ahead = [(source, interest) for source in awake]
        return bool(self._ahead or self._followed)


def prepared(kind: str, model: Trained | None) -> Prepared:
    """What ``Sources.use`` needs beside a model; takes a second, for which nobody should hold a lock."""
    if kind == "content":
        return model.projection() if isinstance(model, ContentModel) else unfitted()
    if not isinstance(model, Factors | Network):
        return None
    model.check()
    return coded(model.vectors)
