"""Ids: the dictionary from the shop's strings to dense numbers.

Idea: kernels see int32 only. A key gets the next number the first time it is met, so numbering is a deterministic
function of the log and a replay gives the same one. Numbers are never reused.

Layout: a Python dict for key -> number, a list for number -> key (the same string objects). For snapshots the keys
stand UTF-8 encoded behind each other in one byte array with their end positions; that copy is made only when asked
for and only for keys that are new since the last time.

Cost: 60 ns per known key, about 120 bytes per key on a 64-bit build plus the text. When not to use it: as the
dictionary of 100 million users; that is the scale-out profile's job.
"""

from __future__ import annotations

import numpy as np

from endcap.types import I8, U1, Arrays


class Ids:
    """Keys and their dense numbers, in order of first appearance."""

    __slots__ = ("_ends", "_names", "_numbers", "_packed")

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._names: list[str] = []
        self._packed = bytearray()  # the first len(_ends) names, encoded
        self._ends: list[int] = []

    def __len__(self) -> int:
        return len(self._names)

    def intern(self, key: str) -> int:
        """The number of ``key``; a new one when it was never met."""
        number = self._numbers.get(key, -1)
        if number < 0:
            number = len(self._names)
            self._numbers[key] = number
            self._names.append(key)
        return number

    def numbers(self, keys: list[str]) -> list[int]:
        """The numbers of many keys; new ones for those that were never met."""
        try:
            return list(map(self._numbers.__getitem__, keys))
        except KeyError:
            return [self.intern(key) for key in keys]

    def get(self, key: str) -> int:
        """The number of ``key``, -1 when it was never met."""
        return self._numbers.get(key, -1)

    def name(self, number: int) -> str:
        """The key of a number. ``IndexError`` for a number that was never given out."""
        if number < 0:
            raise IndexError(f"no key has the number {number}; numbers start at 0")
        return self._names[number]

    def names(self, numbers: list[int]) -> list[str]:
        """The keys of numbers that were given out."""
        return list(map(self._names.__getitem__, numbers))

    def arrays(self) -> Arrays:
        """``bytes`` uint8: all keys encoded, ``ends`` int64 [n]: where each one ends."""
        packed, ends = self._packed, self._ends
        for key in self._names[len(ends) :]:
            packed += key.encode("utf-8", "surrogatepass")
            ends.append(len(packed))
        # a copy: a bytearray that NumPy looks at could not grow any more
        return {"bytes": np.frombuffer(bytes(packed), np.uint8), "ends": np.array(ends, np.int64)}

    def load(self, arrays: Arrays) -> None:
        """The inverse of ``arrays``."""
        packed: U1 = arrays["bytes"]
        ends: I8 = arrays["ends"]
        data = packed.tobytes()
        self._packed, self._ends = bytearray(data), ends.tolist()
        begins = [0, *self._ends[:-1]]
        self._names = [data[b:e].decode("utf-8", "surrogatepass") for b, e in zip(begins, self._ends, strict=False)]
        self._numbers = {name: number for number, name in enumerate(self._names)}
