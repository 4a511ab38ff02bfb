"""What the server counts, in Prometheus' text format.

Counting happens on every request, so it is plain Python integers on the one loop thread (well under a microsecond
each); ``prometheus_client`` turns them into families only when /metrics is read. Labels are bounded: a name outside
the configured ones counts as "other", and no user, item or free text ever becomes a label.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from endcap.types import Ack, Slate

BOUNDS_S: tuple[float, ...] = (
    0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
)  # fmt: skip
MAX_CODES = 64  # distinct refusal codes shown; ours are fewer, this is the fence
CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


class Latency:
    """A histogram of seconds."""

    __slots__ = ("counts", "total_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.total_s = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.total_s += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative counts as Prometheus wants them."""
        running, found = 0, []
        for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), self.counts, strict=True):
            running += count
            found.append((bound, float(running)))
        return found


def quantile_ms(counts: Sequence[int], share: float) -> float | None:
    """The value below which ``share`` of the counted times lie, read linearly inside its bucket; None without any."""
    total = sum(counts)
    if total == 0:
        return None
    wanted, running = share * total, 0
    for at, count in enumerate(counts[: len(BOUNDS_S)]):
        if running + count >= wanted and count:
            low = BOUNDS_S[at - 1] if at else 0.0
            return 1e3 * (low + (BOUNDS_S[at] - low) * (wanted - running) / count)
        running += count
    return 1e3 * BOUNDS_S[-1]  # beyond the last bound nothing more is known


@dataclass(frozen=True, slots=True)
class Totals:
    """What was counted so far, for figures per second."""

    events: int
    refused: int
    slates: int
    recommend: list[int]  # as ``Latency.counts``
    ingest: list[int]


class Metrics(Collector):
    """Every counter of one server."""

    def __init__(
        self,
        placements: Iterable[str],
        gauges: Callable[[], Mapping[str, float]],
        cleaned: Callable[[], Mapping[str, int]],
    ) -> None:
        self._placements = frozenset(placements)
        self._gauges = gauges
        self._cleaned = cleaned
        self._slates: dict[tuple[str, str], int] = {}
        self._requests: dict[tuple[str, int], int] = {}
        self._events = {"accepted": 0, "duplicate": 0, "refused": 0}
        self._refused: dict[str, int] = {}
        self._explored: dict[str, int] = {}
        self.models: Mapping[str, int] = {}  # number in use by kind, where a server follows trained models
        self.shed = 0
        self.impressions_dropped = 0
        self.recommend = Latency()
        self.ingest = Latency()
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def slate(self, slate: Slate) -> None:
        """Count one answer."""
        placement = slate.placement if slate.placement in self._placements else "other"
        name = (slate.rung, placement)
        self._slates[name] = self._slates.get(name, 0) + 1
        if any(placed.rank is not None for placed in slate.items):
            self._explored[placement] = self._explored.get(placement, 0) + 1

    def ack(self, ack: Ack) -> None:
        """Count one write."""
        self._events["accepted"] += ack.accepted
        self._events["duplicate"] += ack.duplicates
        self._events["refused"] += len(ack.rejected)
        for refusal in ack.rejected:
            code = refusal.code if refusal.code in self._refused or len(self._refused) < MAX_CODES else "other"
            self._refused[code] = self._refused.get(code, 0) + 1

    def request(self, route: str, status: int) -> None:
        """Count one finished request; ``route`` is the pattern, never the address."""
        name = (route, status)
        self._requests[name] = self._requests.get(name, 0) + 1

    def totals(self) -> Totals:
        """A copy of the counters that a live view needs."""
        return Totals(
            self._events["accepted"], self._events["refused"], sum(self._slates.values()), self.recommend.counts[:],
            self.ingest.counts[:],
        )  # fmt: skip

    def text(self) -> bytes:
        """The page for GET /metrics."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Called by ``prometheus_client`` when the page is written."""
        slates = CounterMetricFamily("endcap_slates", "Slates answered", labels=["rung", "placement"])
        for labels, count in sorted(self._slates.items()):
            slates.add_metric(labels, count)
        yield slates
        requests = CounterMetricFamily("endcap_requests", "HTTP requests finished", labels=["route", "status"])
        for (route, status), count in sorted(self._requests.items()):
            requests.add_metric([route, str(status)], count)
        yield requests
        events = CounterMetricFamily("endcap_events", "Events received, by what became of them", labels=["result"])
        for result, count in self._events.items():
            events.add_metric([result], count)
        yield events
        refused = CounterMetricFamily("endcap_refused", "Records refused, by reason", labels=["code"])
        for code, count in sorted(self._refused.items()):
            refused.add_metric([code], count)
        yield refused
        cleaned = CounterMetricFamily("endcap_cleaned", "Events left out or mended, by rule", labels=["rule"])
        for rule, count in sorted(self._cleaned().items()):
            cleaned.add_metric([rule], count)
        yield cleaned
        explored = CounterMetricFamily(
            "endcap_explored_slates", "Slates in which exploration moved or brought in an item", labels=["placement"]
        )
        for placement in sorted(self._placements | self._explored.keys()):
            explored.add_metric([placement], self._explored.get(placement, 0))
        yield explored
        models = GaugeMetricFamily("endcap_model", "Number of the trained model that serves, 0 = none", labels=["kind"])
        for kind, number in self.models.items():
            models.add_metric([kind], number)
        yield models
        yield CounterMetricFamily("endcap_shed", "Requests shed because too many were under way", self.shed)
        yield CounterMetricFamily(
            "endcap_impressions_dropped",
            "Impressions not recorded because the log was behind",
            self.impressions_dropped,
        )
        for name, latency, text in (
            ("endcap_recommend_seconds", self.recommend, "Seconds to answer a slate, without the network"),
            ("endcap_ingest_seconds", self.ingest, "Seconds from a whole request to its durable, folded ack"),
        ):
            yield HistogramMetricFamily(name, text, buckets=latency.buckets(), sum_value=latency.total_s)
        for name, value in self._gauges().items():
            yield GaugeMetricFamily(f"endcap_{name}", name.replace("_", " "), value)
