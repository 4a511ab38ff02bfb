"""Reasons in words: every code in every language, on the server, in the storefront and in the console."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endcap.server.pages import STATIC
from endcap.slate.reasons import CODES, TERM_CODE
from endcap.slate.sentences import SENTENCES, WITHOUT_NAME, language_of, text
from endcap.types import Item, Reason
from served import Served, serving, view

HAN = re.compile(r"[\u4e00-\u9fff]")
BY_LANGUAGE = pytest.mark.parametrize("language", SENTENCES)


@BY_LANGUAGE
def test_every_code_has_a_sentence_with_and_without_names(language: str) -> None:
    assert set(SENTENCES[language]) == set(CODES) >= set(TERM_CODE.values())
    for code in CODES:
        bare = text(Reason(code), lambda _id: "?", language)
        nameless = text(Reason(code, 0.5, "i1"), lambda _id: None, language)
        named = text(Reason(code, 0.5, "i1", "Lamps"), lambda item_id: f"the {item_id}", language)
        for said in (bare, nameless, named):
            assert "{" not in said
            assert "None" not in said
            assert bool(HAN.search(said)) == (language == "zh"), said
    assert set(WITHOUT_NAME[language]) == {code for code, words in SENTENCES[language].items() if "{" in words}


def test_languages_name_the_same_things() -> None:
    for code, words in SENTENCES["en"].items():
        gaps = [
            sorted(name for _, name, _, _ in string.Formatter().parse(one) if name)
            for one in (words, SENTENCES["zh"][code])
        ]
        assert gaps[0] == gaps[1], code


def test_a_reason_reads_as_a_sentence() -> None:
    titles = {"i1": "Red mug"}.get
    together = Reason("viewed_together", 0.5, "i1")
    assert text(together, titles) == "Often viewed together with Red mug"
    assert text(together, titles, "zh") == "常与“Red mug”一起浏览"
    assert text(Reason("viewed_together", 0.5, "i2"), titles) == "Often viewed together with what you looked at"
    assert text(Reason("popular_here", 0.5, None, "Beijing"), titles) == "Popular in Beijing"
    assert text(Reason("new"), titles, "xx") == "New in the shop"


@pytest.mark.parametrize(
    ("wishes", "language"),
    [
        ("zh", "zh"), ("zh-CN", "zh"), ("zh_Hans_CN", "zh"), ("ZH-cn", "zh"), ("en-GB", "en"), ("", "en"), ("fr", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"), ("en;q=0.8,zh;q=0.9", "zh"), ("fr,de;q=0.9,zh;q=0.1", "zh"), ("*", "en"),
        ("zh;q=0,en;q=0.1", "en"),
        ("zh;q=much", "en"), ("zh;q=nan", "en"), ("zh;q=7", "en"), ("zho", "en"), (", ,zh", "zh"), ("en,zh", "en"),
    ],
)  # fmt: skip
def test_the_first_language_there_is(wishes: str, language: str) -> None:
    assert language_of(wishes) == language


@given(st.text(max_size=200))
def test_whatever_a_client_wishes_there_is_a_language(wishes: str) -> None:
    assert language_of(wishes) in SENTENCES


def messages(path: Path, key: str, prefix: str) -> set[str]:
    """Codes that a page's catalogue words."""
    return set(re.findall(rf'^\s+"{prefix}\.(\w+)": {key}', path.read_text("utf-8"), re.MULTILINE))


def test_the_pages_word_every_code() -> None:
    assert messages(STATIC / "console/messages.js", r'\["[^"]+", "[^"]+"\]', "reason") == set(CODES)
    english, chinese = storefront()
    assert set(english) == set(chinese)
    assert {key.removeprefix("why.") for key in english if re.fullmatch(r"why\.\w+", key)} == set(CODES) | {"other"}
    for key, words in english.items():
        assert sorted(re.findall(r"\{\w+\}", words)) == sorted(re.findall(r"\{\w+\}", chinese[key])), key
        assert HAN.search(chinese[key]) or key in ("shop.name", "panel.speed.unit"), key


def storefront() -> tuple[dict[str, str], dict[str, str]]:
    found = re.findall(r'^    "([\w.]+)": "([^"]*)",$', (STATIC / "messages.js").read_text("utf-8"), re.MULTILINE)
    half = next(at for at, (key, _) in enumerate(found) if at and key == found[0][0])
    return dict(found[:half]), dict(found[half:])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("sentences")) as running:
        running.engine.put_items([Item(item_id=f"i{n}", title=f"Mug {n}", categories=[["Kitchen"]]) for n in range(8)])
        for who in range(6):
            running.send(*[view(f"v{who}", f"i{n}", ts=running.engine.runtime.now() - 9_000 + n) for n in range(4)])
        running.send(view("me", "i0"))
        yield running


def reasons(answer: dict[str, list[dict[str, list[dict[str, str]]]]]) -> list[dict[str, str]]:
    return [reason for item in answer["items"] for reason in item["reasons"]]


def test_a_slate_comes_with_sentences_in_the_language_asked_for(served: Served) -> None:
    query = {"anon_id": "me", "n": 4}
    plain = served.client.post("/v1/recommend", json=query).json()
    assert reasons(plain)
    assert all("text" not in reason for reason in reasons(plain))
    for lang, chinese in (("zh-CN", True), ("en", False), ("fr", False)):
        by_body = served.client.post("/v1/recommend", params={"lang": lang, "shown": "0"}, json=query).json()
        by_address = served.client.get("/v1/recommend", params={"lang": lang, **query}).json()
        beside = served.client.get("/v1/items/i0/similar", params={"lang": lang, **query}).json()
        for answer in (by_body, by_address, beside):
            assert reasons(answer)
            assert {bool(HAN.search(reason["text"])) for reason in reasons(answer)} == {chinese}
        assert [item["item_id"] for item in by_body["items"]] == [item["item_id"] for item in plain["items"]]
    named = [
        reason["text"] for reason in reasons(served.client.get("/v1/recommend", params={"lang": "zh", **query}).json())
    ]
    assert any("“Mug 0”" in said for said in named), named
    after = served.client.post("/v1/recommend", json=query).json()
    assert all("text" not in reason for reason in reasons(after))  # records of reasons are shared and stay as they were


def test_the_log_holds_no_sentences(served: Served) -> None:
    before = served.engine.offset
    served.client.get("/v1/recommend", params={"lang": "zh", "anon_id": "me"})
    served.send(view("other", "i1"))
    stored = [repr(entry.event) for entry in served.engine.log.read(before, 100)]
    assert any(one.startswith("Impression") for one in stored)
    assert not any(HAN.search(one) for one in stored)


def test_a_page_s_cards_say_why_in_the_browser_s_language(served: Served) -> None:
    body = {"anon_id": "me", "shelves": [{"placement": "home", "n": 4}]}
    for wishes, chinese in (("zh-CN,zh;q=0.9,en;q=0.8", True), ("en-GB,en", False)):
        answer = served.client.post("/v1/tracker", json=body, headers={"accept-language": wishes}).json()
        said = [card["why"] for card in answer["shelves"][0]["items"]]
        assert said
        assert {bool(HAN.search(one)) for one in said} == {chinese}
