"""Every route in one table: address, handler, and what the OpenAPI document says about it.

Who may call a route stands in ``policy.py``. A route's ``{id}`` takes any UTF-8, percent-encoded; slashes may be
written as ``%2F`` or plainly (an id that ends in ``/similar`` and the like must encode its slash).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from endcap.evaluation.saved import SavedReport
from endcap.events.adapters.ga4 import GoogleAnalytics
from endcap.events.adapters.personalize import Personalize
from endcap.events.adapters.recombee import Recombee
from endcap.events.adapters.retail import GoogleRetail
from endcap.events.adapters.shopify import ShopifyPixel
from endcap.feedback.experiments import Experiment
from endcap.item_vectors import ItemVector
from endcap.search import MOST_CHARS
from endcap.server import (
    catalogue,
    experiments,
    feedback,
    feeds,
    foreign,
    intake,
    models,
    operations,
    people,
    quality,
    reports,
    slates,
    system,
    tail,
    tracker,
    vectors,
    webhooks,
)
from endcap.server.service import Service
from endcap.server.training import TrainingState
from endcap.server.trend import Points
from endcap.server.wire import Call, Reply, key_in
from endcap.story import PlacementFeedback, Story
from endcap.types import Ack, Erasure, Interaction, InterestView, Item, Query, Slate, User

Handler = Callable[[Service, Call], Awaitable[Reply]]
BODY_METHODS = frozenset({"POST", "PUT", "PATCH"})


@dataclass(frozen=True, slots=True)
class Parameter:
    """One value in the query string."""

    name: str
    schema: dict[str, Any]
    description: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one address."""

    method: str
    path: str
    handler: Handler
    tag: str
    summary: str
    answer: Any = None  # type of the 200 body; None: not JSON of ours
    body: tuple[Any, ...] = ()  # types of the request body, any of which is taken
    body_description: str = ""
    parameters: tuple[Parameter, ...] = ()
    errors: tuple[int, ...] = (400,)
    media_type: str = "application/json"
    id_field: str = ""  # field of the body that the address gives
    finds_key: foreign.FindKey | None = None  # where a caller that cannot set our headers puts its key

    @property
    def name(self) -> str:
        """As the policy table names it."""
        return f"{self.method} {self.path}"

    @property
    def reads_body(self) -> bool:
        return self.method in BODY_METHODS


TEXT: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": 256}
FLAG: dict[str, Any] = {"type": "string", "enum": ["0", "1", "true", "false"]}


def _number(low: int, high: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": low, "maximum": high}


SHOWN = Parameter("shown", FLAG, "0: the slate is not logged as shown, for answers that no shopper sees in this order.")
LANG = Parameter(
    "lang", {"type": "string", "maxLength": 256},
    "Adds each reason as a sentence: a language tag or what a browser sends as Accept-Language. English and Simplified "
    "Chinese; others give English.",
)  # fmt: skip
SLATE_PARAMETERS = (
    Parameter("user_id", TEXT, "Logged-in shopper."),
    Parameter("anon_id", TEXT, "Anonymous visitor."),
    Parameter("session_id", TEXT, "Your session id."),
    Parameter("n", _number(0, 200), "Items wanted; 0, the default, for the placement's own number."),
    Parameter("exclude", {"type": "array", "items": TEXT, "maxItems": 1000}, "Items not to show; may be repeated."),
    Parameter("at_least", _number(0, 2**53), "Offset of an acknowledgement; the answer is never older."),
    Parameter("ts", _number(0, 4_102_444_800_000), "Time of the question in epoch ms; now by default."),
    Parameter("device", TEXT, "desktop, mobile, tablet, app, tv or other."),
    Parameter("region", TEXT, "The region as your events name it."),
    Parameter("utc_offset_min", _number(-1440, 1440), "Minutes east of UTC, for the local hour."),
    Parameter("locale", TEXT, "Language tag."),
    Parameter("page", TEXT, "Name of the page."),
    Parameter("personalization", FLAG, "0 answers without any profile."),
    Parameter("explain", FLAG, "1 adds the whole score trace."),
    SHOWN,
    LANG,
)
BY = Parameter(
    "by", {"type": "string", "enum": list(slates.WAYS)},
    "One way of being alike; without it the placement `similar`. By image or audio: 404 for an item without a vector.",
)  # fmt: skip
Q = Parameter("q", {"type": "string", "minLength": 1, "maxLength": MOST_CHARS}, "The words.", True)
PLACED = (
    Parameter("placement", TEXT, "Surface the slate is for; home by default."),
    Parameter("item", {"type": "array", "items": TEXT, "maxItems": 200}, "Items on the page; may be repeated."),
)
ANON = Parameter("anon", FLAG, "1 reads the id as an anonymous one.")
BULK = 'A JSON array of events, an object {"events": [...]}, or one event.'
ITEMS_BULK = 'A JSON array of items, an object {"items": [...]}, or JSON Lines (application/x-ndjson).'


async def openapi_document(service: Service, _call: Call) -> Reply:
    """The document that describes this table."""
    return Reply(service.openapi)


ROUTES: tuple[Route, ...] = (
    Route(
        "POST", "/v1/events", intake.events, "events",
        "Send behaviour events; the answer comes when they are on disk and folded",
        Ack, (list[Interaction], intake.EventsBody, Interaction), BULK, errors=(400, 413, 415, 429),
    ),
    Route(
        "POST", "/v1/events/check", tail.check, "events", "What would come of these events; nothing is stored",
        tail.Checked, (list[Interaction], intake.EventsBody, Interaction), "As for /v1/events; at most 100.",
        parameters=(Parameter("browser", FLAG, "1 applies the limits of a browser key."),), errors=(400, 413, 415),
    ),
    Route(
        "POST", "/v1/recommend", slates.recommend, "slates", "Ask for a slate",
        Slate, (Query,), parameters=(SHOWN, LANG), errors=(400, 413, 415, 503),
    ),
    Route(
        "GET", "/v1/recommend", slates.recommend_by_address, "slates", "Ask for a slate by address",
        Slate, parameters=PLACED + SLATE_PARAMETERS, errors=(400, 503),
    ),
    Route(
        "GET", "/v1/items/{id}/similar", slates.similar, "slates", "Items like this one",
        Slate, parameters=(BY, *SLATE_PARAMETERS), errors=(400, 404, 503),
    ),
    Route(
        "GET", "/v1/items/{id}/bought-together", slates.bought_together, "slates", "Items bought with this one",
        Slate, parameters=SLATE_PARAMETERS, errors=(400, 404, 503),
    ),
    Route(
        "GET", "/v1/trending", slates.trending, "slates", "What is popular here and now",
        Slate, parameters=SLATE_PARAMETERS, errors=(400, 503),
    ),
    Route(
        "GET", "/v1/search", slates.search, "slates", "Items for words that a shopper typed; not logged as shown",
        Slate, parameters=(Q, *(one for one in SLATE_PARAMETERS if one.name not in ("shown", "explain"))),
        errors=(400, 503),
    ),
    Route(
        "POST", "/v1/tracker", tracker.beacon, "slates", "Events and shelves of a page, as the tracker asks",
        tracker.TrackerAnswer, (tracker.Beacon,), tracker.BEACON, errors=(400, 413, 415, 429, 503),
        finds_key=lambda headers, query, body: key_in(body),
    ),
    Route(
        "POST", "/v1/why-not", slates.why_not, "slates", "Why a list is generic, or lacks an item",
        slates.Findings, (slates.WhyNot,), errors=(400, 413, 415),
    ),
    Route(
        "GET", "/v1/items", catalogue.page, "catalogue", "List the catalogue", catalogue.ItemPage,
        parameters=(
            Parameter("after", TEXT, "The `next` of the page before."),
            Parameter("n", _number(1, 1000), "Items of the page; 100 by default."),
            Parameter(
                "q", TEXT, "Only ids that begin so, and titles or brands that hold each word. A page may then be "
                "short; only one without `next` is the last."
            ),
        ),
        errors=(400, 404),
    ),
    Route(
        "POST", "/v1/items", catalogue.bulk, "catalogue", "Create or replace many items",
        Ack, (list[Item], catalogue.ItemsBody), ITEMS_BULK, errors=(400, 413, 415, 429),
    ),
    Route(
        "GET", "/v1/items/{id}/facts", quality.facts, "catalogue", "What the engine knows of an item beside its record",
        quality.ItemFacts, errors=(400, 404),
    ),
    Route(
        "GET", "/v1/quality", quality.report, "operations", "What is wrong with the catalogue and the events",
        quality.QualityReport, errors=(),
    ),
    Route(
        "GET", "/v1/reports", reports.listing, "operations", "Evaluation reports in the data directory",
        reports.ReportList, errors=(),
    ),
    Route(
        "GET", "/v1/reports/{id}", reports.show, "operations", "One evaluation report", SavedReport, errors=(400, 404),
    ),
    Route("GET", "/v1/items/{id}", catalogue.get, "catalogue", "Read an item", Item, errors=(400, 404)),
    Route(
        "PUT", "/v1/items/{id}", catalogue.put, "catalogue", "Create or replace an item",
        Ack, (Item,), "The id in the address counts; leave item_id out.", errors=(400, 413, 415, 429),
        id_field="item_id",
    ),
    Route(
        "PATCH", "/v1/items/{id}", catalogue.patch, "catalogue", "Change fields of an item",
        Ack, (Item,), "JSON merge patch: null sets a field back to its default.", errors=(400, 404, 413, 415, 429),
        id_field="item_id",
    ),
    Route(
        "DELETE", "/v1/items/{id}", catalogue.delete, "catalogue", "Delete an item; no later slate holds it",
        Ack, errors=(400, 429),
    ),
    Route(
        "PUT", "/v1/items/{id}/vectors/{name}", vectors.put, "catalogue", "Set an item's vector",
        Ack, (vectors.VectorBody,), "Vectors of one name come from one encoder; mixing is refused.",
        errors=(400, 404, 413, 415, 429),
    ),
    Route(
        "GET", "/v1/items/{id}/vectors/{name}", vectors.get, "catalogue", "Read an item's vector",
        ItemVector, errors=(400, 404),
    ),
    Route(
        "DELETE", "/v1/items/{id}/vectors/{name}", vectors.delete, "catalogue", "Take an item's vector away",
        Ack, errors=(400, 429),
    ),
    Route("GET", "/v1/vectors", vectors.sets, "catalogue", "List the sets of vectors", vectors.VectorSetList),
    Route(
        "DELETE", "/v1/vectors/{id}", vectors.drop, "catalogue", "Drop a whole set of vectors, by its name",
        Ack, errors=(400, 404, 429),
    ),
    Route("GET", "/v1/users/{id}", people.get, "people", "Read a user's record", User, errors=(400, 404)),
    Route(
        "PUT", "/v1/users/{id}", people.put, "people", "Create or replace a user's record",
        Ack, (User,), "The id in the address counts; leave user_id out.", errors=(400, 413, 415, 429),
        id_field="user_id",
    ),
    Route(
        "DELETE", "/v1/users/{id}", people.erase, "people", "Forget a person and all that was learnt from them",
        Erasure, parameters=(ANON,), errors=(400, 503),
    ),
    Route(
        "GET", "/v1/users/{id}/export", people.export, "people", "A copy of all that is held of a user",
        people.UserExport, parameters=(ANON,), errors=(400, 404),
    ),
    Route(
        "GET", "/v1/users/{id}/interest", people.interest, "people", "What the engine believes a shopper wants",
        InterestView, parameters=(ANON,), errors=(400, 404),
    ),
    Route(
        "DELETE", "/v1/users/{id}/interest", people.delete_tag, "people",
        "Delete a tag of interest: what was done with such items no longer counts for this shopper",
        InterestView, errors=(400, 404, 429), parameters=(
            ANON,
            Parameter("tag", {"type": "string", "enum": list(people.TAGS)}, "What kind of tag; required."),
            Parameter("name", {"type": "string", "minLength": 1}, "Its name as the interest shows it; required."),
        ),
    ),
    Route(
        "GET", "/v1/users/{id}/events", people.timeline, "people", "Events of a person, newest first",
        people.Timeline, parameters=(
            ANON,
            Parameter("n", _number(1, 500), "Events of the page; 50 by default."),
            Parameter("before", _number(0, 2**53), "The `next` of the page before."),
        ),
    ),
    Route(
        "GET", "/v1/users/{id}/similar", people.similar, "people", "Users with similar histories",
        people.UserNeighbours, parameters=(Parameter("n", _number(1, 100), "Users wanted; 10 by default."),),
        errors=(400, 404),
    ),
    Route(
        "GET", "/v1/placements", operations.placements, "operations", "The configured surfaces", operations.Placements,
    ),
    Route("GET", "/v1/rules", operations.rules, "operations", "The merchant's rules", operations.RuleList),
    Route(
        "GET", "/v1/experiments", experiments.listing, "experiments", "List experiments, ended ones too",
        experiments.ExperimentList,
    ),
    Route(
        "POST", "/v1/experiments", experiments.start, "experiments", "Start an experiment",
        Experiment, (Experiment,), "started_at, ended_at and stopped are set by the server.",
        errors=(400, 404, 413, 415),
    ),
    Route(
        "GET", "/v1/experiments/{id}", experiments.show, "experiments", "Results of an experiment, so far",
        experiments.ExperimentView, errors=(400, 404),
    ),
    Route(
        "GET", "/v1/experiments/{id}/history", experiments.history, "experiments",
        "How the differences came to be, over time", Points, errors=(400, 404),
    ),
    Route(
        "POST", "/v1/experiments/{id}/stop", experiments.stop, "experiments", "End an experiment",
        Experiment, (experiments.Stop,), errors=(400, 404, 413, 415),
    ),
    Route(
        "GET", "/v1/placements/{id}/feedback", feedback.placement, "feedback",
        "What a placement learned: arms, positions, joined feedback", PlacementFeedback, errors=(400, 404),
    ),
    Route(
        "GET", "/v1/requests/{id}", feedback.story, "feedback", "A slate and what came of it", Story,
        errors=(400, 404),
    ),
    Route("GET", "/v1/feeds", feeds.listing, "catalogue", "Product feeds and what became of them", feeds.FeedList),
    Route(
        "POST", "/v1/feeds/{id}/poll", feeds.poll, "catalogue", "Read a feed now", feeds.FeedState, (feeds.Poll,),
        errors=(400, 404, 413, 415),
    ),
    Route(
        "GET", "/v1/quarantine", operations.quarantine, "operations", "Records that were refused, newest first",
        operations.Quarantine,
        parameters=(
            Parameter("n", _number(1, 1000), "Records wanted; 100 by default."),
            Parameter("before", _number(0, 2**53), "Continue a listing below this record id."),
        ),
    ),
    Route(
        "GET", "/v1/models", models.listing, "models", "Trained models, what serves of them", models.ModelList,
        errors=(404,),
    ),
    Route(
        "POST", "/v1/models/promote", models.promote, "models", "Let a stored model serve", models.ModelList,
        (models.Promote,), errors=(400, 404, 413, 415),
    ),
    Route(
        "POST", "/v1/models/rollback", models.rollback, "models", "Return to what served before", models.ModelList,
        (models.Rollback,), errors=(400, 404, 413, 415),
    ),
    Route(
        "GET", "/v1/models/training", models.training, "models", "How the training goes", TrainingState, errors=(404,),
    ),
    Route(
        "POST", "/v1/models/training", models.train, "models", "Start a training in the background", TrainingState,
        (models.Train,), errors=(400, 404, 413, 415, 503),
    ),
    Route("GET", "/v1/system", system.show, "system", "Log, snapshots, memory, jobs", system.System),
    Route("GET", "/v1/system/settings", system.settings, "system", "Settings with their sources", system.Settings),
    Route("GET", "/v1/system/checks", system.checks, "system", "Check machine and data", system.CheckList),
    Route(
        "POST", "/v1/system/snapshot", system.snapshot, "system", "Save the state now", system.SnapshotList,
        (system.Now,), errors=(400, 404, 413, 415),
    ),
    *(
        Route(
            "POST", f"/v1/{name}", foreign.segment(kind), "segment", f"Segment and RudderStack: {kind}",
            foreign.Taken, (dict[str, Any],), "What the platform's libraries send, whatever the content type.",
            errors=(400, 413, 415, 429), finds_key=foreign.write_key,
        )
        for name, kind in foreign.SEGMENT_ROUTES.items()
    ),
    Route(
        "POST", "/mp/collect", foreign.platform(GoogleAnalytics), "ga4", "GA4: a request of the Measurement Protocol",
        foreign.Taken, (dict[str, Any],), parameters=(
            Parameter("api_secret", TEXT, "A key of ours."),
            Parameter("measurement_id", TEXT, "Not read."),
        ), errors=(400, 413, 415, 429),
        finds_key=foreign.query_key("api_secret"),
    ),
    *(
        Route(
            "POST", f"/v2/{{id}}/userEvents:{verb}", foreign.platform(GoogleRetail), "retail",
            f"Google Retail: {verb} user events", foreign.Taken, (dict[str, Any],),
            "The id is the catalogue's name, projects/P/locations/L/catalogs/C; it is not read.",
            parameters=(Parameter("key", TEXT, "A key of ours."),), errors=(400, 413, 415, 429),
            finds_key=foreign.query_key("key"),
        )
        for verb in ("write", "import")
    ),
    Route(
        "GET", "/v2/{id}/userEvents:collect", foreign.retail_collect, "retail",
        "Google Retail: collect an event from a page", foreign.Taken, errors=(400, 429),
        parameters=(
            Parameter("userEvent", {"type": "string"}, "The event as JSON."),
            Parameter("key", TEXT, "A key of ours."),
        ),
        finds_key=foreign.query_key("key"),
    ),
    Route(
        "POST", "/events", foreign.platform(Personalize), "personalize", "AWS Personalize: PutEvents", foreign.Taken,
        (dict[str, Any],), "The trackingId is a key of ours; a signature is not checked.", errors=(400, 413, 415, 429),
        finds_key=foreign.write_key,
    ),
    Route(
        "POST", "/v1/cloudevents", foreign.cloudevents, "cloudevents", "CloudEvents: structured, a batch, or binary",
        foreign.Taken, (dict[str, Any], list[dict[str, Any]]), errors=(400, 413, 415, 429),
    ),
    Route(
        "POST", "/v1/recombee", foreign.platform(Recombee), "recombee", "Recombee: interactions or a batch of requests",
        foreign.Taken, (dict[str, Any], list[dict[str, Any]]), errors=(400, 413, 415, 429),
    ),
    Route(
        "POST", "/v1/shopify/pixel", foreign.platform(ShopifyPixel), "shopify", "Shopify: an event of a web pixel",
        foreign.Taken, (dict[str, Any],), errors=(400, 413, 415, 429),
    ),
    Route(
        "POST", "/v1/shopify/webhooks", webhooks.shopify, "shopify", "Shopify: a signed webhook",
        foreign.Taken, (dict[str, Any],), errors=(400, 401, 413, 415, 429, 503),
    ),
    Route(
        "POST", "/v1/woocommerce/webhooks", webhooks.woocommerce, "woocommerce", "WooCommerce: a signed webhook",
        foreign.Taken, (dict[str, Any],), errors=(400, 401, 413, 415, 429, 503),
    ),
    *(
        Route("GET", path, foreign.source_config, "segment", what, foreign.SourceConfig, errors=())
        for path, what in foreign.SOURCE_CONFIG
    ),
    Route(
        "GET", "/v1/tail", tail.tail, "operations", "Newest events and figures as server-sent events",
        parameters=(
            Parameter("after", _number(0, 2**53), "Begin behind this offset; else near the newest event."),
            Parameter("seconds", _number(1, 300), "The stream ends after this time; 60 by default."),
        ),
        media_type="text/event-stream",
    ),
    Route("GET", "/metrics", operations.metrics, "operations", "Counters for Prometheus", media_type="text/plain"),
    Route("GET", "/livez", operations.live, "operations", "The process answers", operations.Health, errors=()),
    Route("GET", "/health/live", operations.live, "operations", "Same as /livez", operations.Health, errors=()),
    Route(
        "GET", "/readyz", operations.ready, "operations", "Requests may be sent here",
        operations.Health, errors=(503,),
    ),
    Route(
        "GET", "/health/ready", operations.ready, "operations", "Same as /readyz", operations.Health, errors=(503,),
    ),
    Route(
        "GET", "/openapi.json", openapi_document, "operations", "This document", dict[str, Any], errors=(),
    ),
)  # fmt: skip

HOT = frozenset(
    {
        "/v1/events",
        "/v1/recommend",
        "/v1/tracker",
        "/livez",
        "/bench/echo",
        *(f"/v1/{name}" for name in foreign.SEGMENT_ROUTES),
    }
)  # found by one dictionary probe, before any routing
