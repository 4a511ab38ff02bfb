"""``endcap bench serve``: requests a second over real HTTP, as ratios to a bare echo of the same server.

Echo decodes a query and encodes a slate of 24 without any engine: what HTTP and JSON cost. Recommend answers for real;
ingest acknowledges one event after fsync; mix alternates the two. All four run interleaved in every round at 1, 16 and
64 connections, so a ratio compares neighbours in time. Load generator and server share the machine.

Then an open loop of 1,000 requests a second, the same mix, gives latency from each request's due time.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

from endcap.bench.environment import cpu_seconds
from endcap.bench.load import Closed, NextRequest, Tally, open_loop
from endcap.bench.requests import alternating, queries, writes
from endcap.bench.served import Served, running
from endcap.bench.spread import Figures, Options, percentile, spread
from endcap.errors import EndcapError

CONNECTIONS = (1, 16, 64)
HEADLINE = 64
OPEN_RATE = 1_000

Rates = dict[tuple[str, int], list[float]]  # (kind, connections) -> one figure per round


def kinds(served: Served) -> dict[str, NextRequest]:
    """What load is made of."""
    recommend, ingest = queries("/v1/recommend?shown=0", served.n_users), writes(served.n_users, served.n_items)
    return {
        "echo": queries("/bench/echo", served.n_users),
        "recommend": recommend,
        "ingest": ingest,
        "mix": alternating(recommend, ingest),
    }


def require_success(kind: str, tally: Tally) -> None:
    """A rate of errors is no rate."""
    if tally.failed:
        raise EndcapError(f"{kind}: {tally.failed} of {tally.done} requests failed; the first: {tally.first_failure}")


async def closed_rounds(served: Served, rounds: int, seconds: float, options: Options) -> tuple[Rates, Rates]:
    """(requests per second, server CPU microseconds per request), each per kind, connections and round."""
    load = Closed(served.host, served.port)
    rates: Rates = defaultdict(list)
    cpu: Rates = defaultdict(list)
    traffic = kinds(served)
    for kind, next_request in traffic.items():  # warm-up, not counted
        require_success(kind, await load.slice(16, 0.5, next_request))
    for turn in range(rounds):
        for c in CONNECTIONS:
            for kind, next_request in traffic.items():
                before = cpu_seconds(served.pid)
                tally = await load.slice(c, seconds, next_request)
                require_success(kind, tally)
                rates[kind, c].append(tally.rate)
                cpu[kind, c].append((cpu_seconds(served.pid) - before) / max(tally.done, 1) * 1e6)
        options.say(f"  round {turn + 1} of {rounds}: " + ", ".join(
            f"{kind} {rates[kind, HEADLINE][-1]:,.0f}/s" for kind in traffic
        ))  # fmt: skip
    load.close()
    return rates, cpu


def ratio(rates: Rates, kind: str, c: int) -> list[float]:
    """``kind`` over echo, round by round."""
    return [ours / echo for ours, echo in zip(rates[kind, c], rates["echo", c], strict=True)]


def describe(rates: Rates, cpu: Rates, options: Options) -> dict[str, Any]:
    """Print every cell and return them for the JSON output."""
    cells: dict[str, Any] = {}
    for c in CONNECTIONS:
        for kind in ("echo", "recommend", "ingest", "mix"):
            options.say(
                f"  c={c:<3} {kind:<10} {spread(rates[kind, c], 0)} /s, over echo {spread(ratio(rates, kind, c), 2)}, "
                f"server CPU {percentile(cpu[kind, c], 50):,.0f} us"
            )
            cells[f"{kind}_c{c}"] = {
                "rps": round(percentile(rates[kind, c], 50)),
                "rps_p10": round(percentile(rates[kind, c], 10)),
                "rps_p90": round(percentile(rates[kind, c], 90)),
                "over_echo": round(percentile(ratio(rates, kind, c), 50), 3),
                "cpu_us": round(percentile(cpu[kind, c], 50), 1),
            }
    return cells


def measure(options: Options) -> Figures:
    """Closed loop, then open loop, on one server."""
    rounds, seconds, open_s = (2, 0.6, 8.0) if options.quick else (7, 1.0, 30.0)
    n_events = 300_000 if options.quick else 2_000_000
    options.say(f"  starting a server with {options.items:,} items and {n_events:,} synthetic events")
    with running(options.items, n_events) as served:
        rates, cpu = event_loop_run(closed_rounds(served, rounds, seconds, options))
        cells = describe(rates, cpu, options)
        traffic = kinds(served)
        latencies, tally = open_loop(served.host, served.port, OPEN_RATE, open_s, traffic["mix"])
        require_success("open loop", tally)
        reads, read_tally = open_loop(served.host, served.port, OPEN_RATE, open_s / 2, traffic["recommend"])
        require_success("open loop", read_tally)
        echoes, _ = open_loop(served.host, served.port, OPEN_RATE, open_s / 2, traffic["echo"])
    options.say(
        f"  open loop {OPEN_RATE}/s: mix p50 {percentile(latencies, 50):.2f} p99 {percentile(latencies, 99):.2f} ms; "
        f"recommend p50 {percentile(reads, 50):.2f} p99 {percentile(reads, 99):.2f} ms; "
        f"bare echo p50 {percentile(echoes, 50):.2f} p99 {percentile(echoes, 99):.2f} ms"
    )
    values = {
        "echo_rps": percentile(rates["echo", HEADLINE], 50),
        "recommend_rps": percentile(rates["recommend", HEADLINE], 50),
        "ingest_eps": percentile(rates["ingest", HEADLINE], 50),
        "mix_rps": percentile(rates["mix", HEADLINE], 50),
        "recommend_over_echo": percentile(ratio(rates, "recommend", HEADLINE), 50),
        "mix_over_echo": percentile(ratio(rates, "mix", HEADLINE), 50),
        "open_loop_p50_ms": percentile(latencies, 50),
        "open_loop_p99_ms": percentile(latencies, 99),
        "open_loop_read_p50_ms": percentile(reads, 50),
        "open_loop_read_p99_ms": percentile(reads, 99),
        "open_loop_echo_p50_ms": percentile(echoes, 50),
        "open_loop_echo_p99_ms": percentile(echoes, 99),
        "cells": cells,
    }
    return Figures("serve", values, {"mix_over_echo": ("min", 0.30), "recommend_over_echo": ("min", 0.25)})


def event_loop_run(work: Any) -> Any:
    """Run a coroutine on uvloop where it is installed: the generator must not be the slower half."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)
