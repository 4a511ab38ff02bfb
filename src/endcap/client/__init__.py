"""The Python client: ``Client`` for threads, ``AsyncClient`` for asyncio. Needs ``pip install "endcap[client]"``.

What both say to a server stands once, in ``calls.py``, as steps that they carry out, each in its way.
"""

from endcap.client.asynchronous import AsyncClient
from endcap.client.blocking import Client
from endcap.client.calls import Unreachable
from endcap.client.outbox import Dropped

__all__ = ["AsyncClient", "Client", "Dropped", "Unreachable"]
