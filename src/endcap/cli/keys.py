"""``endcap keys``: list, create, revoke and rotate. A running server notices within two seconds."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from endcap.cli.output import DEFAULT_DIRECTORY, AsJson, Directory, note, print_json

if TYPE_CHECKING:
    from endcap.server.keys import Key, KeyRing

app = typer.Typer(help="Keys of the HTTP interface.", no_args_is_help=True, pretty_exceptions_enable=False)

KeyId = Annotated[str, typer.Argument(help="The key's first 12 characters, as `endcap keys list` shows them.")]


def ring_of(directory: Path) -> KeyRing:
    """The keys of a data directory."""
    from endcap.runtime import SystemClock
    from endcap.server.keys import KeyRing

    return KeyRing(directory / "keys.json", SystemClock().now)


def moment(ts: int) -> str:
    """Epoch milliseconds as a date and time in UTC."""
    return datetime.fromtimestamp(ts / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def plain(key: Key) -> dict[str, object]:
    """What may be shown of a key."""
    return {
        "id": key.id, "kind": key.kind, "label": key.label, "created_at": key.created_at,
        "expires_at": key.expires_at, "allow": key.allow, "user_ids": key.user_ids,
    }  # fmt: skip


def print_new(key: Key, secret: str, as_json: bool) -> None:
    """A key's secret, the only time it is ever shown."""
    if as_json:
        print_json({**plain(key), "key": secret})
        return
    typer.echo(secret)
    note(f"a {key.kind} key; keep it now, it is not stored and cannot be shown again")


@app.command("list")
def list_keys(directory: Directory = DEFAULT_DIRECTORY, as_json: AsJson = False) -> None:
    """Show every key without its secret."""
    keys = ring_of(directory).all()
    if as_json:
        print_json([plain(key) for key in keys])
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("id", "kind", "label", "made", "ends", box=None, pad_edge=False)
    for key in keys:
        table.add_row(
            key.id, key.kind, key.label, moment(key.created_at), moment(key.expires_at) if key.expires_at else ""
        )
    Console().print(table)


@app.command()
def create(
    kind: Annotated[str, typer.Argument(help="browser, server, catalogue, admin or metrics.")],
    label: Annotated[str, typer.Option("--label", help="What it is for.")] = "",
    allow: Annotated[
        list[str] | None, typer.Option("--allow", help="browser: event types beyond the safe ones; repeatable.")
    ] = None,
    user_ids: Annotated[bool, typer.Option("--user-ids", help="browser: may name logged-in users.")] = False,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, once."""
    key, secret = ring_of(directory).create(kind, label, allow=allow or [], user_ids=user_ids)
    print_new(key, secret, as_json)


@app.command()
def revoke(key_id: KeyId, directory: Directory = DEFAULT_DIRECTORY, as_json: AsJson = False) -> None:
    """End a key at once."""
    key = ring_of(directory).revoke(key_id)
    if as_json:
        print_json(plain(key))
    else:
        note(f"revoked the {key.kind} key {key.id}")


@app.command()
def rotate(
    key_id: KeyId,
    overlap_h: Annotated[float, typer.Option("--overlap-h", min=0, help="Hours the old key still works.")] = 24.0,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Make a successor; the old key works until the overlap ends."""
    key, secret = ring_of(directory).rotate(key_id, int(overlap_h * 3600))
    print_new(key, secret, as_json)
