"""``endcap serve`` and ``endcap demo``: the HTTP server on a data directory, and on the bundled shop."""

from __future__ import annotations

import threading
import time
import webbrowser
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from endcap.cli.output import DEFAULT_DIRECTORY, ConfigFile, Directory, note, object_named, progress_bar
from endcap.config import Config, load_config
from endcap.errors import ConfigError

if TYPE_CHECKING:
    from endcap.engine import Engine

DEMO_DIRECTORY = Path("endcap-data") / "demo"

Host = Annotated[str | None, typer.Option("--host", help="Address to listen on; beyond loopback needs keys.")]
Port = Annotated[int | None, typer.Option("--port", min=0, max=65535, help="Port; 0 = any free one.")]


def with_address(config: Config, host: str | None, port: int | None) -> Config:
    """The settings with what the command line says about the address."""
    given: dict[str, Any] = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    return msgspec.structs.replace(config, server=msgspec.structs.replace(config.server, **given))


def engine_named(spec: str) -> Engine:
    """The object that ``module:attribute`` names: an engine, or a function that makes one."""
    from endcap.engine import Engine

    made = object_named(spec, "engine")
    if not isinstance(made, Engine):
        raise ConfigError(
            f"{spec} is a {type(made).__name__}; expected an endcap.Engine or a function that returns one"
        )
    return made


def show_keys(made: dict[str, str]) -> None:
    """The keys of a first start, the only time they are seen."""
    if not made:
        return
    note("first start: these keys are shown once and stored only as hashes")
    for kind, secret in made.items():
        note(f"  {kind:<10} {secret}")
    note("list, rotate and revoke them with: endcap keys")


def serve(
    engine: Annotated[
        str | None, typer.Argument(metavar="[ENGINE]", help="module:attribute of an engine built in Python.")
    ] = None,
    directory: Directory = DEFAULT_DIRECTORY,
    host: Host = None,
    port: Port = None,
    config: ConfigFile = None,
    preset: Annotated[str | None, typer.Option("--preset", help="shop, news or social; outweighs the file's.")] = None,
    open_access: Annotated[bool, typer.Option("--open", help="No keys; on loopback only, for development.")] = False,
) -> None:
    """Serve HTTP until SIGTERM or Ctrl+C."""
    from endcap.engine import Engine
    from endcap.server.serving import prepare_keys, run

    loaded, sources = load_config(config, preset=preset)
    settings = with_address(loaded, host, port)
    sources |= {f"server.{name}": f"--{name}" for name, value in (("host", host), ("port", port)) if value is not None}
    if engine is not None:
        served = engine_named(engine)
        settings = with_address(served.config, host, port)
    keys, made = prepare_keys(directory, served.runtime.now if engine else time_ms, settings.server.host, open_access)
    if engine is None:
        with progress_bar() as step:
            served = Engine.open(directory, settings, progress=step)
    show_keys(made)
    announce(served)
    with ExitStack() as bar:
        step = bar.enter_context(progress_bar())

        def listening() -> None:
            bar.close()
            url = address(settings)
            note(f"listening on {url}; the interface describes itself at {url}/docs; stop with Ctrl+C")

        run(served, keys, settings, step, listening, sources=None if engine else sources)


def time_ms() -> int:
    """Now, as the engine's own clock tells it."""
    from endcap.runtime import SystemClock

    return SystemClock().now()


def announce(engine: Engine) -> None:
    """What the server knows, and what it does until it listens."""
    state = engine.recovered
    origin = f"snapshot at {state.snapshot_offset:,} and " if state.from_snapshot else ""
    note(f"log offset {engine.offset:,} ({origin}{state.replayed:,} events folded in {state.seconds:.1f} s)")
    note("preparing: after an installation the numeric kernels are compiled, one to two minutes, once")


def address(config: Config) -> str:
    """Where the server is."""
    return f"http://{config.server.host}:{config.server.port}"


def demo(
    check: Annotated[bool, typer.Option("--check", help="No browser: shop over HTTP, exit 0 or 1.")] = False,
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65535, help="Port; 8080, or any free one with --check.")
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open a browser.")] = False,
    directory: Directory = DEMO_DIRECTORY,
) -> None:
    """Open the demo shop: real purchases, shelves that move with every click."""
    from endcap.bench.served import free_port
    from endcap.demo import check as check_shop
    from endcap.demo import prepare
    from endcap.server.serving import build, prepare_keys

    with ExitStack() as bar:
        step = bar.enter_context(progress_bar())
        engine = prepare(directory, step)
        settings = with_address(engine.config, "127.0.0.1", port or (free_port() if check else 8080))
        keys, _ = prepare_keys(directory, engine.runtime.now, settings.server.host, open_=True)
        server = build(engine, keys, settings, progress=step)
        url = address(settings)
        if check:
            raise typer.Exit(checked(server, url, check_shop))

        def listening() -> None:
            bar.close()
            note(f"the shop is at {url}/shop, its interface at {url}/docs; stop with Ctrl+C")
            if not no_browser:
                threading.Thread(target=webbrowser.open, args=[f"{url}/shop"], daemon=True).start()

        server.listening = listening
        server.run()


def checked(server: Any, url: str, check_shop: Any) -> int:
    """Run the server beside the headless flow; gives the flow's exit status."""
    thread = threading.Thread(target=server.run, name="endcap-server")
    thread.start()
    try:
        deadline = time.monotonic() + 600  # the first start compiles
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                note("the server did not start")
                return 1
            time.sleep(0.02)
        return int(check_shop(url))
    finally:
        server.should_exit = True
        thread.join()
