"""Content: the space, the source, and vectors that follow the catalogue."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from endcap.artifacts import write_artifact
from endcap.errors import ArtifactError
from endcap.features.catalogue import Catalogue
from endcap.learning.boosting import TooFewExamples
from endcap.learning.content import fit_content, is_due, term_matrix
from endcap.models.content import DIM, MAIN, SCHEMA, ContentModel, ContentSource, sketch, unfitted, vectors_of
from endcap.models.terms import BUCKETS
from endcap.preprocess.ids import Ids
from endcap.types import Item
from proposals import interest_of, order_of, proposed

COLOURS = ("red", "blue", "green", "yellow", "white", "black", "pink", "grey")
KINDS = (("mug", "Kitchen"), ("lantern", "Garden"), ("notebook", "Office"), ("cushion", "Living"))
EVERYTHING = 1_000_000


def record(k: int) -> Item:
    kind, room = KINDS[k % 4]
    colour = COLOURS[k // 4 % 8]
    return Item(
        item_id=f"item{k}", title=f"{colour} {kind} number {k}", brand=f"{room} & Co", categories=[[room, kind]],
        price=5.0 + k % 7,
    )  # fmt: skip


RECORDS = [record(k) for k in range(320)]


def shop(records: list[Item]) -> Catalogue:
    ids = Ids()
    catalogue = Catalogue(ids)
    for one in records:
        put(catalogue, one.item_id, one)
    return catalogue


def cosine(source: ContentSource, a: int, b: int) -> float:
    unit, row_of = source.vectors.unit, source.vectors.row_of
    return float(unit[row_of[a]] @ unit[row_of[b]])


def put(catalogue: Catalogue, item_id: str, one: Item | None) -> int:
    dense = catalogue.items.intern(item_id)
    catalogue.grow(0, dense + 1)
    catalogue.put(dense, one, 1_000)
    return dense


@pytest.fixture(scope="module")
def fitted() -> ContentModel:
    return fit_content(RECORDS)


@pytest.fixture(params=["random", "fitted"])
def source(request: pytest.FixtureRequest, fitted: ContentModel) -> ContentSource:
    made = ContentSource(shop(RECORDS[:40]))
    if request.param == "fitted":
        made.use(fitted, fitted.projection())
    assert made.catch_up(EVERYTHING) == 0
    return made


def test_the_first_numbers_are_scikit_learns_svd_and_the_rest_sketches_what_that_leaves(fitted: ContentModel) -> None:
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfTransformer

    weigher = TfidfTransformer()
    svd = TruncatedSVD(n_components=MAIN, n_iter=4, random_state=0).fit(weigher.fit_transform(term_matrix(RECORDS)))
    new = [Item(item_id="x", title="a red cushion for the garden", price=8.0), RECORDS[3]]
    weighed = weigher.transform(term_matrix(new))
    main = svd.transform(weighed)
    left = weighed.toarray() - main @ svd.components_
    plain = np.hstack([main, left @ sketch()[:, : DIM - MAIN] / np.sqrt(DIM - MAIN)])
    plain /= np.linalg.norm(plain, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors_of(new, fitted.projection()), plain, atol=5e-4)


@pytest.mark.parametrize("how", ["unfitted", "fitted"])
def test_cosines_are_roughly_those_of_the_full_bags(how: str, fitted: ContentModel) -> None:
    bags = term_matrix(RECORDS[:60]).toarray()
    if how == "fitted":
        bags *= fitted.idf
    bags /= np.linalg.norm(bags, axis=1, keepdims=True)
    vectors = vectors_of(RECORDS[:60], unfitted() if how == "unfitted" else fitted.projection())
    error = vectors @ vectors.T - bags @ bags.T
    assert np.abs(error).mean() < 0.07
    assert vectors_of([Item(item_id="empty")], unfitted()).tolist() == [[0.0] * DIM]


def test_a_word_that_came_after_the_fit_still_counts(fitted: ContentModel) -> None:
    pair = [Item(item_id=name, title="zyxwvut") for name in "ab"]
    vectors = vectors_of([*pair, Item(item_id="c", title="qqqqrrr")], fitted.projection())
    assert vectors[0] @ vectors[1] == pytest.approx(1.0)
    assert abs(vectors[0] @ vectors[2]) < 0.5


def test_an_item_never_seen_is_proposed_to_someone_who_viewed_alike(source: ContentSource) -> None:
    catalogue = source._catalogue
    assert isinstance(catalogue, Catalogue)
    new = put(catalogue, "new", structs.replace(record(41), item_id="new", title="violet lantern number 41"))
    assert source.catch_up(64) == 0
    got = proposed(source, interest_of([1, 5, 9]), 100, n=10)  # three lanterns
    assert new in got
    assert new not in proposed(source, interest_of([0, 4, 8]), 100, n=9)  # three mugs


def test_proposals_are_of_the_same_kind(source: ContentSource) -> None:
    for kind in range(4):
        got = order_of(proposed(source, interest_of([kind]), 100, n=6))
        assert len(got) == 6
        assert {item % 4 for item in got} == {kind}
        assert kind not in got


def test_items_that_the_query_names_speak_alone(source: ContentSource) -> None:
    got = order_of(proposed(source, interest_of([2, 0, 4, 8], n_context=1), 100, n=6))
    assert {item % 4 for item in got} == {2}


def test_the_reason_is_the_seed_that_reads_most_alike(source: ContentSource) -> None:
    got = proposed(source, interest_of([0, 1]), 100, n=12)
    assert {seed for item, (_, seed) in got.items() if item % 4 == 0} == {0}
    assert {seed for item, (_, seed) in got.items() if item % 4 == 1} == {1}


def test_scores_are_cosines_times_the_weight_of_the_seed(source: ContentSource) -> None:
    got = proposed(source, interest_of([3, 2], weight=[1.0, 4.0]), 100, n=10)
    assert {seed for _, seed in got.values()} == {0, 1}
    for item, (score, seed) in got.items():
        assert score == pytest.approx(cosine(source, (3, 2)[seed], item) * (0.25, 1.0)[seed], abs=1e-5)
    items, cosines = source.similar(3, 5)
    assert cosines.tolist() == pytest.approx([cosine(source, 3, int(item)) for item in items], abs=1e-5)
    assert items.tolist() == sorted(items.tolist(), key=lambda item: -cosine(source, 3, item))


def test_an_item_without_a_record_has_nothing_to_say(source: ContentSource) -> None:
    assert proposed(source, interest_of([77]), 100) == {}
    assert source.similar(77, 5)[0].shape == (0,)


def test_a_changed_record_moves_its_item(source: ContentSource) -> None:
    catalogue = source._catalogue
    assert isinstance(catalogue, Catalogue)
    assert 5 in proposed(source, interest_of([9]), 100, n=9)
    assert cosine(source, 5, 0) < cosine(source, 5, 1)
    put(catalogue, "item5", structs.replace(record(4), item_id="item5"))
    source.catch_up(64)
    assert 5 not in proposed(source, interest_of([9]), 100, n=9)
    assert cosine(source, 5, 0) > cosine(source, 5, 1)


def test_a_change_of_stock_moves_nothing(source: ContentSource) -> None:
    catalogue = source._catalogue
    assert isinstance(catalogue, Catalogue)
    kept = source.nearest.of(1)[0]
    before = source.vectors.unit.copy()
    put(catalogue, "item5", structs.replace(record(5), stock_qty=3))
    source.catch_up(64)
    np.testing.assert_array_equal(source.vectors.unit, before)
    assert kept[0] >= 0  # the row of the kept list was not given up


def test_a_deleted_record_is_nobodys_neighbour(source: ContentSource) -> None:
    catalogue = source._catalogue
    assert isinstance(catalogue, Catalogue)
    put(catalogue, "item5", None)
    source.catch_up(64)
    assert 5 not in proposed(source, interest_of([1]), 100)
    assert proposed(source, interest_of([5]), 100) == {}


def test_a_large_load_is_read_in_slices() -> None:
    source = ContentSource(shop(RECORDS[:100]))
    assert [source.catch_up(40) for _ in range(4)] == [60, 20, 0, 0]
    whole = ContentSource(shop(RECORDS[:100]))
    whole.catch_up(EVERYTHING)
    np.testing.assert_array_equal(source.vectors.unit[:100], whole.vectors.unit[:100])


def test_the_old_model_serves_until_the_new_one_has_read_everything(fitted: ContentModel) -> None:
    catalogue = shop(RECORDS[:50])
    source = ContentSource(catalogue)
    source.catch_up(EVERYTHING)
    held, before = source.vectors, proposed(source, interest_of([1]), 100)
    source.use(fitted, fitted.projection())
    assert source.catch_up(30) == 20
    assert source.model is None
    assert proposed(source, interest_of([1]), 100) == before
    new = put(catalogue, "item53", RECORDS[53])
    source.catch_up(1)  # a new item does not wait
    assert new in proposed(source, interest_of([1]), 100)
    assert source.catch_up(EVERYTHING) == 0
    assert source.vectors is held
    assert source.model is fitted
    assert proposed(source, interest_of([1]), 100) != before
    assert new in proposed(source, interest_of([1]), 100)


def test_an_artifact_gives_the_same_vectors_and_holds_no_words(fitted: ContentModel, tmp_path: Path) -> None:
    fitted.save(tmp_path / "content")
    loaded = ContentModel.load(tmp_path / "content")
    np.testing.assert_array_equal(loaded.projection(), fitted.projection())
    assert loaded.meta == fitted.meta
    assert loaded.meta["records"] == 320
    assert b"lantern" not in (tmp_path / "content").read_bytes()


def test_a_model_that_cannot_be_right_is_refused(tmp_path: Path) -> None:
    idf, none, flat = np.ones(BUCKETS, np.float32), np.zeros((0, DIM), np.float32), np.zeros((2, BUCKETS), np.float32)
    with pytest.raises(ArtifactError, match="NaN"):
        ContentModel(idf, flat * np.float32(np.nan), none).projection()
    with pytest.raises(ArtifactError, match="buckets"):
        ContentModel(idf[:9], flat, none).projection()
    write_artifact(tmp_path / "odd", {"idf": idf}, SCHEMA)
    with pytest.raises(ArtifactError, match="holds no content model"):
        ContentModel.load(tmp_path / "odd")


def test_when_a_fit_is_due() -> None:
    assert not is_due(199, 0)
    assert is_due(200, 0)
    assert not is_due(1_400, 1_000)
    assert is_due(1_500, 1_000)
    with pytest.raises(TooFewExamples, match="there are 3"):
        fit_content(RECORDS[:3])


def test_a_large_catalogue_is_coded_and_a_new_item_is_still_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("endcap.models.vectors.EXACT", 100)
    monkeypatch.setattr("endcap.models.vectors.TAIL", 20)
    catalogue = shop(RECORDS)
    source = ContentSource(catalogue)
    source.catch_up(EVERYTHING)
    assert source.vectors.coded > 100
    plain = vectors_of(RECORDS, unfitted())
    np.testing.assert_allclose(source.vectors.unit[source.vectors.row_of[: len(RECORDS)]], plain, atol=1e-6)
    assert {item % 4 for item in order_of(proposed(source, interest_of([1]), 2_000, n=6))} == {1}
    new = put(catalogue, "new", structs.replace(record(1), item_id="new"))
    source.catch_up(64)
    assert order_of(proposed(source, interest_of([1]), 2_000, n=6))[0] == new
