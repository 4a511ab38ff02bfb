"""People: what the shop itself says about its users (traits, consent, personalization switch).

Idea: most users never have a record; events alone make them. So a record costs a dictionary entry only for those who
have one, and kernels need a single flag per query: may a profile be read?

Layout: dense user id -> packed ``User``. Cost: one dictionary probe per query.
"""

from __future__ import annotations

import msgspec
import numpy as np

from endcap.types import Arrays, User


class People:
    """User records by dense id."""

    __slots__ = ("_records",)

    def __init__(self) -> None:
        self._records: dict[int, bytes] = {}

    def put(self, user: int, record: User | None) -> None:
        """Store the whole record, or forget it with None."""
        if record is None:
            self._records.pop(user, None)
        else:
            self._records[user] = msgspec.msgpack.encode(record)

    def record(self, user: int) -> User | None:
        """The shop's record, or None when it never sent one."""
        packed = self._records.get(user)
        return None if packed is None else msgspec.msgpack.decode(packed, type=User)

    def may_profile(self, user: int) -> bool:
        """False when the user denied consent or switched personalization off."""
        if user not in self._records:
            return True
        record = self.record(user)
        return record is None or (record.personalization and record.consent != "denied")

    def arrays(self, _n_users: int, _n_items: int) -> Arrays:
        """Records in order of dense id, so that equal content gives equal bytes."""
        ids = sorted(self._records)
        packed = [self._records[i] for i in ids]
        return {
            "user": np.array(ids, np.int32),
            "ends": np.cumsum([len(p) for p in packed], dtype=np.int64) if packed else np.zeros(0, np.int64),
            "bytes": np.frombuffer(b"".join(packed), np.uint8),
        }

    def load(self, arrays: Arrays) -> None:
        """The inverse of ``arrays``."""
        data, begin = arrays["bytes"].tobytes(), 0
        self._records = {}
        for user, end in zip(arrays["user"].tolist(), arrays["ends"].tolist(), strict=True):
            self._records[user] = data[begin:end]
            begin = end

    def grow(self, _n_users: int, _n_items: int) -> None:
        """Nothing to do: records live in a dictionary."""
