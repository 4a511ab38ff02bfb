"""The demo: it fills a directory once, and the headless shopper passes over real HTTP and fails when it should."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from endcap.bench.served import free_port
from endcap.data.online_retail import load_items
from endcap.demo import check, prepare
from endcap.types import Query
from served import serving

NEWEST = 25_000


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def shop(directory: Path) -> Iterator[str]:
    prepare(directory, newest=NEWEST).close()
    with serving(directory) as served:
        yield served.url


def test_the_headless_shopper_sees_every_promise_kept(shop: str) -> None:
    said: list[str] = []
    assert check(shop, said.append) == 0, said
    assert said[-1].startswith("passed")
    assert sum("ms after the click" in line for line in said) == 2


def test_it_leaves_the_shop_as_it_found_it_and_passes_again(shop: str) -> None:
    said: list[str] = []
    assert check(shop, said.append) == 0, said


def test_it_fails_where_no_shop_answers() -> None:
    said: list[str] = []
    assert check(f"http://127.0.0.1:{free_port()}", said.append) == 1
    assert said[-1].startswith("FAILED")


def test_a_directory_is_filled_once(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    with prepare(tmp_path, lambda *step: seen.append(step), newest=2_000) as engine:
        assert seen[-1] == ("import", 2_000, 2_000)
        assert engine.offset == len(load_items()) + 2_000
        first = [placed.item_id for placed in engine.recommend(Query(anon_id="somebody")).items]
        assert len(first) == 12
    seen.clear()
    with prepare(tmp_path, lambda *step: seen.append(step), newest=2_000) as engine:
        assert not [step for step in seen if step[0] == "import"]
        assert engine.offset == len(load_items()) + 2_000


def test_a_cut_off_import_is_taken_up_again_without_doubling(tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop(stage: str, _done: int, _total: int) -> None:
        if stage == "import":
            raise Stopped

    with pytest.raises(Stopped):
        prepare(tmp_path, stop, newest=6_000)
    with prepare(tmp_path, newest=6_000) as engine:
        purchases = sum(entry.event.event_id.startswith("online-retail:") for entry in engine.log.read(0, 50_000))
        assert purchases == 6_000
