"""Experiments in service: routes, command line, the watch over file and guardrails, over real files and real HTTP."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from endcap.config import Config, LogConfig
from endcap.engine import Engine
from endcap.feedback.experiments import Experiment
from endcap.runtime import Runtime, VirtualClock
from endcap.server.experiments import ExperimentWatch, start_in, stop_in
from endcap.server.meters import Meters
from endcap.server.service import Service
from endcap.stores.experiments import FILE, ExperimentStore
from endcap.types import Impression, Interaction, Shown, Slate
from served import Served, error_of, serving, view
from test_cli import Run, run  # noqa: F401  # a fixture
from test_experiments import experiment
from test_scoreboard import Deed, outcomes, slots_of

CONFIG = Config(log=LogConfig(durability="os"))
NOW = 1_790_000_000_000
BODY: dict[str, Any] = {
    "name": "spread", "placement": "home",
    "variants": {"now": {"weight": 0.5}, "wide": {"weight": 0.5, "settings": {"diversity": 0.6}}},
}  # fmt: skip


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("experiments"), keys=True, config=CONFIG) as running:
        running.client.headers.update(running.headers("admin"))
        yield running


@pytest.fixture(autouse=True)
def nothing_runs(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test of a server begins without experiments."""
    yield
    if "served" in request.fixturenames:
        found: Served = request.getfixturevalue("served")
        assert found.engine.directory is not None
        ExperimentStore(found.engine.directory, Experiment).change(lambda _: [])
        wait_until(lambda: not found.engine.experiments.all())


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_experiment_from_start_to_stop(served: Served) -> None:
    begun = served.client.post("/v1/experiments", json=BODY | {"share": 0.5}).json()
    assert begun["started_at"] > 0
    assert served.engine.experiments.get("spread").running, "at once, not at the next look"
    assert [one["name"] for one in served.client.get("/v1/experiments").json()["experiments"]] == ["spread"]
    view = served.client.get("/v1/experiments/spread").json()
    assert view["experiment"] == begun
    assert view["results"]["variants"]["wide"]["units"] == 0
    assert view["measured"]["now"]["slates"] == 0
    ended = served.client.post("/v1/experiments/spread/stop", json={"reason": "seen enough"}).json()
    assert ended["ended_at"] > 0
    assert ended["stopped"] == "seen enough"
    assert not served.engine.experiments.get("spread").running
    again = served.client.post("/v1/experiments/spread/stop")
    assert "has ended already: seen enough" in error_of(again, 400)["message"]
    assert served.client.post("/v1/experiments", json=BODY | {"name": "next"}).status_code == 200


BAD: list[tuple[str, Any, str, str | None]] = [
    ("no JSON", b"{", "not valid JSON", None),
    ("an unknown field", BODY | {"colour": 1}, "colour", None),
    ("weights", BODY | {"variants": {"a": {"weight": 1.0}, "b": {"weight": 1.0}}}, "sum to 2; expected 1", "variants"),
    ("one variant", BODY | {"variants": {"a": {"weight": 1.0}}}, "has 1 variants", "variants"),
    ("a placement", BODY | {"placement": "hoem"}, "no placement 'hoem'", "placement"),
    ("a unit", BODY | {"unit": "session"}, "Invalid enum value 'session'", "unit"),
    ("interleaving three", BODY | {"kind": "interleave", "variants": {
        name: {"weight": weight} for name, weight in (("a", 0.5), ("b", 0.25), ("c", 0.25))
    }}, "interleaves 3 variants; expected 2", "variants"),
    ("a plan beyond reason", BODY | {"planned": 10**30}, "", "planned"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "message", "field"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_a_bad_experiment_is_refused(served: Served, body: Any, message: str, field: str | None) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    error = error_of(served.client.post("/v1/experiments", content=content), 400)
    assert message in error["message"]
    assert error.get("field") == field
    assert served.client.get("/v1/experiments").json() == {"experiments": []}


@pytest.mark.parametrize(("changes", "message"), [
    ({"settings": {"diversty": 1}}, "did you mean experiments.spread.b.diversity"),
    ({"settings": {"sources": ["covist"]}}, "names the source 'covist', which does not exist; did you mean 'covisit'"),
    ({"settings": {"filter": {"like": 1}}}, "like"),
    ({"settings": {"n": 0}}, "experiments.spread.b.n is 0; expected 1 to 200"),
    ({"settings": {"candidates": 10**6}}, "expected 1 to 1000"),
    ({"settings": {"ranker": "linear", "weights": {"trend": 1.0}}}, "trend"),
    ({"ranker": 99}, "no model 99"),
])  # fmt: skip
def test_a_variant_that_could_make_no_slate_is_refused(served: Served, changes: dict[str, Any], message: str) -> None:
    body = BODY | {"variants": {"a": {"weight": 0.5}, "b": {"weight": 0.5, **changes}}}
    assert message in error_of(served.client.post("/v1/experiments", json=body), 400)["message"]


def test_overlapping_experiments_are_refused_over_http(served: Served) -> None:
    assert served.client.post("/v1/experiments", json=BODY | {"share": 0.6}).status_code == 200
    error = error_of(served.client.post("/v1/experiments", json=BODY | {"name": "two", "share": 0.4}), 400)
    assert "start it with first = 0.6" in error["message"]
    body = BODY | {"name": "two", "share": 0.4, "first": 0.6}
    assert served.client.post("/v1/experiments", json=body).status_code == 200


def test_unknown_names_are_not_found(served: Served) -> None:
    assert "there are: none" in error_of(served.client.get("/v1/experiments/x"), 404)["message"]
    error_of(served.client.post("/v1/experiments/x/stop", json={}), 404)


def test_who_may_read_and_who_may_write(served: Served) -> None:
    assert served.client.get("/v1/experiments", headers=served.headers("server")).status_code == 200
    for kind in ("browser", "catalogue", "metrics"):
        error_of(served.client.get("/v1/experiments", headers=served.headers(kind)), 403)
    for kind in ("server", "browser", "catalogue", "metrics"):
        error_of(served.client.post("/v1/experiments", json=BODY, headers=served.headers(kind)), 403)


def test_results_come_from_the_folded_state(served: Served) -> None:
    served.client.post("/v1/experiments", json=BODY)
    state = served.engine.state
    labels = [state.labels.intern(f"variant:spread/{name}") for name in ("now", "wide")]
    state.scoreboard.grow(400, 0)
    slots = slots_of(*((u, labels[u % 2]) for u in range(400)))
    deeds = [Deed(u, *more) for u in range(400) for more in ((), (0, "click", 1.0 + u % 2))]
    state.scoreboard.fold(outcomes(deeds, slots))
    found = served.client.get("/v1/experiments/spread").json()["results"]
    assert {name: one["units"] for name, one in found["variants"].items()} == {"now": 200, "wide": 200}
    assert found["variants"]["wide"]["reward_difference"]["value"] == 1.0
    assert found["variants"]["now"]["reward_difference"] is None
    assert found["sample_ratio_alarm"] is False


# ---------------------------------------------------------------- the command line


def test_the_command_line_and_a_server_share_the_experiments(served: Served, run: Run, tmp_path: Path) -> None:  # noqa: F811
    directory = served.engine.directory
    assert directory is not None
    file = tmp_path / "spread.toml"
    file.write_text(
        'name = "spread"\nplacement = "home"\nshare = 0.5\n[variants.now]\nweight = 0.5\n'
        "[variants.wide]\nweight = 0.5\nsettings = { diversity = 0.6, category_cap = 2 }\n"
    )
    done = run("experiments", "start", file, "--dir", directory)
    assert done.status == 0, done.err
    wait_until(lambda: bool(served.engine.experiments.all()))
    wide = served.engine.experiments.get("spread").variants["wide"]
    assert wide.settings == {"diversity": 0.6, "category_cap": 2}
    listed = run("experiments", "list", "--dir", directory).out
    assert listed.startswith("* spread  ab on home, 50% of traffic  (now 50%, wide 50%)  since 20")
    shown = json.loads(run("experiments", "show", "spread", "--dir", directory, "--json").out)
    assert shown["experiment"]["name"] == "spread"
    assert shown["results"]["crossovers"] == 0
    table = run("experiments", "show", "spread", "--dir", directory).out
    assert "too little to say" in table
    done = run("experiments", "stop", "spread", "--reason", "enough", "--dir", directory)
    assert done.status == 0
    wait_until(lambda: not served.engine.experiments.get("spread").running)
    assert run("experiments", "list", "--dir", directory).out.rstrip().endswith("UTC: enough")
    assert json.loads(run("experiments", "list", "--dir", directory, "--json").out)["experiments"][0]["ended_at"]


def test_mistakes_on_the_command_line_name_the_remedy(run: Run, tmp_path: Path) -> None:  # noqa: F811
    file = tmp_path / "x.json"
    file.write_text(json.dumps(BODY | {"variants": {"a": {"weight": 1}}}))
    assert "no data directory" in run("experiments", "list", "--dir", "nowhere").err
    (tmp_path / "data").mkdir()
    assert "no experiment yet" in run("experiments", "list", "--dir", "data").err
    done = run("experiments", "start", file, "--dir", "data")
    assert done.status == 2
    assert "has 1 variants; expected 2 to 16" in done.err
    assert "cannot read" in run("experiments", "start", tmp_path / "none.toml", "--dir", "data").err
    file.write_text("{")
    assert "is no experiment" in run("experiments", "start", file, "--dir", "data").err
    assert "no experiment 'x'" in run("experiments", "stop", "x", "--dir", "data").err
    assert "no experiment 'x'" in run("experiments", "show", "x", "--dir", "data").err


# ---------------------------------------------------------------- the watch


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with Engine.open(tmp_path / "data", CONFIG, Runtime(VirtualClock(NOW))) as engine:
        yield Service(engine, CONFIG)


def begun(service: Service, **more: Any) -> Path:
    engine = service.engine
    assert engine.directory is not None
    start_in(engine.directory, experiment(**more), CONFIG.placements, engine.columns, NOW)
    return engine.directory


def test_an_experiment_that_breaks_a_guardrail_is_stopped_and_the_log_says_why(service: Service) -> None:
    directory = begun(service, guardrails={"max_p99_ms": 40.0})
    begun(service, name="calm", placement="cart")
    said: list[tuple[str, str]] = []
    watch = ExperimentWatch(service, directory, lambda *what: said.append(what))
    asyncio.run(watch.look())
    for k in range(400):
        service.meters.answered({"spread": ("now", "wide")[k % 2]}, 0.5 if k % 2 else 0.001, False)
        service.meters.answered({"calm": ("now", "wide")[k % 2]}, 0.001, False)
    asyncio.run(watch.check())
    stopped = service.engine.experiments.get("spread")
    assert stopped.stopped == "guardrail max_p99_ms: 200 of the last 200 slates of wide took longer than 40 ms"
    assert stopped.ended_at == NOW
    assert service.engine.experiments.get("calm").running
    assert ("experiment_stopped", f"spread: {stopped.stopped}") in said
    assert ExperimentStore(directory, Experiment).read()[0] == stopped
    n = len(said)
    asyncio.run(watch.check())
    assert len(said) == n


def test_a_broken_file_and_one_that_does_not_fit_change_nothing(service: Service) -> None:
    directory = begun(service)
    said: list[tuple[str, str]] = []
    watch = ExperimentWatch(service, directory, lambda *what: said.append(what))
    asyncio.run(watch.look())
    good = (directory / FILE).read_bytes()
    for bad in (b"[", good.replace(b'"home"', b'"gone"')):
        (directory / FILE).write_bytes(bad)
        asyncio.run(watch.look())
        assert said[-1][0] == "experiments_refused"
        assert said[-1][1].endswith("; what ran goes on")
        assert service.engine.experiments.get("spread").running
        n = len(said)
        asyncio.run(watch.look())
        assert len(said) == n, "said once"
    (directory / FILE).write_bytes(good)
    stop_in(directory, "spread", "done", NOW + 1)
    asyncio.run(watch.look())
    assert said[-1] == ("experiments", "running: none")


def test_meters_count_by_variant_and_forget_after_two_windows() -> None:
    meters, one = Meters(), experiment()
    meters.watch([one])
    meters.answered({"spread": "now", "other": "x"}, 0.3, True)
    meters.failed({"spread": "now"})
    meters.answered({}, 9.0, True)

    def counts() -> list[int]:
        found = meters.measured(one)
        assert list(found) == ["now", "wide"]
        return [found["now"].slates, found["now"].slow, found["now"].failed, found["now"].empty, found["wide"].slates]

    assert counts() == [2, 1, 1, 1, 0]
    meters.turn()
    meters.answered({"spread": "wide"}, 0.001, False)
    assert counts() == [2, 1, 1, 1, 1]
    meters.turn()
    assert counts() == [0, 0, 0, 0, 1]
    meters.watch([])
    meters.answered({"spread": "now"}, 0.1, False)
    assert counts() == [0, 0, 0, 0, 0]


def test_a_slate_that_fails_counts_for_the_variant_it_would_have_had(served: Served) -> None:
    served.client.post("/v1/experiments", json=BODY)
    sound = served.engine.recommend

    def fault(*_: object) -> Slate:
        raise RuntimeError("made to fail")

    def of_variant(query: Any, *more: Any) -> Slate:
        name = served.engine.experiments.assign("home", "a" + query.anon_id).variants
        return msgspec.structs.replace(sound(query, *more), variants=name)

    try:
        served.engine.recommend = fault  # type: ignore[method-assign]
        for k in range(20):
            error_of(served.client.post("/v1/recommend", json={"anon_id": f"v{k}"}), 500)
        served.engine.recommend = of_variant  # type: ignore[method-assign]
        for k in range(20):
            assert served.client.post("/v1/recommend", json={"anon_id": f"v{k}"}).status_code == 200
    finally:
        served.engine.recommend = sound  # type: ignore[method-assign]
    measured = served.client.get("/v1/experiments/spread").json()["measured"]
    for one in measured.values():
        assert one["slates"] == 2 * one["failed"] > 0
    assert sum(one["failed"] for one in measured.values()) == 20


def test_what_the_log_says_of_variants_is_in_the_results_and_in_a_snapshot(tmp_path: Path) -> None:
    """Impressions and clicks through the log; a login joins two visitors; the next start knows it all."""

    def shown(anon: str) -> Impression:
        return Impression.of(
            event_id=f"imp:{anon}", request_id=anon, ts=NOW, anon_id=anon, shown=(Shown("i", 0),),
            variants={"spread": "now"},
        )  # fmt: skip

    def click(anon: str, after_s: int, **more: Any) -> Interaction:
        return Interaction(
            type="click", event_id=f"c{after_s}", ts=NOW + after_s * 1_000, anon_id=anon, item_id="i", request_id=anon,
            **more,
        )  # fmt: skip

    with Engine.open(tmp_path, CONFIG, Runtime(VirtualClock(NOW + 60_000))) as engine:
        engine.observe([shown("a1"), shown("a2"), click("a1", 5)])
        state = engine.state
        label = state.labels.get("variant:spread/now")
        found = state.scoreboard.report([label, -1], (0.5, 0.5), 100)
        assert [(one.units, one.slates, one.clicks, one.reward) for one in found.variants] == [(2, 2, 1, 1.0), (0,) * 4]
        assert found.assigned == [2, 0]
        engine.observe([click("a1", 20, user_id="u"), click("a2", 40, user_id="u")])
        (found,) = state.scoreboard.report([label, -1], (0.5, 0.5), 100).variants[:1]
        assert (found.units, found.slates, found.clicks) == (1, 2, 2), "the second click on a1 is no second one"
        before = state.hash()
    with Engine.open(tmp_path, CONFIG, Runtime(VirtualClock(NOW))) as engine:
        assert engine.recovered.from_snapshot
        assert engine.state.hash() == before


def test_an_experiment_decides_what_visitors_see_and_tells_what_came_of_it(tmp_path: Path) -> None:
    """From the start over HTTP to slates that differ, clicks that name them, and results per variant."""
    with serving(tmp_path) as shop:
        items = [{"item_id": f"i{k}", "brand": "A" if k % 2 else "B"} for k in range(30)]
        assert shop.client.post("/v1/items", json=items).status_code == 200
        shop.send(*(view(f"crowd{k % 9}", f"i{(k * 7) % 30}") for k in range(120)))
        only_b = {"filter": {"eq": {"brand": "B"}}, "n": 3}
        body = BODY | {"name": "half", "placement": "home",
                       "variants": {"now": {"weight": 0.5}, "b": {"weight": 0.5, "settings": only_b}}}  # fmt: skip
        assert shop.client.post("/v1/experiments", json=body).status_code == 200
        seen: dict[str, str] = {}
        for k in range(60):
            slate = shop.slate(anon_id=f"v{k}")
            seen[f"v{k}"] = slate["variants"]["half"]
            again = shop.client.post("/v1/recommend?shown=0", json={"anon_id": f"v{k}"}).json()
            assert again["variants"] == slate["variants"], "a visitor keeps the variant, logged or not"
            if seen[f"v{k}"] == "b":
                assert len(slate["items"]) == 3
                assert all(int(item["item_id"][1:]) % 2 == 0 for item in slate["items"])
                shop.send({"type": "click", "anon_id": f"v{k}", "item_id": slate["items"][0]["item_id"],
                           "request_id": slate["request_id"]})  # fmt: skip
            else:
                assert len(slate["items"]) == 12
        assert 15 < sum(name == "b" for name in seen.values()) < 45
        shop.send(view("last", "i1"))
        told = shop.client.get("/v1/experiments/half").json()["results"]
        assert {name: one["slates"] for name, one in told["variants"].items()} == {
            name: sum(other == name for other in seen.values()) for name in ("now", "b")
        }
        assert told["variants"]["b"]["clicks"] == told["variants"]["b"]["slates"]
        assert told["variants"]["now"]["clicks"] == 0
        assert shop.client.post("/v1/experiments/half/stop", json={}).status_code == 200
        assert not shop.slate(anon_id="v1").get("variants")


def test_two_variants_meet_in_one_slate_and_the_better_one_wins(tmp_path: Path) -> None:
    with serving(tmp_path) as shop:
        items = [{"item_id": f"i{k}", "brand": "A" if k % 2 else "B"} for k in range(40)]
        assert shop.client.post("/v1/items", json=items).status_code == 200
        shop.send(*(view(f"crowd{k % 9}", f"i{(k * 7) % 40}") for k in range(160)))
        only = {brand: {"weight": 0.5, "settings": {"filter": {"eq": {"brand": brand}}, "n": 6}} for brand in "AB"}
        body = BODY | {"name": "duel", "kind": "interleave", "variants": only}
        answer = shop.client.post("/v1/experiments", json=body)
        assert answer.status_code == 200, answer.text
        firsts = set()
        for k in range(40):
            slate = shop.slate(anon_id=f"v{k}")
            assert slate["variants"] == {"duel": "interleaved"}
            teams = [item["team"] for item in slate["items"]]
            assert [int(item["item_id"][1:]) % 2 == 0 for item in slate["items"]] == [team == 1 for team in teams]
            assert sorted(teams[:2]) == sorted(teams[2:4]) == sorted(teams[4:6]) == [0, 1], "the teams take turns"
            firsts.add(teams[0])
            liked = next(item["item_id"] for item in slate["items"] if item["team"] == (k % 8 > 0))
            if k % 10:
                shop.send({"type": "click", "anon_id": f"v{k}", "item_id": liked, "request_id": slate["request_id"]})
        assert firsts == {0, 1}, "a toss decides who goes first"
        shop.send(view("last", "i1"))
        told = shop.client.get("/v1/experiments/duel").json()
        assert told["results"] is None
        found = told["preference"]
        assert (found["wins"] + found["losses"], found["ties"]) == (36, 4)
        assert found["losses"] > 25
        assert found["high"] < 0.5
        assert found["p"] < 0.05
