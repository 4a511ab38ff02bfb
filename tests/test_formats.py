"""Loaders of public formats, on tiny files of the same shape."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from endcap.engine import Engine
from endcap.errors import InvalidInput
from endcap.evaluation.dataset import TEST, TRAIN, Dataset
from endcap.evaluation.folder import from_frame
from endcap.evaluation.formats import load
from endcap.types import ACTIONS, Interaction, Item

START_MS = 1_760_000_000_000


def words(data: Dataset) -> list[tuple[str, str, str]]:
    """(user, item, action) in order."""
    return [
        (data.user_names[u], data.item_names[i], ACTIONS[a])
        for u, i, a in zip(data.user, data.item, data.action, strict=True)
    ]


def test_retailrocket_events(tmp_path: Path):
    file = tmp_path / "events.csv"
    file.write_text(
        "timestamp,visitorid,event,itemid,transactionid\n1433221332117,257597,view,355908,\n"
        "1433224214164,992329,addtocart,248676,\n1433221999827,111016,transaction,318965,77\n"
    )
    data = load(tmp_path)
    assert words(data) == [
        ("257597", "355908", "view"), ("111016", "318965", "purchase"), ("992329", "248676", "cart_add"),
    ]  # fmt: skip
    assert data.ts[0] == 1433221332117
    assert data.session_names == ["77"]


def test_movielens_in_its_three_shapes(tmp_path: Path):
    csv, dat, old = (tmp_path / name for name in ("csv", "dat", "old"))
    for folder in (csv, dat, old):
        folder.mkdir()
    (csv / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,2,4.5,964982703\n1,3,1.0,964982704\n")
    (csv / "movies.csv").write_text('movieId,title,genres\n2,"Jumanji (1995)",Adventure|Children\n')
    (dat / "ratings.dat").write_text("1::2::5::964982703\n1::3::1::964982704\n")
    (dat / "movies.dat").write_bytes("2::Café (1995)::Comedy\n".encode("latin-1"))
    (old / "u.data").write_text("1\t2\t5\t964982703\n1\t3\t1\t964982704\n")
    for folder in (csv, dat, old):
        data = load(folder)
        assert words(data) == [("1", "2", "rating"), ("1", "3", "dislike")], folder
        assert data.value[0] > 0 > data.value[1]
    film = load(csv).items[0]
    assert (film.title, film.categories) == ("Jumanji (1995)", [["Adventure"], ["Children"]])
    assert load(dat).items[0].title == "Café (1995)"


def test_otto_sessions(tmp_path: Path):
    file = tmp_path / "train.jsonl"
    events = [{"aid": 9, "ts": START_MS, "type": "clicks"}, {"aid": 8, "ts": START_MS + 1, "type": "orders"}]
    file.write_text(json.dumps({"session": 1, "events": events}) + "\n" + json.dumps({"session": 2, "events": events}))
    data = load(file)
    assert words(data) == [
        ("1", "9", "click"), ("2", "9", "click"), ("1", "8", "purchase"), ("2", "8", "purchase"),
    ]  # fmt: skip
    assert data.session_names == ["1", "2"]


def test_amazon_reviews_old_and_new(tmp_path: Path):
    old, new = tmp_path / "old.json.gz", tmp_path / "new.jsonl"
    review = {"reviewerID": "A", "asin": "B1", "overall": 5.0, "unixReviewTime": 1_400_000_000, "reviewText": "x"}
    old.write_bytes(gzip.compress(json.dumps(review).encode()))
    new.write_text(json.dumps({"user_id": "A", "parent_asin": "B1", "rating": 2.0, "timestamp": 1_600_000_000_123}))
    assert words(load(old)) == [("A", "B1", "rating")]
    assert words(load(new)) == [("A", "B1", "dislike")]
    assert load(new).ts[0] == 1_600_000_000_000


def test_bare_ratings(tmp_path: Path):
    file = tmp_path / "ratings_Beauty.csv"
    file.write_text("A,B1,5.0,1400000000\nA,B2,1.0,1400000001\n")
    assert words(load(file)) == [("A", "B1", "rating"), ("A", "B2", "dislike")]


def test_mind_clicks_and_news(tmp_path: Path):
    (tmp_path / "behaviors.tsv").write_text("1\tU1\t11/15/2019 8:55:22 AM\tN9\tN1-1 N2-0\n2\tU2\t\t\tN1-0\n")
    (tmp_path / "news.tsv").write_text('N1\tsports\tsoccer\tThe "match"\tAbstract\thttps://x\t[]\t[]\n')
    data = load(tmp_path)
    assert words(data) == [("U1", "N1", "click")]
    assert data.counts["no_interaction"] == 2
    assert data.ts[0] == 1573808122000
    assert data.items[0].categories == [["sports", "soccer"]]


def test_any_other_file_goes_through_the_importers_mapping(tmp_path: Path):
    file, items = tmp_path / "orders.csv", tmp_path / "items.csv"
    file.write_text("who,what,when\nann,i1,2025-01-02T03:04:05Z\nann,,2025-01-02T03:04:06Z\n")
    items.write_text("item_id,title\ni1,Mug\n")
    mapping = {"user_id": "who", "item_id": "what", "ts": "when", "type": "=purchase"}
    data = load(file, mapping=mapping, items=items)
    assert words(data) == [("ann", "i1", "purchase")]
    assert data.counts["no_item"] == 1
    assert data.items[0].title == "Mug"


def test_the_shops_own_log(tmp_path: Path):
    with Engine.open(tmp_path / "shop") as engine:
        engine.put_items([Item(item_id="i1", title="Mug")])
        engine.observe([
            Interaction(type="view", anon_id="a1", item_id="i1"), Interaction(type="view", user_id="ann", item_id="i2"),
        ])  # fmt: skip
    data = load(tmp_path / "shop")
    assert sorted(words(data)) == [("a1", "i1", "view"), ("ann", "i2", "view")]
    assert [bool(data.is_guest[data.user_names.index(name)]) for name in ("a1", "ann")] == [True, False]
    assert data.items[data.item_names.index("i1")].title == "Mug"


def test_what_is_missing_is_said(tmp_path: Path):
    with pytest.raises(InvalidInput, match="nothing at"):
        load(tmp_path / "nowhere")
    with pytest.raises(InvalidInput, match="holds none of"):
        load(tmp_path)
    frame = pl.DataFrame({"user_id": ["a"], "item_id": ["b"], "event_type": ["stare"], "timestamp": [1]})
    with pytest.raises(InvalidInput, match="stare"):
        from_frame("odd", frame, {})


def test_rows_without_a_time_are_dropped_unless_none_has_one():
    frame = pl.DataFrame({
        "user_id": ["a", "b", "c"], "item_id": ["1", "2", "3"], "event_type": ["view"] * 3,
        "timestamp": [1_700_000_000, None, 1_600_000_000], "split": ["train", "test", "train"],
    })  # fmt: skip
    data = from_frame("some", frame, {})
    assert words(data) == [("c", "3", "view"), ("a", "1", "view")]
    assert data.counts["no_time"] == 1
    assert data.split.tolist() == [TRAIN, TRAIN]
    none = from_frame("none", frame.with_columns(pl.lit(None, pl.Int64).alias("timestamp")), {})
    assert words(none) == [("a", "1", "view"), ("b", "2", "view"), ("c", "3", "view")]
    assert none.split.tolist() == [TRAIN, TEST, TRAIN]
    assert (np.diff(none.ts) == 1000).all()


def basket_frame(sort: bool) -> pl.DataFrame:
    rng = np.random.default_rng(1)
    rows = []
    for basket in range(60):
        lines = [f"{i:03d}" for i in rng.choice(200, 8, replace=False)]
        rows += [
            ("u", line, "purchase", 1_700_000_000 + basket, f"b{basket}") for line in (sorted(lines) if sort else lines)
        ]
    return pl.DataFrame(rows, schema=["user_id", "item_id", "event_type", "timestamp", "session_id"], orient="row")


def test_baskets_whose_lines_are_sorted_by_item_are_shuffled_others_keep_their_order():
    kept = from_frame("kept", basket_frame(sort=False), {})
    assert "shuffled" not in kept.counts
    assert [word[1] for word in words(kept)] == basket_frame(sort=False)["item_id"].to_list()
    mixed = from_frame("mixed", basket_frame(sort=True), {})
    assert mixed.counts["shuffled"] == 60 * 7
    lines = np.array([int(word[1]) for word in words(mixed)]).reshape(60, 8)
    assert 0.3 < (np.diff(lines, axis=1) > 0).mean() < 0.7
    assert words(mixed) == words(from_frame("mixed", basket_frame(sort=True), {}))


def test_an_item_enters_the_catalogue_right_before_its_first_event():
    frame = basket_frame(sort=False).with_columns(pl.lit(2.5).alias("price"))
    data = from_frame("listed", frame, {"005": Item(item_id="005", title="Five")})
    first = data.first_events()
    events = list(data.events(range(len(data)), first))
    at = next(k for k, event in enumerate(events) if not isinstance(event, Interaction))
    assert len(events) == len(data) + 1
    assert events[at].item.price == 2.5
    assert events[at + 1].item_id == "005"
    assert not any(isinstance(event, Interaction) and event.item_id == "005" for event in events[:at])
