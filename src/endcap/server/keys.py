"""Keys: who may call. Five kinds, each with its own powers (see ``policy.py``).

A key is ``kind prefix + 64 hex digits`` of 256 random bits, for example ``srv_3f9a...``. It is shown once, when it is
made. The file ``keys.json`` in the data directory (mode 0600) holds its SHA-256 and its first 12 characters, which
serve to find it; a slow hash adds nothing to a secret that nobody can guess. Comparison takes constant time. Keys
never appear in addresses or logs.

Rotation makes a successor and lets the old key work until the overlap ends, so that clients can be changed one by one.
A running server notices changes of the file within two seconds: revoking needs no restart.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, get_args

import msgspec
from msgspec import Struct, field

from endcap.errors import ConfigError, NotFound, StoreError

KeyKind = Literal["browser", "server", "catalogue", "admin", "metrics"]
KINDS: tuple[str, ...] = get_args(KeyKind)
PREFIX: dict[str, str] = {
    "browser": "pub_",
    "server": "srv_",
    "catalogue": "cat_",
    "admin": "adm_",
    "metrics": "ro_",
}
ID_LENGTH = 12  # leading characters that name a key; they are not secret
RECHECK_MS = 2_000


class Key(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is kept of a key: everything except the key."""

    id: str  # the first ID_LENGTH characters
    kind: KeyKind
    sha256: str
    created_at: int  # epoch ms
    label: str = ""
    expires_at: int = 0  # epoch ms, 0 = never; set by rotation
    allow: list[str] = field(default_factory=list)  # browser: event types allowed beyond the safe ones
    user_ids: bool = False  # browser: may name logged-in users (trust the page, or put a proxy in front)


class KeyFile(Struct, kw_only=True):
    """The file as it lies on disk."""

    format: int = 1
    keys: list[Key] = field(default_factory=list)


class KeyRing:
    """The keys of one data directory."""

    def __init__(self, path: Path, now: Callable[[], int]) -> None:
        self.path = path
        self._now = now
        self._checked_at = 0
        self._stamp: tuple[int, int] | None = None
        self._by_id: dict[str, tuple[Key, bytes]] = {}
        self._read()

    def __len__(self) -> int:
        return len(self._by_id)

    def all(self) -> list[Key]:
        """Every key, oldest first; secrets are not among what is kept."""
        self._read()
        return sorted((key for key, _ in self._by_id.values()), key=lambda key: (key.created_at, key.id))

    def find(self, presented: str) -> Key | None:
        """The key that ``presented`` is, or None when it is unknown, revoked or expired."""
        now = self._now()
        if now - self._checked_at >= RECHECK_MS:
            self._read()
        entry = self._by_id.get(presented[:ID_LENGTH])
        digest = hashlib.sha256(presented.encode("utf-8", "surrogateescape")).digest()
        if entry is None or not hmac.compare_digest(digest, entry[1]):
            return None
        key = entry[0]
        return None if key.expires_at and now >= key.expires_at else key

    def create(
        self, kind: str, label: str = "", *, allow: Sequence[str] = (), user_ids: bool = False
    ) -> tuple[Key, str]:
        """A new key and its secret text, which exists nowhere else: show it once."""
        if kind not in PREFIX:
            raise ConfigError(f"no key kind {kind!r}; expected one of {', '.join(KINDS)}")
        if (allow or user_ids) and kind != "browser":
            raise ConfigError(f"allow and user_ids are options of browser keys; a {kind} key has no such limits")
        while True:
            secret = PREFIX[kind] + secrets.token_hex(32)
            if secret[:ID_LENGTH] not in self._by_id:
                break
        key = Key(
            id=secret[:ID_LENGTH],
            kind=kind,  # type: ignore[arg-type]  # checked against PREFIX above
            sha256=hashlib.sha256(secret.encode()).hexdigest(),
            created_at=self._now(),
            label=label,
            allow=list(allow),
            user_ids=user_ids,
        )
        self._write([*self.all(), key])
        return key, secret

    def revoke(self, key_id: str) -> Key:
        """Forget a key at once."""
        key = self._get(key_id)
        self._write([other for other in self.all() if other.id != key.id])
        return key

    def rotate(self, key_id: str, overlap_s: int = 86_400) -> tuple[Key, str]:
        """A successor of the same kind, label and options; the old key ends after ``overlap_s`` seconds."""
        old = self._get(key_id)
        ending = msgspec.structs.replace(old, expires_at=self._now() + overlap_s * 1_000)
        self._write([ending if key.id == old.id else key for key in self.all()])
        return self.create(old.kind, old.label, allow=old.allow, user_ids=old.user_ids)

    def _get(self, key_id: str) -> Key:
        self._read()
        entry = self._by_id.get(key_id[:ID_LENGTH])
        if entry is None:
            raise NotFound(f"no key {key_id[:ID_LENGTH]!r} in {self.path}; list them with: endcap keys list")
        return entry[0]

    def _read(self) -> None:
        """Load the file if it changed since the last look."""
        self._checked_at = self._now()
        try:
            status = self.path.stat()
            stamp = (status.st_mtime_ns, status.st_ino)
            if stamp == self._stamp:
                return
            kept = msgspec.json.decode(self.path.read_bytes(), type=KeyFile)
        except FileNotFoundError:
            self._by_id, self._stamp = {}, None
            return
        except (msgspec.DecodeError, OSError) as broken:
            raise StoreError(
                f"cannot read keys from {self.path}: {broken}; mend or remove the file, then: endcap keys create KIND"
            ) from broken
        self._by_id = {key.id: (key, bytes.fromhex(key.sha256)) for key in kept.keys}
        self._stamp = stamp

    def _write(self, keys: Sequence[Key]) -> None:
        """Replace the file in one step, readable by its owner only."""
        draft = self.path.with_name(self.path.name + ".new")
        body = msgspec.json.format(msgspec.json.encode(KeyFile(keys=list(keys))), indent=1)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            draft.unlink(missing_ok=True)
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(body + b"\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, self.path)
        except OSError as failed:
            raise StoreError(f"cannot write keys to {self.path}: {failed}") from failed
        self._stamp = None
        self._read()


def first_keys(ring: KeyRing) -> dict[str, str]:
    """Make one key of every kind if there is none yet: ``{kind: secret}``, empty when keys exist already."""
    return {} if len(ring) else {kind: ring.create(kind, "first start")[1] for kind in KINDS}
