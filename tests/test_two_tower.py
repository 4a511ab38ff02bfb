"""The softmax two-tower model: its formula, training, serving, and items that enter by their attributes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

pytest.importorskip("torch", reason="training deep models needs PyTorch: pip install 'endcap[torch]'")

import torch

from endcap.candidates import Candidates
from endcap.config import Config, CovisitConfig, DeepConfig
from endcap.engine import Engine
from endcap.errors import ArtifactError
from endcap.features.catalogue import Catalogue
from endcap.features.histories import Histories
from endcap.learning.boosting import TooFewExamples
from endcap.learning.networks import Lessons, fit_network
from endcap.learning.networks.bags import Batch, bags, rows_of
from endcap.learning.networks.two_tower import Towers
from endcap.learning.sequences import Sequences
from endcap.models.network import Network, Window
from endcap.models.two_tower import TwoTowerSource, attribute_vectors, bag_weights, taste, weekday_of
from endcap.preprocess.ids import Ids
from endcap.runtime import Runtime, VirtualClock
from endcap.stores.memory import MemoryLog
from endcap.types import ACTION_CODE, F4, Context, Item, Query
from proposals import batch_of, interest_of, order_of, proposed

VIEW, BUY = ACTION_CODE["view"], ACTION_CODE["purchase"]
KINDS, EACH = 4, 10
N = KINDS * EACH
DAY_S, START_S = 86_400, 1_760_313_600  # a Monday, 00:00
WORDS = ("copper kettle", "garden chair", "wool scarf", "chess board")
HOW = DeepConfig(dim=16, epochs=20, threads=1)


def record(item: int, name: str | None = None) -> Item:
    kind = item // EACH
    return Item(
        item_id=name or f"i{item}", title=f"{WORDS[kind]} no {item % 3}", categories=[["all", f"kind{kind}"]],
        brand=f"brand{kind}", price=10.0 + kind,
    )  # fmt: skip


def visits(n_users: int = 500, seed: int = 0) -> Sequences:
    """Shoppers of one kind each, six steps; first by chance, and kind 0 in the morning, kind 1 at night."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, KINDS, n_users)
    user = np.repeat(np.arange(n_users, dtype=np.int32), 6)
    item = (kind[user] * EACH + rng.integers(0, EACH, user.shape[0])).astype(np.int32)
    ts_s = START_S + np.sort(rng.integers(0, 5 * DAY_S, n_users))[user] + 40 * np.tile(np.arange(6), n_users)
    n = user.shape[0]
    hour = np.where(kind[user] == 0, 8, np.where(kind[user] == 1, 22, 14)).astype(np.int8)
    return Sequences(
        user, item, np.where(rng.random(n) < 0.2, BUY, VIEW).astype(np.int8), ts_s.astype(np.int64), user, hour,
        np.full(n, 2, np.int8), (kind[user] % 2).astype(np.int16), np.full(n, -1, np.int16),
        [f"i{k}" for k in range(N)], ["north", "south"], [],
    )  # fmt: skip


@pytest.fixture(scope="module")
def lessons() -> Lessons:
    return Lessons(visits(), [record(item) for item in range(N)])


@pytest.fixture(scope="module")
def network(lessons: Lessons) -> Network:
    return fit_network("two_tower", lessons, HOW, {"offset": 7})


class Shop:
    """A source over a real catalogue and real rings."""

    def __init__(self, network: Network, n_records: int = N) -> None:
        self.ids, self.regions = Ids(), Ids()
        for region in ("south", "north", "elsewhere"):
            self.regions.intern(region)
        self.catalogue = Catalogue(self.ids)
        self.rings = Histories(CovisitConfig())
        for item in range(n_records):
            self.put(record(item))
        self.source = TwoTowerSource(self.rings, self.catalogue, self.regions)
        self.source.use(network, self.ids)

    def put(self, item: Item) -> int:
        dense = self.ids.intern(item.item_id)
        self.catalogue.put(dense, item, START_S * 1000)
        return dense

    def proposed(self, seeds: list[int], n: int = 8, hour: int = 14, region: int = -1) -> list[int]:
        interest = interest_of(seeds, n_context=len(seeds), t_s=START_S)
        interest.hour, interest.region = hour, region
        return order_of(proposed(self.source, interest, len(self.ids), n=n))


def test_a_shopper_is_offered_what_shoppers_like_them_took(network: Network) -> None:
    shop = Shop(network)
    for kind in range(KINDS):
        got = shop.proposed([kind * EACH + 1, kind * EACH + 2])
        assert {item // EACH for item in got} == {kind}
    assert network.meta["judged"] > 0.3  # the item of ten is chance, the kind is not
    assert network.meta["offset"] == 7


def test_the_moment_says_what_goes_when_nothing_else_is_known(network: Network) -> None:
    shop = Shop(network)
    assert {item // EACH for item in shop.proposed([], n=5, hour=8)} == {0}
    assert {item // EACH for item in shop.proposed([], n=5, hour=22)} == {1}
    # regions go by name: here "south" has another number than at the training, and only odd kinds are sold there
    assert {item // EACH % 2 for item in shop.proposed([], n=5, region=0)} == {1}
    assert shop.proposed([3], region=2) == shop.proposed([3], region=-1)


def test_serving_computes_the_formula_of_the_training(lessons: Lessons, network: Network) -> None:
    """(W + H A) (f(X) + g(C_t)), by PyTorch from the artifact's matrices, and by the source."""
    arrays = {name: torch.from_numpy(array) for name, array in network.arrays.items()}
    place, age_s = np.array([3, 4, 17], np.int32), np.array([90_000, 60, 0], np.int32)
    action = np.array([VIEW, BUY, VIEW], np.int8)
    share = np.zeros(3, np.float32)
    bag_weights(age_s, action, share)
    bag = torch.from_numpy(share) @ arrays["inputs"][place]
    taste_x = bag + torch.relu(bag @ arrays["w1"] + arrays["b1"]) @ arrays["w2"]
    moment = arrays["hour"][9] + arrays["weekday"][0] + arrays["device"][2] + arrays["region"][0]
    expected = taste_x + moment + arrays["placement"][0]
    shop = Shop(network)
    interest = interest_of([], t_s=START_S)
    interest.hour, interest.device = 9, 2
    got = shop.source.at_moment(shop.source.encode(Window(place, age_s, action)), interest)
    np.testing.assert_allclose(got, expected.numpy(), rtol=1e-4, atol=1e-5)
    attributes = attribute_vectors([record(item) for item in range(N)], network.arrays["text"], network.arrays["table"])
    np.testing.assert_allclose(network.vectors, network.arrays["learned"] + attributes, rtol=1e-4, atol=1e-5)
    assert share.sum() == pytest.approx(1.0)
    assert share[1] > share[0]


def test_with_every_item_drawn_the_loss_is_the_full_softmax() -> None:
    torch.manual_seed(0)
    net = Towers(N, [None] * N, 8, 1, 1).eval()
    begin, row = np.zeros(5, np.int64), np.arange(1, 6, dtype=np.int64)
    place = np.random.default_rng(0).integers(0, N, 8).astype(np.int32)
    flat, share, lengths = bags(begin, row, place, np.arange(8, dtype=np.int64), np.full(8, VIEW, np.int8))
    offsets = torch.from_numpy(np.cumsum(lengths) - lengths)
    right, context = torch.from_numpy(place[row].astype(np.int64)), torch.zeros(5, 5, dtype=torch.int64)
    batch = Batch(
        torch.from_numpy(flat), torch.from_numpy(share), offsets, context, right, torch.zeros(5), torch.zeros(5)
    )
    vectors, inputs = net.all_items()
    scores = (net.taste(batch, inputs, batch.flat) + net.moment(context)) @ vectors.T
    full = torch.nn.functional.cross_entropy(scores, right)
    assert float(net.loss(batch, torch.arange(N), torch.zeros(N)).detach()) == pytest.approx(float(full.detach()))
    # an item that is drawn more often counts less each time: log Q takes its surplus away
    drawn = torch.cat((torch.arange(N), torch.full((9,), 30)))
    log_q = torch.zeros(N)
    log_q[30] = float(np.log(10.0))
    if 30 not in right.tolist():
        assert float(net.loss(batch, drawn, log_q).detach()) == pytest.approx(float(full.detach()), rel=1e-5)


def test_a_bag_holds_the_newest_behaviours_before_the_moment() -> None:
    ts_s = np.arange(60, dtype=np.int64) * 10
    place = np.arange(60, dtype=np.int32)
    flat, share, lengths = bags(np.array([0, 50]), np.array([55, 50]), place, ts_s, np.full(60, VIEW, np.int8))
    assert lengths.tolist() == [50, 0]
    assert flat.tolist() == list(range(5, 55))
    assert share.sum() == pytest.approx(1.0)
    assert np.all(np.diff(share) >= 0)


def test_a_new_item_enters_by_its_attributes_and_stock_changes_nothing(network: Network) -> None:
    shop = Shop(network)
    assert shop.source.catch_up(1_000) == 0
    before = shop.proposed([21, 22], n=12)
    new = shop.put(structs.replace(record(20, "new"), title="wool scarf no 1"))
    assert shop.source.catch_up(64) == 0
    row = shop.source.vectors.row(new)
    like = shop.source.vectors.unit[: shop.source.vectors.n] @ shop.source.vectors.unit[row]
    kinds = [int(item) // EACH for item in shop.source.vectors.item_of[np.argsort(-like)[1:6]]]
    assert kinds == [2] * 5
    got = shop.proposed([21, 22], n=12)
    assert new in got
    assert [item for item in got if item != new][:11] == before[:11]
    assert {item // EACH for item in shop.proposed([new], n=8) if item != new} == {2}
    held = shop.source.vectors.unit.copy()
    shop.put(structs.replace(record(5), stock_qty=3))
    assert shop.source.catch_up(64) == 0
    np.testing.assert_array_equal(shop.source.vectors.unit[: held.shape[0]], held)


def test_an_item_known_before_serving_but_not_at_training_waits_for_its_vector(network: Network) -> None:
    shop = Shop(network, N - 5)
    new = shop.put(record(31, "late"))
    shop.source.use(network, shop.ids)
    assert shop.source.vectors.row(new) < 0
    assert shop.source.catch_up(64) == 0
    assert shop.source.vectors.row(new) >= 0
    assert shop.source.vectors.n == N - 5 + 1


def test_a_remembered_shopper_is_computed_anew_when_items_of_the_bag_change(network: Network) -> None:
    shop = Shop(network)
    shop.rings.grow(1, N)
    shop.rings.fold(batch_of([(0, 0, 21, "view", 0), (0, 0, 22, "view", 0)], [START_S * 1000] * 2))
    interest = interest_of([], user=0, t_s=START_S + 9)
    shop.source.look_ahead(interest)
    first = shop.source.user_vector(interest)
    assert first is not None
    np.testing.assert_array_equal(shop.source.user_vector(interest), first)
    shop.put(structs.replace(record(5), item_id="i21"))
    shop.source.catch_up(64)
    assert np.abs(shop.source.user_vector(interest) - first).max() > 1e-3


def test_a_look_ahead_finds_the_answers_of_the_placements_asked_last(network: Network) -> None:
    shop = Shop(network)
    shop.rings.grow(1, N)
    shop.rings.fold(batch_of([(0, 0, 21, "view", 0), (0, 0, 22, "view", 0)], [START_S * 1000] * 2))
    interest = interest_of([], user=0, t_s=START_S + 9)
    shop.source.look_ahead(interest)
    assert not shop.source._answers  # nobody asked so far
    shop.source.retrieve(interest, table_of(), 0, 8)
    shop.source._answers.clear()
    shop.source.look_ahead(interest)
    found = set(shop.source._answers)
    assert len(found) == 1
    interest.t_s += 50
    shop.source.retrieve(interest, table_of(), 0, 8)
    assert set(shop.source._answers) == found
    interest.device = 1  # not foreseen
    shop.source.retrieve(interest, table_of(), 0, 8)
    assert len(shop.source._answers) == 2


def table_of() -> Candidates:
    table = Candidates(("two_tower",))
    table.begin(10 * N)
    return table


def test_an_artifact_comes_back_equal_and_a_damaged_one_is_refused(network: Network, tmp_path: Path) -> None:
    network.save(tmp_path / "1.endcap")
    back = Network.load(tmp_path / "1.endcap")
    assert Shop(back).proposed([12]) == Shop(network).proposed([12])
    odd = dict(network.arrays)
    odd["w2"] = odd["w2"][:, :3]
    with pytest.raises(ArtifactError, match="w2"):
        Shop(replace(network, arrays=odd))
    del odd["text"]
    with pytest.raises(ArtifactError, match="lacks text"):
        Shop(replace(network, arrays=odd))


def test_the_same_log_and_seed_give_the_same_model(lessons: Lessons) -> None:
    how = structs.replace(HOW, epochs=2)
    first, second = (fit_network("two_tower", lessons, how) for _ in range(2))
    np.testing.assert_array_equal(first.vectors, second.vectors)


def test_a_run_that_was_cut_off_goes_on(lessons: Lessons, tmp_path: Path) -> None:
    fit_network("two_tower", lessons, structs.replace(HOW, epochs=3), checkpoints=tmp_path / "other")
    stages: list[str] = []

    def cut(stage: str, done: int, _total: int) -> None:
        stages.append(stage)
        if stage.endswith("pass 3") and done == 2:
            raise KeyboardInterrupt

    how = structs.replace(HOW, epochs=4)
    with pytest.raises(KeyboardInterrupt):
        fit_network("two_tower", lessons, how, progress=cut, checkpoints=tmp_path)
    stages.clear()
    resumed = fit_network("two_tower", lessons, how, progress=lambda s, *_: stages.append(s), checkpoints=tmp_path)
    assert stages[0].endswith("pass 3")
    straight = fit_network("two_tower", lessons, how)
    np.testing.assert_allclose(resumed.vectors, straight.vectors, atol=1e-6)


def test_too_few_interactions_are_said() -> None:
    few = visits(20)
    with pytest.raises(TooFewExamples, match="there are 120"):
        fit_network("two_tower", Lessons(few, [None] * N), HOW)


def test_names_become_rows_and_what_is_unknown_row_0() -> None:
    rows, names = rows_of(np.array([2, -1, 0, 2], np.int32), ["a", "b", "c"])
    assert names == ["", "a", "c"]
    assert rows.tolist() == [2, 0, 1, 2]
    assert weekday_of(START_S) == 0


def test_an_item_posted_to_a_running_engine_is_recommended_at_once(network: Network) -> None:
    config = Config()
    home = structs.replace(config.placements["product"], sources=["two_tower"], ranker="linear", seen="keep")
    config = structs.replace(config, placements={**config.placements, "product": home})
    with Engine(MemoryLog(), config, Runtime(VirtualClock(START_S * 1000), seed=1)) as engine:
        engine.put_items([record(item) for item in range(N)])
        engine.use_model("two_tower", network)
        query = Query(user_id="u", placement="product", n=12, items=["i21"], context=Context(device="mobile"))
        assert "fresh" not in [one.item_id for one in engine.recommend(query).items]
        engine.put_items([structs.replace(record(20), item_id="fresh")])
        placed = {one.item_id: one for one in engine.recommend(query).items}
        assert placed["fresh"].sources == ["two_tower"]


def test_the_weights_of_an_empty_shop_do_not_divide_by_zero() -> None:
    out = np.zeros(4, np.float32)
    none: F4 = np.zeros((0, 4), np.float32)
    taste(
        np.zeros(0, np.int32), np.zeros(0, np.float32), none, np.zeros((4, 8), np.float32), np.ones(8, np.float32),
        np.ones((8, 4), np.float32), np.zeros(4, np.float32), np.zeros(8, np.float32), out,
    )  # fmt: skip
    assert out.tolist() == [8.0] * 4
