"""From a query to a slate. ``Recommender.recommend`` reads as the diagram:

    interest -> retrieve -> filter -> score -> compose -> guard -> slate

It reads folded state and never writes (law L3). What it owns beside references is scratch, reused by every query under
the engine's lock. Failures of a part take that part out and are named in the slate, they do not fail the request.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from zlib import crc32

import numpy as np

from endcap.candidates import Candidates
from endcap.config import Config, LimitsConfig, PlacementConfig
from endcap.errors import NotFound
from endcap.features.likeness import Likeness
from endcap.features.rows import EVERY, Rows
from endcap.feedback.experiments import NOBODY, Assigned
from endcap.interest.interest import InterestReader
from endcap.models.linear import DEFAULT_TERMS, LinearRanker, Term
from endcap.policy import Choice, Policy, Scoring
from endcap.protocols import Ranker
from endcap.slate.compose import Composer
from endcap.slate.explore import Draws, Explored, Plan, explore, plan
from endcap.slate.filter import Filters
from endcap.slate.guard import Guard, fill
from endcap.slate.limits import HEAD, Limits
from endcap.slate.newcomers import Newcomers
from endcap.slate.reasons import MOST, Reasons
from endcap.slate.rules import ActiveRules, Rules
from endcap.sources import SOURCES, Sources
from endcap.state import State
from endcap.types import (
    F4,
    I4,
    U1,
    ConsentName,
    ImpressionName,
    Interest,
    InterestView,
    Placed,
    Query,
    Reason,
    RungName,
    Slate,
    UserNeighbour,
)

NO_LIMITS = LimitsConfig()
NO_ITEMS: I4 = np.zeros(0, np.int32)
BARELY: F4 = np.full(1, 1e-6, np.float32)  # the score of a candidate that no source stands behind
READ_AT_A_REQUEST = 16  # records turned into vectors while a backlog waits: well under a millisecond
DEEP = 256  # how far the popular list is read when a slate would stay short
COLUMN = {name: column for column, name in enumerate(SOURCES)}

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Ask:
    """A query with its names resolved."""

    query: Query
    placement: PlacementConfig
    n: int
    t_ms: int
    context: list[int]  # dense ids of query.items, -1 = unknown
    interest: Interest
    rules: ActiveRules
    scoring: Scoring
    choice: Choice
    draws: Draws | None = None  # None: nothing is tried out
    plan: Plan | None = None
    variants: dict[str, str] = field(default_factory=dict)  # experiments that this slate is part of
    degraded: list[str] = field(default_factory=list)


class Recommender:
    """The read side of one state."""

    def __init__(self, state: State, config: Config, sources: Sources | None = None) -> None:
        """``sources``: those of another read side of the same state, with what they were trained to."""
        self.state = state
        self.config = config
        self.interests = InterestReader(
            state.histories, state.cleaner, state.catalogue, config.interest, config.clean.session_gap_s
        )
        self.sources = sources or Sources(state)
        self.candidates = Candidates(SOURCES)
        self.rows = Rows(SOURCES, state, Likeness(self.sources.factors.vectors, self.sources.content.vectors))
        self.filters = Filters(state.catalogue)
        self.rules = Rules(config.rules, state.catalogue)
        self.composer = Composer(state.catalogue)
        self.guard = Guard(state.catalogue)
        self.newcomers = Newcomers(state.rhythm.shown)
        self.limits = Limits(state.catalogue, state.rhythm)
        families = self.rows.families(DEFAULT_TERMS)
        self._fallback = self.scoring_by(LinearRanker(self.rows.columns_of(families)), families)
        self.scoring = self._fallback
        self.held: dict[int, Scoring] = {}  # rankers of experiments, by number
        self._source_names: dict[int, list[str]] = {}
        self.policy = Policy(config, state, lambda one: self.weighted(one) if one.ranker == "linear" else None)
        for placement in self.policy.settings():
            if placement.filter:
                self.filters.mask(placement.filter)  # the first reading of a field takes long: not in a request
            if placement.limits.impressions_per_unit:
                state.catalogue.column("stock_qty")  # the same

    @property
    def ranker(self) -> Ranker:
        """What scores candidates."""
        return self.scoring.ranker

    def use_ranker(self, ranker: Ranker | None) -> None:
        """Score with another ranker from the next query on; None = the fixed weights."""
        self.scoring = self._fallback if ranker is None else self.scoring_by(ranker)

    def hold(self, rankers: dict[int, Ranker]) -> None:
        """Have these rankers at hand for experiments, by number, and no others."""
        self.held = {number: self.scoring_by(ranker) for number, ranker in rankers.items()}

    def over(self, state: State) -> Recommender:
        """A read side of another state with the models of this one."""
        other = Recommender(state, self.config, self.sources.over(state))
        other.hold({number: scoring.ranker for number, scoring in self.held.items()})
        if self.scoring is not self._fallback:
            other.use_ranker(self.ranker)
        return other

    def scoring_by(self, ranker: Ranker, families: frozenset[int] = EVERY) -> Scoring:
        """What a ranker needs around it. ``families``: those that its rows hold; all, unless it was made for fewer."""
        reasons = Reasons(SOURCES, ranker.terms, self.state.catalogue, self.state.regions.name)
        return Scoring(ranker, reasons, families)

    def weighted(self, placement: PlacementConfig) -> Scoring:
        """The fixed weights with a placement's own. ``ConfigError`` for a weight of no column."""
        if not placement.weights:
            return self._fallback
        known = {name: term for name, term in DEFAULT_TERMS.items() if name in self.rows.columns}
        own = {
            name: Term(weight, known[name].scale if name in known else 0.0)
            for name, weight in placement.weights.items()
        }
        LinearRanker(self.rows.columns, own)  # refuses unknown names with the nearest
        families = self.rows.families({**known, **own})
        return self.scoring_by(LinearRanker(self.rows.columns_of(families), {**known, **own}), families)

    # ------------------------------------------------------------ the path

    def recommend(
        self, query: Query, t_ms: int, request_id: str, impression: ImpressionName = "not_asked",
        asked: Assigned = NOBODY,
    ) -> Slate:  # fmt: skip
        """The slate for one query at ``t_ms``, as the experiments of this visitor want it.

        ``impression`` "logged": the caller logs that it was shown, so arms are drawn and places tried out, by random
        numbers that depend on the request id alone.
        """
        draws = Draws(crc32(request_id.encode())) if impression == "logged" else None
        ask = self.understand(query, t_ms, draws, asked)
        self.retrieve(ask)
        self.begin_guard(ask)
        if draws is not None and ask.placement.explore.share > 0.0:
            self.plan_exploration(ask, draws)
        slate = self.choose(ask, request_id, impression)
        if self.is_short(ask, slate):
            self.propose_fallback(ask)
            slate = self.choose(ask, request_id, impression, caps=False)
            if ask.placement.limits != NO_LIMITS and self.is_short(ask, slate):
                slate = self.choose(ask, request_id, impression, caps=False, limits=NO_LIMITS)
        return slate

    def understand(self, query: Query, t_ms: int, draws: Draws | None = None, asked: Assigned = NOBODY) -> Ask:
        """Names to dense ids; the interest at this moment; the strategy that answers."""
        context, interest = self.interest_of(query, t_ms)
        choice = self.policy.choose(query.placement, interest, draws, asked)
        placement = choice.strategy.placement
        return Ask(
            query, placement, query.n or placement.n, t_ms, context, interest, self.rules.at(query.placement, t_ms),
            self.held.get(asked.ranker or 0) or choice.strategy.scoring or self.scoring, choice, draws,
            variants=asked.variants,
        )  # fmt: skip

    def interest_of(self, query: Query, t_ms: int) -> tuple[list[int], Interest]:
        """Dense ids of the query's items, -1 = unknown, and the interest at this moment."""
        self.sources.catch_up(READ_AT_A_REQUEST)
        state = self.state
        user = state.user_of(query)
        context = [state.items.get(item_id) for item_id in query.items]
        hour, device, region = state.moment(query.context, t_ms)
        interest = self.interests.read(
            user, t_ms // 1000, context, hour=hour, device=device, region=region,
            personalized=query.personalization and state.people.may_profile(user),
        )  # fmt: skip
        interest.placement = query.placement
        return context, interest

    def retrieve(self, ask: Ask) -> None:
        """Let every source of the placement propose candidates; one that fails is left out and named."""
        self.candidates.begin(len(self.state.items))
        interest, candidates, wanted = ask.interest, self.candidates, ask.placement.candidates
        for name in ask.placement.switch.get(interest.warmth, ask.placement.sources):
            try:
                self.sources.by_name[name].retrieve(interest, candidates, COLUMN[name], wanted)
            except Exception:
                logger.exception("source %s failed", name)
                ask.degraded.append(f"source:{name}")
        if ask.rules.rules:
            pins = np.array([item for _, item in ask.rules.pins()], np.int32)
            candidates.propose(0, pins, np.zeros(pins.shape[0], np.float32))

    def begin_guard(self, ask: Ask) -> None:
        """State what may be shown in answer to this query."""
        query, interest, placement = ask.query, ask.interest, ask.placement
        keep = [self.filters.mask(tree) for tree in (placement.filter, query.filter) if tree]
        exclude = ask.context
        if query.exclude:
            exclude = exclude + [self.state.items.get(item_id) for item_id in query.exclude]
        if placement.shows:
            keep.append(self.state.persons.mask(placement.shows))
        known = placement.shows in ("people", "groups")
        barred = self.state.friends.barred(self.state.user_of(query), query.user_id, known=known)
        exclude = [*exclude, *barred] if barred else exclude
        self.guard.begin(
            ask.t_ms, exclude=exclude, hidden=interest.hidden[: interest.n_hidden],
            touched=interest.seeds[: interest.n_seeds] if placement.seen == "drop" else None,
            keep=keep, blocked=ask.rules.blocked(),
        )  # fmt: skip

    def plan_exploration(self, ask: Ask, draws: Draws) -> None:
        """Draw what this slate tries out; a new item that was drawn becomes a candidate, so that it has a score."""
        n_items, pool = len(self.state.items), NO_ITEMS
        if ask.placement.explore.new_items:
            items = self.newcomers.listed(ask.placement.explore.new_items, self.state.offset, n_items)
            if items.shape[0]:
                category, liked = self.state.catalogue.category, ask.interest.categories
                pool = self.newcomers.pool(items, self.guard.allow(items), category, liked)
        ask.plan = plan(ask.placement.explore, ask.n, pool, draws)
        if ask.plan.fresh >= 0:
            self.candidates.propose(COLUMN["popular"], np.array([ask.plan.fresh], np.int32), BARELY)

    def choose(
        self,
        ask: Ask,
        request_id: str,
        impression: ImpressionName,
        *,
        caps: bool = True,
        limits: LimitsConfig | None = None,
    ) -> Slate:
        """Score what was retrieved, compose, check once more, and say how it came about."""
        n_rows, placement = len(self.candidates), ask.placement
        items = self.candidates.items[:n_rows]
        keep = self.guard.allow(items)
        limits = placement.limits if limits is None else limits
        if limits != NO_LIMITS:
            who = ask.interest.user
            keep = self.limits.rest(limits, items, keep, self.state.offset, who, ask.t_ms // 1000)
        scores, rows = self.score(ask, items, self.candidates.score[:n_rows])
        promoted: U1 | None = None
        pins: list[tuple[int, int]] = []
        if ask.rules.rules:
            promoted = np.zeros(n_rows, np.uint8)
            ask.rules.scale(items, scores, promoted)
            pins = ask.rules.pins()

        def compose(may: U1) -> I4:
            return self.composer.compose(
                items, scores, may, ask.n, diversity=placement.diversity,
                category_cap=placement.category_cap if caps else 0, brand_cap=placement.brand_cap if caps else 0,
                pins=pins,
            )  # fmt: skip

        def within_shares(may: U1) -> I4:
            seen = ask.interest
            head, touched = self.sources.popular.head(HEAD), seen.seeds[seen.n_context : seen.n_seeds]
            while True:
                found = compose(may)
                surplus = self.limits.surplus(limits, found, items, ask.n, head, touched)
                if surplus.shape[0] == 0:
                    return found
                may = may.copy()
                may[surplus] = 0

        shares = limits.head_share < 1.0 or limits.novel_share > 0.0
        chosen = fill(self.guard, items, keep, ask.n, within_shares if shares else compose)
        if self.composer.n_nonfinite:
            ask.degraded.append(f"scores_not_finite:{self.composer.n_nonfinite}")
        pinned = {item for _, item in pins}
        explored: Explored | None = None
        if ask.plan is not None and ask.draws is not None:
            held, group = np.array([item for _, item in pins], np.int32), self.state.catalogue.group
            explored = explore(
                chosen, items, held, group, ask.placement.explore, ask.plan, ask.n, ask.draws
            )  # fmt: skip
            chosen = explored.rows
        return self.slate(ask, chosen, items, scores, rows, promoted, pinned, explored, request_id, impression)

    def score(self, ask: Ask, items: I4, source_scores: F4) -> tuple[F4, F4]:
        """Scores and feature rows; the fixed linear score takes over when the ranker fails."""
        rows = self.rows.read(ask.interest, items, source_scores, ask.scoring.families)
        try:
            return ask.scoring.ranker.score(rows), rows
        except Exception:
            if ask.scoring is self._fallback:
                raise
            logger.exception("ranker %s failed", ask.scoring.ranker.name)
            ask.degraded.append(f"ranker:{ask.scoring.ranker.name}")
            ask.scoring = self._fallback
            return self.score(ask, items, source_scores)

    def features(self, ask: Ask) -> tuple[I4, F4]:
        """The candidates of a query that may be shown, and every column of their rows; for training.

        ``retrieve`` and ``begin_guard`` must have been called. The rows are those that serving reads (law L4).
        """
        n = len(self.candidates)
        items = self.candidates.items[:n]
        rows = self.rows.read(ask.interest, items, self.candidates.score[:n])
        keep = self.guard.allow(items) > 0
        return items[keep], rows[keep]

    # ------------------------------------------------------------ fallbacks

    def is_short(self, ask: Ask, slate: Slate) -> bool:
        """Whether the ladder's next rung must help: nothing found, or a surface that is always full is not.

        On that rung the caps on categories and brands do not hold: a full shelf matters more than a varied one. Limits
        hold as long as there is anything else to show.
        """
        found = len(slate.items)
        return found == 0 or (found < ask.n and "popular" in ask.placement.sources)

    def propose_fallback(self, ask: Ask) -> None:
        """Popular items further down, the operator's static list, then anything that may be shown."""
        column = COLUMN["popular"]
        self.sources.popular.retrieve(ask.interest, self.candidates, column, DEEP)
        static = [self.state.items.get(item_id) for item_id in self.config.static_items]
        known = np.array([item for item in static if item >= 0], np.int32)
        self.candidates.propose(column, known, np.repeat(BARELY, known.shape[0]))
        n_items = len(self.state.items)
        allowed = np.flatnonzero(self.guard.allow(np.arange(n_items, dtype=np.int32))).astype(np.int32)
        allowed = np.setdiff1d(allowed, self.candidates.items[: len(self.candidates)], assume_unique=True)
        want = 4 * ask.n
        if allowed.shape[0] > want:
            popularity = self.state.counters.key[allowed].max(axis=(1, 2))
            allowed = allowed[np.argpartition(-popularity, want)[:want]]
        self.candidates.propose(column, allowed, np.repeat(BARELY, allowed.shape[0]))

    def rung(self, ask: Ask, n_placed: int) -> tuple[RungName, str]:
        """The rung of the degraded ladder, and the strategy in a word."""
        if n_placed == 0:
            return "refuse", "none"
        if ask.interest.n_seeds == 0:
            return ("static", "static") if self.sources.popular.is_empty() else ("popular", "popular")
        strategy = "personal" if ask.interest.n_context == 0 else "similar"
        if any(part.startswith("ranker:") for part in ask.degraded):
            return "no_model", strategy
        return ("fewer_sources" if ask.degraded else "full"), strategy

    # ------------------------------------------------------------ the answer

    def slate(
        self, ask: Ask, chosen: I4, items: I4, scores: F4, rows: F4, promoted: U1 | None, pinned: set[int],
        explored: Explored | None, request_id: str, impression: ImpressionName,
    ) -> Slate:  # fmt: skip
        """Records for people and programs from the rows that were chosen."""
        query, names = ask.query, self.state.items
        rung, strategy = self.rung(ask, chosen.shape[0])
        scoring = ask.scoring
        trace = scoring.ranker.trace(rows[chosen])
        placed_ids = items[chosen].tolist()
        if impression == "logged":
            self.state.announce(request_id, placed_ids)
        reasons = scoring.reasons.explain(
            ask.interest, chosen, items, self.candidates.seeds, trace, names.name,
            most=MOST if query.explain else 1,
            pinned=np.array([item in pinned for item in placed_ids], np.uint8) if pinned else None,
            promoted=None if promoted is None else promoted[chosen],
        )  # fmt: skip
        told = (names.names(placed_ids), scores[chosen].tolist(), reasons, self.sources_of(chosen))
        if explored is None:
            placed = list(map(Placed, *told))
        else:
            placed = list(map(Placed, *told, explored.propensity, explored.rank))
        if query.explain:
            placed = self.with_trace(placed, trace, scoring.ranker.terms)
        return Slate(
            request_id=request_id,
            items=placed,
            placement=query.placement,
            rung=rung,
            degraded=ask.degraded,
            offset=self.state.offset,
            ts=ask.t_ms,
            strategy=strategy,
            warmth=ask.interest.warmth,
            session_events=ask.interest.n_session,
            arm=ask.choice.strategy.arm,
            arm_propensity=ask.choice.propensity,
            variants=ask.variants,
            impression=impression,
            versions={"ranker": scoring.ranker.name, "policy": ask.choice.strategy.version},
            missing_ids=[item_id for item_id, item in zip(query.items, ask.context, strict=True) if item < 0],
            explanation=self.explanation(ask, scores[chosen]) if query.explain else None,
        )

    def sources_of(self, chosen: I4) -> list[list[str]]:
        """Names of the sources that proposed each chosen row."""
        known, proposers = self._source_names, self.candidates.proposers(chosen)
        for bits in proposers:
            if bits not in known:
                known[bits] = [name for k, name in enumerate(SOURCES) if bits >> k & 1]
        return [known[bits] for bits in proposers]

    def with_trace(self, placed: list[Placed], trace: F4, terms: tuple[str, ...]) -> list[Placed]:
        """The same items with every term of their score."""
        return [
            Placed(
                one.item_id, one.score, one.reasons, one.sources, one.propensity, one.rank,
                {term: part for term, part in zip(terms, parts, strict=True) if part != 0.0},
            )
            for one, parts in zip(placed, trace.tolist(), strict=True)
        ]  # fmt: skip

    def click_probability(self, ask: Ask, scores: F4) -> list[float] | None:
        """What the scores of the slate's items mean in clicks here; None before anything was shown."""
        found = self.state.calibration.probability(self.state.labels.get(f"placement:{ask.query.placement}"), scores)
        return None if np.isnan(found).any() else [round(one, 5) for one in found.tolist()]

    def explanation(self, ask: Ask, scores: F4) -> dict[str, object]:
        """How many candidates each source proposed and how many may be shown."""
        n = len(self.candidates)
        proposed = (self.candidates.score[:n] > 0).sum(axis=0).tolist()
        return {
            "candidates": n,
            "per_source": dict(zip(SOURCES, proposed, strict=True)),
            "allowed": int(self.guard.allow(self.candidates.items[:n]).sum()),
            "seeds": ask.interest.n_seeds,
            "session_seeds": ask.interest.n_session,
            "click_probability": self.click_probability(ask, scores),
        }

    # ------------------------------------------------------------ other reads

    def scores(self, query: Query, t_ms: int, item_ids: Sequence[str]) -> dict[str, float]:
        """The ranker's score of given items; 0-vectors of source scores for those that no source proposes."""
        ask = self.understand(query, t_ms)
        self.retrieve(ask)
        dense = {item_id: self.state.items.get(item_id) for item_id in item_ids}
        items = np.array([item for item in dense.values() if item >= 0], np.int32)
        self.candidates.propose(0, items, np.zeros(items.shape[0], np.float32))
        n = len(self.candidates)  # all of them: an item's rank is its rank among what the sources proposed
        scores, _ = self.score(ask, self.candidates.items[:n], self.candidates.score[:n])
        by_item = dict(zip(items.tolist(), scores[self.candidates.row_of[items]].tolist(), strict=True))
        return {item_id: by_item.get(item, 0.0) for item_id, item in dense.items()}

    def view(self, query: Query, t_ms: int) -> InterestView:
        """The interest in words."""
        ask = self.understand(query, t_ms)
        record = self.state.people.record(self.state.user_of(query))
        consent: ConsentName = record.consent if record else "unknown"
        return self.interests.view(
            ask.interest, self.state.items.name, user_id=query.user_id, anon_id=query.anon_id, consent=consent,
            personalization=ask.interest.personalized, offset=self.state.offset,
        )  # fmt: skip

    def similar_users(self, user_id: str, n: int) -> list[UserNeighbour]:
        """Known users with the most similar histories; anonymous visitors are left out."""
        dense = self.state.users.get("u" + user_id)
        if dense < 0:
            raise NotFound(f"no user {user_id[:80]!r}: no record and no event so far")
        users, similarity, shared = self.state.neighbours.similar_users(dense, n)
        walls = {int(self.state.persons.user_of[item]) for item in self.state.friends.barred(dense)}
        found = zip(users.tolist(), similarity, shared, strict=True)
        named = ((self.state.users.name(u), s, k) for u, s, k in found if u not in walls)
        return [UserNeighbour(name[1:], float(s), int(k)) for name, s, k in named if name.startswith("u")]


__all__ = ["Reason", "Recommender"]
