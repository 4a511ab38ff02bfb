"""Routes of the evaluation reports that ``endcap evaluate --save`` left in the data directory."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
from msgspec import Struct

from endcap.errors import InvalidInput, NotFound
from endcap.evaluation import saved
from endcap.evaluation.saved import Saved
from endcap.server.service import Service
from endcap.server.wire import Call, Reply, encode


class ReportList(Struct, frozen=True, kw_only=True):
    """Every report kept, newest first, and the command that makes one."""

    reports: list[Saved]
    command: str


async def listing(service: Service, _call: Call) -> Reply:
    """What reports there are."""
    directory = service.engine.directory
    reports = await asyncio.to_thread(saved.listing, directory) if directory else []
    place = directory or Path("endcap-data")
    return Reply(encode(ReportList(reports=reports, command=f"endcap evaluate --data {place} --save {place}")))


async def show(service: Service, call: Call) -> Reply:
    """One report, as ``endcap evaluate --json`` prints it."""
    directory = service.engine.directory
    if directory is None:
        raise NotFound("this engine keeps everything in memory and has no reports")
    try:
        report = await asyncio.to_thread(saved.load, directory, call.id)
    except msgspec.MsgspecError as wrong:
        raise InvalidInput(
            f"report {call.id[:80]!r} cannot be read: {wrong}; remove the file, or make it anew"
        ) from wrong
    return Reply(encode(report))
