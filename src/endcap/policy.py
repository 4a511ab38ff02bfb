"""Policy: which strategy answers a query, and with what probability.

A placement has a strategy: its settings and what scores its candidates. With arms it has several, and the bandit says
how likely each is the best at this moment. On a slate that is logged as shown the arm is drawn from these
probabilities; otherwise the likeliest arm answers, so that an answer nobody learns from tries nothing out.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b

import msgspec

from endcap.batches import WARMTH_CODE
from endcap.config import Config, PlacementConfig, overridden
from endcap.errors import ConfigError, InvalidInput
from endcap.feedback.experiments import NOBODY, Assigned
from endcap.protocols import Ranker
from endcap.slate.explore import Draws
from endcap.slate.reasons import Reasons
from endcap.sources import SOURCES
from endcap.state import State
from endcap.types import Interest

MAX_VARIED = 256


@dataclass(frozen=True, slots=True)
class Scoring:
    """A ranker, how its scores are told, and the feature families that it looks at."""

    ranker: Ranker
    reasons: Reasons
    families: frozenset[int]


@dataclass(frozen=True, slots=True)
class Strategy:
    """One way to answer a placement."""

    arm: str  # "" = the placement has none
    label: str  # of the arm in the state's numbering
    placement: PlacementConfig
    scoring: Scoring | None  # None: the ranker that serves at the moment
    version: str  # hash of the settings


@dataclass(frozen=True, slots=True)
class Choice:
    """A strategy and the probability that it was drawn."""

    strategy: Strategy
    propensity: float = 1.0


class Policy:
    """The strategies of all placements."""

    def __init__(self, config: Config, state: State, scoring_of: Callable[[PlacementConfig], Scoring | None]) -> None:
        """``ConfigError`` or ``InvalidInput`` for settings of a placement or an arm that make no sense."""
        self._state = state
        self._placements = config.placements
        self._scoring_of = scoring_of
        self._varied: dict[int, Strategy] = {}  # by identity of the settings
        self._strategies = {name: self._strategies_of(name, one) for name, one in config.placements.items()}

    def _strategies_of(self, name: str, placement: PlacementConfig) -> list[Strategy]:
        """The placement's arms, or the placement itself when it has none."""
        check_placement(name, placement)
        if not placement.arms:
            return [self.strategy(name, "", placement)]
        return [
            self.strategy(name, arm, overridden(f"placements.{name}.arms.{arm}", placement, changes))
            for arm, changes in placement.arms.items()
        ]

    def strategy(self, name: str, arm: str, placement: PlacementConfig) -> Strategy:
        """A strategy from checked settings."""
        check_placement(f"{name}/{arm}" if arm else name, placement)
        version = blake2b(msgspec.json.encode(placement), digest_size=4).hexdigest()
        return Strategy(arm, f"arm:{name}/{arm}", placement, self._scoring_of(placement), version)

    def varied(self, name: str, placement: PlacementConfig) -> Strategy:
        """The strategy of a variant. The experiments' settings are few and live as long as they run."""
        found = self._varied.get(id(placement))
        if found is None or found.placement is not placement:
            if len(self._varied) >= MAX_VARIED:
                self._varied.clear()
            found = self._varied[id(placement)] = self.strategy(name, "", placement)
        return found

    def settings(self) -> list[PlacementConfig]:
        """The settings of every strategy."""
        return [one.placement for several in self._strategies.values() for one in several]

    def placement(self, name: str) -> PlacementConfig:
        """The configuration of a placement, or an error that names the nearest one."""
        found = self._placements.get(name)
        if found is None:
            near = difflib.get_close_matches(name, self._placements, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; configured: {', '.join(self._placements)}"
            raise InvalidInput(f"no placement {name[:80]!r}{hint}", field="placement")
        return found

    def choose(self, name: str, interest: Interest, draws: Draws | None, asked: Assigned = NOBODY) -> Choice:
        """The strategy for a placement at a moment; ``draws`` None: the likeliest one.

        A variant of an experiment that changes settings is one strategy, without arms.
        """
        self.placement(name)
        if asked.placement is not None:
            return Choice(self.varied(name, asked.placement))
        strategies = self._strategies[name]
        if len(strategies) == 1:
            return Choice(strategies[0])
        chances = self.chances(name, interest)
        if draws is None:
            return Choice(self.likeliest(strategies, chances).strategy)
        left = draws.uniform()
        for strategy, chance in zip(strategies, chances, strict=True):
            left -= chance
            if left < 0.0 and chance > 0.0:
                return Choice(strategy, chance)
        return self.likeliest(strategies, chances)  # probabilities that sum to a hair less than 1

    @staticmethod
    def likeliest(strategies: list[Strategy], chances: list[float]) -> Choice:
        """The strategy with the largest probability."""
        at = max(range(len(chances)), key=chances.__getitem__)
        return Choice(strategies[at], chances[at])

    def chances(self, name: str, interest: Interest) -> list[float]:
        """P(arm) for the arms of a placement at a moment, in their order."""
        explore, labels = self._placements[name].explore, self._state.labels
        chances: list[float] = self._state.bandit.probabilities(
            [labels.get(strategy.label) for strategy in self._strategies[name]],
            interest.hour, interest.device, interest.region, WARMTH_CODE[interest.warmth], interest.n_session,
            explore.arm_floor, explore.arm_cap,
        ).tolist()  # fmt: skip
        return chances


def check_placement(name: str, placement: PlacementConfig) -> None:
    """Refuse settings that cannot mean anything."""
    if placement.weights and placement.ranker != "linear":
        raise ConfigError(f'placement {name!r} sets weights, which only the linear ranker has; set ranker = "linear"')
    explore = placement.explore
    bounded = (explore.share <= 0.5, explore.arm_floor <= 0.5, explore.arm_cap <= 1.0, explore.share >= 0.0)
    if not all(bounded) or explore.arm_floor < 0.0 or explore.arm_cap < 0.0 or explore.new_items < 0:
        raise ConfigError(
            f"placement {name!r} explores with share {explore.share}, arm_floor {explore.arm_floor}, arm_cap "
            f"{explore.arm_cap} and new_items {explore.new_items}; expected share and arm_floor from 0 to 0.5, arm_cap "
            "from 0 to 1 and a count of 0 or more"
        )
    limits = placement.limits
    shares = (limits.head_share, limits.novel_share, limits.item_share)
    if not all(0.0 <= share <= 1.0 for share in shares) or limits.impressions_per_unit < 0:
        raise ConfigError(
            f"placement {name!r} has limits head_share {limits.head_share}, novel_share {limits.novel_share}, "
            f"item_share {limits.item_share} and impressions_per_unit {limits.impressions_per_unit}; expected shares "
            "from 0 to 1 and a count of 0 or more"
        )
    if placement.arms and explore.arm_floor * len(placement.arms) > 1.0:
        raise ConfigError(f"placement {name!r}: {len(placement.arms)} arms cannot all get {explore.arm_floor}")
    for source in [*placement.sources, *(one for sources in placement.switch.values() for one in sources)]:
        if source not in SOURCES:
            near = difflib.get_close_matches(source, SOURCES, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(SOURCES)}"
            raise InvalidInput(f"placement {name!r} names the source {source!r}, which does not exist; {hint}")
