"""One frozen ``Config``, read from TOML and environment.

``endcap.toml`` holds what differs from the defaults below; ``ENDCAP_SECTION__KEY`` overrides a single value. Unknown
keys are refused with the nearest known name. ``endcap config`` prints the effective table with each value's source.
The comment behind a setting is its documentation: unit, meaning, when to change it.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_type_hints

import msgspec
from msgspec import Struct, field

from endcap.errors import ConfigError


class ServerConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """HTTP."""

    host: str = "127.0.0.1"  # address to listen on; beyond loopback needs keys
    port: int = 8080  # 0 = any free one
    max_body_bytes: int = 4_000_000  # larger bodies get 413
    max_batch: int = 5_000  # events or items in one request
    max_in_flight: int = 512  # requests under way before new ones are shed with 503 and Retry-After
    max_pending_events: int = 50_000  # events waiting for the disk before writers are told to wait (429)
    behind_wait_ms: int = 200  # how long a query with at_least waits for that offset
    drain_s: float = 10.0  # how long a stop waits for requests under way
    allow_origins: list[str] = field(default_factory=list)  # browser origins for CORS, exact, no wildcard


class LogConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The durable event log."""

    durability: Literal["always", "os"] = "always"  # always: fsync before every ack (grouped); os: leave it to the OS
    group_max: int = 4_096  # most events in one commit


class IntakeConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Events in the formats of other platforms (see Connecting)."""

    position_base: int = 1  # number of the first place in a list, as the sender counts (Segment: 1)
    traits: list[str] = field(
        default_factory=lambda: ["gender", "age_group", "country", "region", "language", "plan", "tier", "segment"]
    )  # what is kept of a user's traits; the others (e-mail, phone, name, address) are dropped
    shopify_secret: str = ""  # that Shopify signs webhooks with; empty = they are refused
    woocommerce_secret: str = ""  # the same of WooCommerce


class SnapshotConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Snapshots are a cache of the folded state; they make a restart quick."""

    every_events: int = 250_000  # write one after this many new events, and at a clean stop
    keep: int = 2  # older ones are deleted


class CleanConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cleaning rules. Each can be switched off by name in ``off``; each reports its counts."""

    off: list[str] = field(default_factory=list)  # of: repeated flood bot late price_outlier quantity_outlier
    session_gap_s: int = 1_800  # a pause of more than this starts a new session
    repeat_window_s: int = 2  # same user, item and action inside this counts once
    flood_per_min: int = 240  # interactions of one user per minute; more are kept but not counted
    bot_distinct_per_min: int = 60  # distinct items viewed in a minute that no person reaches
    bot_views_without_pause: int = 40  # views in a row, each within bot_pause_s of the last
    bot_pause_s: int = 1  # seconds between two views that a person needs at least
    lateness_h: int = 168  # older than this at arrival: kept in the log, left out of live statistics
    future_s: int = 300  # client clocks may run ahead by this; then the time is clamped, beyond it the event is refused
    price_ratio: float = 20.0  # a price this many times above or below the item's usual one is an outlier
    quantity_mads: float = 8.0  # robust z-score above which a quantity is clipped


class CatalogueConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The catalogue."""

    sell_unlisted: bool = True  # recommend items known only from events; False: only items the shop has sent
    fresh_half_life_h: float = 168.0  # source fresh: hours after which an item's newness counts half


class InterestConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a history becomes an interest."""

    half_life_h: float = 24.0  # of an item's weight with its age, on top of its rank in the history
    long_half_life_d: float = 30.0  # of long-term category and brand taste
    floor: float = 0.05  # least recency factor, so that old taste never vanishes


class CovisitConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Item-to-item statistics."""

    neighbours: int = 64  # kept per item, a power of two
    tail: int = 30  # earlier items of the same user that a new event is paired with
    window_h: float = 24.0  # pairs further apart are not counted (purchases: buy_window_d)
    buy_window_d: float = 14.0  # the same for two purchases
    pair_half_life_s: float = 3_600.0  # closeness in time of the two events of a pair
    age_half_life_d: float = 30.0  # forgetting of old pairs


class SessionKnnConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Session-kNN."""

    m: int = 500  # most recent sessions looked at
    k: int = 100  # nearest of them used
    max_sessions: int = 1_048_576  # sessions remembered
    posting: int = 512  # sessions remembered per item, a power of two


class UserKnnConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """User-user neighbours."""

    k: int = 40  # nearest users used
    posting: int = 64  # users remembered per item, a power of two
    seeds: int = 20  # own items used to find neighbours
    session_enough: int = 4  # not asked when the running session holds this many items: it says more; 0 = always ask


class FactorsConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Matrix factorisation, trained in the background."""

    method: Literal["als", "bpr", "mf"] = "als"  # als: least squares; bpr: pairwise ranking; mf: explicit ratings only
    dim: int = 64  # numbers per item
    alpha: float = 40.0  # als: an item of weight w counts 1 + alpha w as much as one that was never touched
    regularization: float = 20.0  # als, and the shopper's own vector at each request
    iterations: int = 12  # als: passes over users and items
    bpr_regularization: float = 0.01  # bpr: pull of every number towards 0
    bpr_iterations: int = 100  # bpr: passes over the pairs
    learning_rate: float = 0.05  # bpr: step size
    mf_regularization: float = 0.05  # mf: pull of every bias and number towards 0
    mf_iterations: int = 30  # mf: passes over the ratings
    mf_learning_rate: float = 0.02  # mf: step size
    half_life_d: float = 60.0  # of an interaction's weight with its age at training
    min_users: int = 2  # items that fewer touched get no vector
    seed: int = 0  # of the random start; the same data and seed give the same factors


class LearningConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The trained ranker (``endcap train``)."""

    rewards: dict[str, float] = field(
        default_factory=lambda: {"click": 1.0, "cart": 3.0, "purchase": 6.0}
    )  # what each outcome is worth; an item's score is the expected sum
    window_d: float = 28.0  # the newest days whose requests teach; at most half of the log
    judged_share: float = 0.15  # newest part of the window that is not learned: it decides whether the ranker may serve
    queries: int = 12_000  # most requests learned from, the newest
    negatives: int = 48  # wrong candidates kept per request
    trees: int = 100  # per objective
    leaves: int = 16  # per tree, at most 32
    learning_rate: float = 0.1  # smaller needs more trees
    seed: int = 1  # the same log and seed give the same ranker
    slates_enough: int = 2_000  # logged slates with a right answer from which on they teach; below in proportion
    every_h: float = 0.0  # a server trains in the background this often, when there is news; 0 = never


class DeepConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Deep models (``endcap train sasrec``); training needs the extra ``torch``, serving ``onnx``."""

    dim: int = 64  # numbers per item
    epochs: int = 40  # most passes over the log; training stops earlier when held-out sequences get no better
    minutes: float = 10.0  # most time for one model; what is best until then is kept
    events: int = 2_000_000  # newest interactions learned from
    threads: int = 2  # of the training process
    seed: int = 1  # the same log and seed give the same model


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A merchant's rule. ``items`` or ``filter`` say what it acts on."""

    name: str  # for people
    action: Literal["pin", "boost", "bury", "block"]  # fix a place, raise, lower, never show
    placements: list[str] = field(default_factory=list)  # empty = all
    items: list[str] = field(default_factory=list)  # item ids
    filter: dict[str, Any] | None = None  # or: every item that this filter keeps
    position: int = 0  # pin: 0-based place of the first pinned item
    factor: float = 2.0  # boost multiplies the score, bury divides it
    starts_at: str | None = None  # ISO 8601 with offset
    ends_at: str | None = None  # the same; the rule holds before this moment


class FeedConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A product feed that the server reads again and again."""

    name: str  # for people, and for its state
    url: str  # http or https; user:password@ before the host for a feed behind a password
    every_min: float = 60.0  # minutes between two looks; a feed that did not change costs one small request
    kind: Literal["auto", "xml", "csv", "jsonl", "jsonld", "html", "parquet"] = "auto"  # auto: told by its first bytes
    vanished: Literal["out_of_stock", "delete"] = "out_of_stock"  # what becomes of items that the feed held before
    max_shrink: float = 0.3  # a feed that lost more than this share of its items is not believed; 1 = believe anything
    allow_private: bool = False  # True: the address may be of this machine or a private network
    max_bytes: int = 1_000_000_000  # unpacked; a larger feed is not read
    max_s: float = 300.0  # seconds that fetching may take


class ExploreConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much a placement may try out, only on slates that are logged as shown."""

    share: float = 0.0  # most of a slate's places, on average, that trying out may change; 0 = never
    protected: bool = True  # the first place is never touched
    new_items: int = 50  # an item shown less often than this is new: half of ``share`` goes to new ones; 0 = only swaps
    arm_floor: float = 0.01  # least probability of an arm
    arm_cap: float = 1.0  # most that arms other than the likeliest best get together; small where revenue hangs on it


class LimitsConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What keeps a loop that learns from its own slates from running away. All off by default."""

    head_share: float = 1.0  # most of a slate's places for the 100 most viewed items of the week
    novel_share: float = 0.0  # least of a slate's places for items that this shopper never touched
    item_share: float = 1.0  # most of all impressions that one item may have; above it the item rests
    impressions_per_unit: int = 0  # what one piece in stock is good for a day; more is shared out by lot; 0 = no limit


class FeedbackConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How what happened after a slate is joined to it, and what it is worth."""

    rewards: dict[str, float] = field(
        default_factory=lambda: {
            "click": 1.0, "cart": 3.0, "purchase": 6.0, "rating": 3.0, "like": 2.0, "consume": 2.0, "dislike": -3.0,
            "refund": -6.0,
        }
    )  # fmt: skip  # rating is scaled by its value on -1..1, consume by the share consumed
    window_h: float = 24.0  # a slate can be rewarded for this long; until then its outcome is immature
    touch_min: float = 30.0  # without a request id, a click or cart belongs to a slate at most this old
    slates: int = 262_144  # most slates that wait for their outcome at a time; the oldest make room
    half_life_requests: int = 2_000  # of what arms learned, in requests of the placement
    wait_for_log: bool = False  # True: a slate leaves only when the log has its impression; a commit slower, none lost


class PlacementConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A named surface and how its list is made.

    Newest first: fresh. Where people follow each other: friends kindred. Deep models: two_tower
    youtube gru4rec nextitnet sasrec.
    """

    sources: list[str]  # of: history covisit bought_together session_knn user_knn factors content popular trending
    n: int = 12  # items when the query does not say
    shows: Literal["", "items", "people", "groups"] = ""  # only these; empty = whatever the sources propose
    filter: dict[str, Any] | None = None  # only items that it keeps, besides the query's own filter
    seen: Literal["keep", "drop"] = "keep"  # drop: never show what this shopper already touched
    diversity: float = 0.25  # MMR: 0 = by score alone, 1 = as different as possible
    category_cap: int = 0  # most items of one leaf category, 0 = no cap
    brand_cap: int = 0  # the same for a brand
    candidates: int = 48  # asked of each source
    ranker: Literal["trained", "linear"] = "trained"  # linear: the fixed weights, even where a trained ranker serves
    weights: dict[str, float] = field(default_factory=dict)  # linear only: columns' weights that differ, 0 = none
    switch: dict[Literal["cold", "warm", "hot"], list[str]] = field(
        default_factory=dict
    )  # other sources for shoppers of whom nothing (cold), a little (warm) or enough (hot) is known
    explore: ExploreConfig = field(default_factory=ExploreConfig)  # trying out, with known probabilities
    limits: LimitsConfig = field(default_factory=LimitsConfig)  # against runaway
    arms: dict[str, dict[str, Any]] = field(
        default_factory=dict
    )  # name -> settings of this table that differ; which arm serves is learned from rewards, by context


PRESETS = ("shop", "news", "social")
DEEP = ("two_tower", "youtube", "gru4rec", "nextitnet", "sasrec")  # silent until one was trained and helped


def alike_placements() -> dict[str, PlacementConfig]:
    """What ``GET /v1/items/{id}/similar?by=`` answers by. Likeness weighs so much that it decides the order."""
    ways = {
        "text": ["text", "content"], "image": ["image"], "audio": ["audio"],
        "behaviour": ["covisit", "session_knn", "factors"],
        "all": ["alike", "covisit", "session_knn", "factors"],
    }  # fmt: skip
    near = {f"src:{name}": 10.0 for name in ("text", "content", "image", "audio")}
    return {
        f"similar_{way}": PlacementConfig(
            sources=sources, diversity=0.0, ranker="trained" if way in ("behaviour", "all") else "linear",
            weights={} if way in ("behaviour", "all") else {f: w for f, w in near.items() if f[4:] in sources},
        )
        for way, sources in ways.items()
    }  # fmt: skip


def shop_placements() -> dict[str, PlacementConfig]:
    """The surfaces of a shop."""
    return {
        "home": PlacementConfig(
            sources=["history", "covisit", "session_knn", "factors", "popular", "trending", *DEEP],
            n=12,
            category_cap=4,
            candidates=36,
            explore=ExploreConfig(share=0.02),
        ),
        "product": PlacementConfig(
            sources=["covisit", "session_knn", "content", "popular", *DEEP], seen="keep", diversity=0.15
        ),
        "similar": PlacementConfig(sources=["covisit", "session_knn", "content"], diversity=0.0),
        **alike_placements(),
        "bought_together": PlacementConfig(sources=["bought_together"], n=6, diversity=0.0),
        "cart": PlacementConfig(sources=["bought_together", "covisit", "session_knn"], n=8, seen="drop"),
        "trending": PlacementConfig(sources=["popular"], diversity=0.0),
        "email": PlacementConfig(sources=["covisit", "user_knn", "popular"], seen="drop"),
    }


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be set."""

    preset: str = "shop"  # shop, news or social: the defaults that a file is laid over
    server: ServerConfig = field(default_factory=ServerConfig)
    log: LogConfig = field(default_factory=LogConfig)
    intake: IntakeConfig = field(default_factory=IntakeConfig)
    snapshot: SnapshotConfig = field(default_factory=SnapshotConfig)
    clean: CleanConfig = field(default_factory=CleanConfig)
    catalogue: CatalogueConfig = field(default_factory=CatalogueConfig)
    interest: InterestConfig = field(default_factory=InterestConfig)
    covisit: CovisitConfig = field(default_factory=CovisitConfig)
    session_knn: SessionKnnConfig = field(default_factory=SessionKnnConfig)
    user_knn: UserKnnConfig = field(default_factory=UserKnnConfig)
    factors: FactorsConfig = field(default_factory=FactorsConfig)
    learning: LearningConfig = field(default_factory=LearningConfig)
    deep: DeepConfig = field(default_factory=DeepConfig)
    feedback: FeedbackConfig = field(default_factory=FeedbackConfig)
    placements: dict[str, PlacementConfig] = field(default_factory=shop_placements)
    rules: list[Rule] = field(default_factory=list)
    feeds: list[FeedConfig] = field(default_factory=list)
    static_items: list[str] = field(default_factory=list)  # the last resort: shown when nothing else is known


def asked(config: Config, source: str) -> bool:
    """Whether any placement, warmth or arm asks a source."""
    lists = [
        sources
        for one in config.placements.values()
        for sources in (one.sources, *one.switch.values(), *(arm.get("sources", ()) for arm in one.arms.values()))
    ]
    return any(source in sources for sources in lists)


def load_config(
    path: Path | None = None, environ: Mapping[str, str] | None = None, preset: str | None = None
) -> tuple[Config, dict[str, str]]:
    """The effective config and the source of every value that differs from its default.

    ``path`` None looks for ``endcap.toml`` in the working directory; a file ``*.json`` holds a whole ``Config``, as a
    server hands it to a training. ``preset`` outweighs the file's own. Errors name the file, the key and the remedy.
    """
    file = path or Path("endcap.toml")
    tree: dict[str, Any] = {}
    sources: dict[str, str] = {}
    if path is not None and not file.exists():
        raise ConfigError(f"no config file at {file}; expected a TOML file, or leave out --config for the defaults")
    if file.exists():
        try:
            text = file.read_text("utf-8")
            tree = msgspec.json.decode(text, type=dict[str, Any]) if file.suffix == ".json" else tomllib.loads(text)
        except (tomllib.TOMLDecodeError, msgspec.DecodeError, UnicodeDecodeError) as broken:
            raise ConfigError(f"{file} is not valid {file.suffix[1:].upper() or 'TOML'}: {broken}") from broken
        for name in flatten(tree):
            sources[name] = str(file)
    for variable, text in (os.environ if environ is None else environ).items():
        if not variable.startswith("ENDCAP_") or "__" not in variable:
            continue
        section, _, key = variable[len("ENDCAP_") :].lower().partition("__")
        secret = key.endswith("_secret")  # may consist of digits alone, and is text all the same
        tree.setdefault(section, {})[key] = text if secret else parse_scalar(text)
        sources[f"{section}.{key}"] = variable
    if preset is not None:
        tree["preset"], sources["preset"] = preset, "--preset"
    base = preset_of(tree.get("preset", "shop"))
    for name in flatten(base):
        sources.setdefault(name, "preset")
    refuse_unknown(Config, tree, "")
    merged = merged_placements(base.pop("placements", None), tree.pop("placements", {}))
    tree = {**laid_over(base, tree), "placements": merged}
    try:
        return msgspec.convert(tree, Config), sources
    except msgspec.ValidationError as wrong:
        raise ConfigError(f"{file}: {wrong}; see docs/configuration.md for types and units") from wrong


def preset_of(name: Any) -> dict[str, Any]:
    """The settings of a preset that differ from the defaults. ``ConfigError`` for an unknown one."""
    if name not in PRESETS:
        near = difflib.get_close_matches(str(name), PRESETS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(PRESETS)}"
        raise ConfigError(f"no preset {str(name)[:80]!r}; {hint}")
    return tomllib.loads((Path(__file__).parent / "presets" / f"{name}.toml").read_text("utf-8"))


def laid_over(base: Mapping[str, Any], tree: Mapping[str, Any]) -> dict[str, Any]:
    """A preset's sections with a file's values over them; lists and tables of numbers are replaced whole."""
    sections = {name: {**base[name], **tree[name]} for name in base if isinstance(tree.get(name), Mapping)}
    return {**base, **tree, **sections}


def merged_placements(preset: dict[str, Any] | None, given: Any) -> Any:
    """Placements from a file add to the preset's, field by field."""
    merged: dict[str, Any] = msgspec.to_builtins(shop_placements()) if preset is None else preset
    if not (isinstance(given, Mapping) and all(isinstance(fields, Mapping) for fields in given.values())):
        return given  # the conversion says what is wrong with it
    for name, fields in given.items():
        merged[name] = {**merged.get(name, {"sources": ["covisit", "session_knn", "popular"]}), **fields}
    return merged


def overridden(name: str, placement: PlacementConfig, changes: Mapping[str, Any]) -> PlacementConfig:
    """A placement with some settings changed, as an arm or a variant has it; ``name`` is for the error."""
    for key in ("arms", "explore"):
        if key in changes:
            raise ConfigError(f"{name} sets {key}, which belongs to the placement itself; take it out")
    refuse_unknown(PlacementConfig, changes, f"{name}.")
    try:
        return msgspec.convert({**msgspec.to_builtins(placement), **changes, "arms": {}}, PlacementConfig)
    except msgspec.ValidationError as wrong:
        raise ConfigError(f"{name}: {wrong}; see docs/configuration.md for types and units") from wrong


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables to dotted names."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def parse_scalar(text: str) -> Any:
    """An environment value: TOML where it parses, else the plain string."""
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        return text


def refuse_unknown(struct: type[Struct], tree: Mapping[str, Any], where: str) -> None:
    """Raise ``ConfigError`` for the first key that no setting has, with the nearest name."""
    hints = get_type_hints(struct)
    for key, value in tree.items():
        if key not in hints:
            near = difflib.get_close_matches(key, hints, n=1)
            hint = f"; did you mean {where}{near[0]}?" if near else f"; known here: {', '.join(sorted(hints))}"
            raise ConfigError(f"unknown setting {where}{key}{hint}")
        kind = hints[key]
        if isinstance(kind, type) and issubclass(kind, Struct) and isinstance(value, Mapping):
            refuse_unknown(kind, value, f"{where}{key}.")
