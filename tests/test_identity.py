"""Links from anonymous ids to users."""

from __future__ import annotations

from endcap.preprocess.identity import Identity


def test_nobody_is_linked_at_first() -> None:
    identity = Identity()
    assert identity.resolve(7) == 7
    assert identity.resolve(-1) == -1
    assert not identity.is_linked(7)
    assert not identity.is_linked(-1)


def test_a_link_is_news_once() -> None:
    identity = Identity()
    assert identity.link(3, 5)
    assert not identity.link(3, 5)
    assert identity.resolve(3) == 5
    assert identity.resolve(5) == 5
    assert identity.is_linked(3)


def test_the_last_login_on_a_device_wins() -> None:
    identity = Identity()
    identity.link(3, 5)
    assert identity.link(3, 6)
    assert identity.resolve(3) == 6
    assert identity.anonymous_ids(5).tolist() == []


def test_a_user_may_have_several_anonymous_ids() -> None:
    identity = Identity()
    for anon in (2, 9, 4):
        identity.link(anon, 1)
    assert identity.anonymous_ids(1).tolist() == [2, 4, 9]


def test_links_survive_saving_and_loading_whatever_the_room() -> None:
    identity = Identity()
    identity.link(3, 5)
    saved = identity.arrays(8, 0)["to_user"]
    assert saved.tolist() == [-1, -1, -1, 5, -1, -1, -1, -1]
    loaded = Identity()
    loaded.load({"to_user": saved})
    loaded.grow(5_000, 0)
    assert loaded.resolve(3) == 5
    assert loaded.link(4_999, 1)
    assert saved.shape == (8,)
