"""Cleaning: sessions and rules against a plain twin, and one known answer per rule."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given

from endcap.batches import BOT, FLOOD, LATE, PRICE_OUTLIER, QUANTITY_OUTLIER, REPEATED, UNCLEAN
from endcap.config import CleanConfig
from endcap.errors import ConfigError
from endcap.preprocess.clean import RULES, Cleaner
from rows import N_ITEMS, N_USERS, START_S, Row, assert_batching_is_invisible, at_leisure, batch, cut_places, rows, same

DAY_S = 86_400
CONFIG = CleanConfig(flood_per_min=4, bot_distinct_per_min=3, bot_views_without_pause=4)


class PlainUser:
    """What the twin remembers of one user."""

    def __init__(self) -> None:
        self.last = self.start = self.minute = self.in_minute = self.distinct = self.streak = self.bot_until = 0
        self.session, self.events = -1, 0
        self.recent: list[tuple[int, int, str]] = []


class PlainCleaner:
    """The rules in words, one event at a time."""

    def __init__(self, config: CleanConfig) -> None:
        self.config = config
        self.users = [PlainUser() for _ in range(N_USERS)]
        self.usual: dict[tuple[str, int], tuple[float, float]] = {("quantity", -1): (0.0, 0.35)}
        self.sessions = 0

    def clean(self, row: Row) -> tuple[int, int, float, float]:
        """(session, flags, quantity, price) of one row."""
        flags, session = row.flags & LATE, -1
        if row.user >= 0 and not (flags and row.action != "impression"):
            user = self.users[row.user]
            if row.action == "impression":
                gap = self.config.session_gap_s
                if user.last and user.start - gap <= row.at_s <= user.last + gap:
                    session = user.session
            else:
                flags |= self.user_rules(user, row)
                session = self.place(user, row, bool(flags & REPEATED))
        price_mark, price = self.judge_price(row, bool(flags & UNCLEAN))
        quantity_mark, quantity = self.judge_quantity(row, bool((flags | price_mark) & UNCLEAN))
        return session, flags | price_mark | quantity_mark, quantity, price

    def user_rules(self, user: PlainUser, row: Row) -> int:
        repeated = any(
            item == row.item and action == row.action and abs(row.at_s - at) <= self.config.repeat_window_s
            for at, item, action in user.recent
        )
        flags = REPEATED if repeated else 0
        if row.at_s // 60 > user.minute:
            user.minute, user.in_minute, user.distinct = row.at_s // 60, 0, 0
        if row.action != "purchase":
            user.in_minute += 1
            if user.in_minute > self.config.flood_per_min:
                flags |= FLOOD
        if not repeated:
            viewed = row.item >= 0 and row.action in ("view", "click")
            breathless = abs(row.at_s - user.last) <= self.config.bot_pause_s
            user.streak = user.streak + 1 if viewed and breathless else int(viewed)
            user.distinct += viewed and row.item not in [item for _, item, _ in user.recent]
            if row.item >= 0:
                user.recent = [*user.recent, (row.at_s, row.item, row.action)][-4:]
            too_many = user.distinct > self.config.bot_distinct_per_min
            if too_many or user.streak >= self.config.bot_views_without_pause:
                user.bot_until = max(user.bot_until, row.at_s + DAY_S)
        return flags | (BOT if row.at_s < user.bot_until else 0)

    def place(self, user: PlainUser, row: Row, repeated: bool) -> int:
        gap = self.config.session_gap_s
        if not user.last or row.at_s > user.last + gap:
            user.session, user.start, user.last, user.events = self.sessions, row.at_s, row.at_s, 0
            self.sessions += 1
        elif row.at_s < user.start - gap:
            self.sessions += 1
            return self.sessions - 1
        user.start, user.last = min(user.start, row.at_s), max(user.last, row.at_s)
        user.events += not repeated
        return user.session

    def learn(self, key: tuple[str, int], value: float, step: float, spread: float) -> None:
        f = np.float32
        if key not in self.usual:
            self.usual[key] = (float(f(value)), spread)
            return
        median, deviation = self.usual[key]
        away = value - median
        moved = f(median + min(step, max(-step, away)))
        wider = abs(away) - deviation
        self.usual[key] = (float(moved), float(f(deviation + 0.125 * min(step, max(-step, wider)))))

    def judge_price(self, row: Row, unclean: bool) -> tuple[int, float]:
        if not 0 < row.price < math.inf:
            return 0, math.nan
        if row.item < 0:
            return 0, row.price
        value, outlier = math.log(np.float32(row.price)), False
        if ("price", row.item) in self.usual:
            median, deviation = self.usual["price", row.item]
            away = abs(value - median)
            outlier = away > math.log(self.config.price_ratio) and away > 8 * 1.4826 * deviation
        if not unclean:
            self.learn(("price", row.item), value, 0.05, 0.0)
        return (PRICE_OUTLIER, math.nan) if outlier else (0, row.price)

    def judge_quantity(self, row: Row, unclean: bool) -> tuple[int, float]:
        quantity = row.quantity if 0 < row.quantity < math.inf else 1.0
        if row.item < 0 or row.action not in ("cart_add", "purchase"):
            return 0, quantity
        own = ("quantity", row.item)
        median, deviation = self.usual.get(own, self.usual["quantity", -1])
        most = median + self.config.quantity_mads * 1.4826 * max(0.35, deviation)
        value, mark = math.log(quantity), 0
        if value > most:
            value, quantity, mark = most, float(math.floor(math.exp(most))), QUANTITY_OUTLIER
        if not unclean:
            self.learn(own, value, 0.1, 0.0)
            self.learn(("quantity", -1), value, 0.1, 0.0)
        return mark, quantity


def make(config: CleanConfig = CONFIG) -> Cleaner:
    cleaner = Cleaner(config)
    cleaner.grow(N_USERS, N_ITEMS)
    return cleaner


@at_leisure
@given(rows)
def test_every_row_is_judged_as_the_plain_rules_say(stream: list[Row]) -> None:
    cleaner, plain = make(), PlainCleaner(CONFIG)
    ours = cleaner.clean(batch(stream))
    theirs = [plain.clean(row) for row in stream]
    assert ours.session.tolist() == [row[0] for row in theirs]
    assert ours.flags.tolist() == [row[1] for row in theirs]
    np.testing.assert_allclose(ours.quantity, [row[2] for row in theirs], rtol=1e-6)
    np.testing.assert_allclose(ours.price, [row[3] for row in theirs], rtol=1e-6)
    for number, user in enumerate(plain.users):
        found = [array[number] for array in (cleaner.last_s, cleaner.session_start_s, cleaner.session)]
        assert found == [user.last, user.start, user.session]
        assert cleaner.session_events[number] == user.events
    assert cleaner.n_sessions == plain.sessions
    marks = [row[1] for row in theirs]
    assert cleaner.counts() == {rule: sum((mark >> k) & 1 for mark in marks) for k, rule in enumerate(RULES)}


@at_leisure
@given(rows, cut_places)
def test_batching_is_invisible(stream: list[Row], cuts: list[int]) -> None:
    assert_batching_is_invisible(lambda: Cleaner(CONFIG), lambda part, b: part.clean(b), stream, cuts)


def test_cleaning_leaves_its_input_alone() -> None:
    raw = batch([Row(START_S, 0, 0, "purchase", quantity=9_999.0, price=-1.0)])
    make().clean(raw)
    assert raw.quantity[0] == 9_999.0
    assert raw.price[0] == -1.0
    assert raw.session[0] == -1
    assert raw.flags[0] == 0


def sessions_of(*times: int) -> list[int]:
    return make(CleanConfig()).clean(batch([Row(START_S + t, 0, 0, "view") for t in times])).session.tolist()


def test_a_session_ends_with_a_pause_longer_than_the_gap() -> None:
    assert sessions_of(0, 1_800, 3_600, 5_401) == [0, 0, 0, 1]


def test_a_late_event_joins_the_running_session_from_either_side_or_stands_alone() -> None:
    assert sessions_of(10_000, 10_100, 9_000, 7_200, 5_399, 10_200) == [0, 0, 0, 0, 1, 0]


def test_sessions_of_all_users_are_numbered_in_order_of_the_log() -> None:
    stream = [Row(START_S, 2, 0, "view"), Row(START_S, 0, 0, "view"), Row(START_S + 5_000, 2, 0, "view")]
    assert make().clean(batch(stream)).session.tolist() == [0, 1, 2]


def test_a_click_and_view_that_fire_twice_count_once() -> None:
    stream = [Row(START_S + t, 0, 1, action) for t, action in enumerate(["click", "view", "click", "view"])]
    assert make().clean(batch(stream)).flags.tolist() == [0, 0, REPEATED, REPEATED]


def test_a_crawler_is_marked_and_recovers_after_a_day() -> None:
    cleaner = make(CleanConfig(bot_views_without_pause=5))
    crawl = [Row(START_S + k, 0, k, "view") for k in range(6)]
    assert cleaner.clean(batch(crawl)).flags.tolist() == [0, 0, 0, 0, BOT, BOT]
    later = [Row(START_S + 5 + t, 0, item, "view") for item, t in enumerate((DAY_S - 1, DAY_S))]
    assert cleaner.clean(batch(later)).flags.tolist() == [BOT, 0]
    assert cleaner.clean(batch([Row(START_S + 6, 1, 0, "view")])).flags.tolist() == [0]


def test_a_late_event_does_not_start_the_minute_anew() -> None:
    seconds = [0, 1, 2, 3, -61, 4]  # four interactions a minute are allowed
    stream = [Row(START_S // 60 * 60 + at, 0, k, "cart_remove") for k, at in enumerate(seconds)]
    assert make().clean(batch(stream)).flags.tolist() == [0, 0, 0, 0, FLOOD, FLOOD]


def test_an_order_with_many_lines_is_no_flood() -> None:
    lines = [Row(START_S, 0, k % N_ITEMS, "purchase") for k in range(N_ITEMS)]
    assert make().clean(batch(lines)).flags.tolist() == [0] * N_ITEMS


def test_a_steady_price_survives_one_absurd_value() -> None:
    prices = [10.0] * 5 + [1e6] + [11.0]
    stream = [Row(START_S + 60 * k, 0, 0, "view", price=price) for k, price in enumerate(prices)]
    ours = make().clean(batch(stream))
    assert [bool(flag & PRICE_OUTLIER) for flag in ours.flags] == [False] * 5 + [True, False]
    assert math.isnan(ours.price[5])
    assert ours.price[6] == 11.0


def test_the_catalogue_price_is_the_usual_one() -> None:
    cleaner = make()
    cleaner.catalogue_price(0, 5_000.0)
    cleaner.catalogue_price(1, None)
    stream = [Row(START_S, 0, 0, "view", price=5.0), Row(START_S, 0, 1, "view", price=5.0)]
    assert cleaner.clean(batch(stream)).flags.tolist() == [PRICE_OUTLIER, 0]


def test_a_wholesale_order_is_clipped_and_soon_believed() -> None:
    stream = [Row(START_S + DAY_S * k, 0, 0, "purchase", quantity=5_000.0) for k in range(30)]
    ours = make(CleanConfig()).clean(batch(stream))
    assert ours.quantity[0] == 63.0
    assert ours.flags[0] == QUANTITY_OUTLIER
    assert ours.quantity[-1] == 5_000.0
    assert ours.flags[-1] == 0


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_that_is_off_marks_nothing(rule: str) -> None:
    stream = [Row(START_S + k, 0, k % 6, "view", price=1.0, flags=LATE if k == 3 else 0) for k in range(40)]
    stream += [Row(START_S + 50, 0, 0, "view", price=1e5)] * 2
    stream += [Row(START_S + 60, 1, 0, "purchase", quantity=5_000.0)]
    assert make().clean(batch(stream)).flags.max() > 0
    some, others = (
        make(),
        make(CleanConfig(**{**{f: getattr(CONFIG, f) for f in CONFIG.__struct_fields__}, "off": [rule]})),
    )
    some.clean(batch(stream))
    others.clean(batch(stream))
    assert some.counts()[rule] > 0
    assert others.counts()[rule] == 0


def test_an_unknown_rule_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="'flod'; did you mean 'flood'"):
        Cleaner(CleanConfig(off=["flod"]))
    with pytest.raises(ConfigError, match="known rules: repeated, flood"):
        Cleaner(CleanConfig(off=["zzz"]))


def test_a_login_in_the_middle_of_a_visit_keeps_the_visit() -> None:
    cleaner = make()
    cleaner.clean(
        batch([Row(START_S - 10 * DAY_S, 1, 0, "view"), Row(START_S, 0, 0, "view"), Row(START_S + 9, 0, 1, "view")])
    )
    cleaner.merge(0, 1)
    assert (cleaner.session[1], cleaner.session_start_s[1], cleaner.session_events[1]) == (1, START_S, 2)
    assert (cleaner.session[0], cleaner.last_s[0]) == (-1, 0)
    assert cleaner.clean(batch([Row(START_S + 20, 1, 2, "view")])).session.tolist() == [1]
    assert cleaner.session_events[1] == 3


def test_two_devices_in_use_at_once_become_one_session() -> None:
    cleaner = make()
    cleaner.clean(batch([Row(START_S, 1, 0, "view"), Row(START_S + 60, 0, 0, "view"), Row(START_S + 90, 1, 1, "view")]))
    cleaner.merge(0, 1)
    assert (cleaner.session[1], cleaner.session_start_s[1], cleaner.session_events[1]) == (0, START_S, 3)


def test_a_visitor_who_comes_back_later_than_the_user_changes_nothing_but_their_own_row() -> None:
    cleaner = make()
    cleaner.clean(batch([Row(START_S, 0, 0, "view"), Row(START_S + DAY_S, 1, 0, "view")]))
    before = {
        name: array[1].copy() for name, array in cleaner.arrays(N_USERS, N_ITEMS).items() if array.shape[0] == N_USERS
    }
    cleaner.merge(0, 1)
    after = {name: array[1] for name, array in cleaner.arrays(N_USERS, N_ITEMS).items() if array.shape[0] == N_USERS}
    same(before, after)
