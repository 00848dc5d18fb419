"""Serve captions over HTTP, with a web page: `python -m services --help`."""

from __future__ import annotations

import io
import json
import signal
import socket
import sys
import time
from contextlib import AbstractContextManager, closing, nullcontext, redirect_stdout, suppress
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Literal, NoReturn

import typer
import yaml
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

from captioning.base_models import Quantization
from rendering.errors import SvgCaptionError
from services.access import add_key, read_keys
from services.errors import StartError
from services.local import Session, joins_cluster, prepare_environment, ray_session
from services.settings import Settings

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
KEYS_FILE = Path("keys.yaml")
LOOPBACK = ("127.0.0.1", "::1", "localhost")
console = Console(stderr=True, highlight=False)
LogFormat = Literal["auto", "json", "plain"]
DEFAULTS = Settings.model_construct()  # as they are written: paths not yet absolute


def main() -> None:
    """Status 0 after Ctrl-C or SIGTERM, 1 when it cannot start, 2 for wrong use; an error is one line."""
    try:
        app(prog_name="python -m services")
    except (SvgCaptionError, OSError) as error:
        console.print(f"[red]{type(error).__name__}[/]: {escape(str(error))}")
        sys.exit(1)


@app.callback(invoke_without_command=True)
def serve(
    context: typer.Context,
    *,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 opens it to the network.")
    ] = DEFAULTS.host,
    port: Annotated[int, typer.Option(min=1, max=65535)] = DEFAULTS.port,
    base_model: Annotated[
        str, typer.Option(help="Name, Hugging Face id or local folder of the base model.")
    ] = DEFAULTS.base_model,
    adapters_dir: Annotated[
        Path, typer.Option(help="Folder of adapters; a new one is served without a restart.")
    ] = DEFAULTS.adapters_dir,
    default_model: Annotated[
        str | None,
        typer.Option(help="Adapter that answers when a request names none.", show_default="the base model"),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = DEFAULTS.device,
    quantization: Annotated[
        Quantization | None, typer.Option(help="Hold the base model in 4 or 8 bits.", show_default="none")
    ] = None,
    keep_words: Annotated[
        bool, typer.Option("--keep-words", help="Let the model read a file's own title and description.")
    ] = False,
    replicas: Annotated[int, typer.Option(min=1, help="Copies of the engine.")] = DEFAULTS.engine_replicas,
    page: Annotated[bool, typer.Option(help="Serve the web page beside the API.")] = True,
    keys_file: Annotated[
        Path | None,
        typer.Option(help="Answer only to the API keys in this file.", show_default="no key is needed"),
    ] = None,
    allow_origin: Annotated[
        list[str] | None, typer.Option(help="A web site whose pages may call the API; may be repeated.")
    ] = None,
    dashboard_port: Annotated[
        int | None,
        typer.Option(
            help="Ray's dashboard and job server, on loopback.", show_default="8265, or the next free"
        ),
    ] = None,
    metrics_port: Annotated[
        int | None, typer.Option(help="Where Prometheus finds metrics.", show_default="a free one")
    ] = None,
    log_format: Annotated[
        LogFormat, typer.Option(help="Of the log, on standard error: plain on a terminal, else JSON.")
    ] = "auto",
    others: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Any other field of services.settings.Settings, such as max_batch_size=32; may be repeated.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="When it answers, print one JSON object.")] = False,
) -> None:
    """Serve captions over HTTP, with a web page at /. Ctrl-C stops everything that was started.

    Starts a small Ray on this machine, or joins the cluster that RAY_ADDRESS names.
    """
    if context.invoked_subcommand:
        return
    options: dict[str, Any] = {
        "host": host,
        "port": port,
        "base_model": base_model,
        "adapters_dir": adapters_dir,
        "default_model": default_model,
        "device": device,
        "quantization": quantization,
        "keep_words": keep_words,
        "engine_replicas": replicas,
        "engine_gpus": 1 if device.startswith("cuda") else 0,
        "page": page,
        "keys_file": keys_file,
        "allowed_origins": tuple(allow_origin or ()),
    }
    settings = _settings(**options | _overrides(others or []))
    if settings.keys_file:
        read_keys(settings.keys_file)
    _check_port(settings.host, settings.port)
    _check_base_model(settings.base_model)
    prepare_environment()
    _stop_on_signals()
    with suppress(KeyboardInterrupt), redirect_stdout(sys.stderr):  # libraries print, too
        _serve(settings, dashboard_port, metrics_port, log_format, as_json=as_json)
    console.print("Stopped.")


@app.command()
def key(
    name: Annotated[str, typer.Argument(help="Whose key it is; it stands in the log.")],
    *,
    file: Annotated[Path, typer.Option(help="Where its hash is added.")] = KEYS_FILE,
    admin: Annotated[bool, typer.Option("--admin", help="It may load and unload adapters, too.")] = False,
    requests_per_minute: Annotated[int | None, typer.Option(min=1, show_default="no limit")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Make an API key, print it once and keep its hash. A running service knows it at once."""
    secret = add_key(file, name, admin=admin, requests_per_minute=requests_per_minute)
    print(json.dumps({"name": name, "key": secret, "file": str(file)}) if as_json else secret)
    console.print(f"Its hash is in {escape(str(file))}. The key itself is nowhere: keep it.", soft_wrap=True)


def _serve(
    settings: Settings,
    dashboard_port: int | None,
    metrics_port: int | None,
    log_format: LogFormat,
    *,
    as_json: bool,
) -> None:
    began = time.monotonic()
    console.print(
        "Joining the Ray cluster …" if joins_cluster() else "Starting Ray, half a minute on a small machine …"
    )
    ports = {"dashboard_port": dashboard_port, "metrics_port": metrics_port}
    with ray_session(service_cpus=settings.cpus, **ports) as session:
        _stop_on_signals()  # again: Ray sets handlers of its own
        from services.serving import running

        console.print(f"Loading {escape(settings.base_model)} …")
        with _log_shown(session, log_format), running(settings):
            _announce(settings, session, time.monotonic() - began, as_json=as_json)
            try:
                signal.pause()
            finally:
                console.print("Stopping …")
                sys.stdout = io.StringIO()  # what Ray's processes say about their end helps nobody
                _ignore_signals()  # a second Ctrl-C must not leave processes behind


def _log_shown(session: Session, log_format: LogFormat) -> AbstractContextManager[None]:
    if session.logs_dir is None:
        return nullcontext()
    from services.logs import as_json, as_text, following

    plain = log_format == "plain" or (log_format == "auto" and sys.stderr.isatty())
    return following(session.logs_dir, sys.stderr, as_text if plain else as_json)


def _announce(settings: Settings, session: Session, seconds: float, *, as_json: bool) -> None:
    out = sys.__stdout__
    if as_json:
        ready = {
            "url": settings.api_url,
            "jobs_url": session.jobs_url,
            "metrics_url": session.metrics_url,
            "started_in_s": round(seconds, 1),
        }
        print(json.dumps(ready), file=out, flush=True)
        return
    console.print(f"Ready after {seconds:.0f} s. Ctrl-C stops it.")
    print(f"Open {settings.api_url}", file=out, flush=True)
    console.print(
        f"  caption   curl -F file=@icon.svg {settings.api_url}/v1/captions"
        f"\n  API       {settings.api_url}/docs"
        f"\n  adapters  {settings.adapters_dir}"
        f"\n  jobs      RAY_AUTH_MODE=token ray job submit --address {session.jobs_url} -- COMMAND"
        + (f"\n  metrics   {session.metrics_url}" if session.metrics_url else ""),
        soft_wrap=True,
    )
    if settings.host not in LOOPBACK and not settings.keys_file:
        console.print("[yellow]Anyone who can reach this machine can use the service.[/]")
    elif settings.host not in LOOPBACK and settings.page:
        console.print("[yellow]Anyone who can reach this machine can use the page, which needs no key.[/]")


def _settings(**fields: Any) -> Settings:
    try:
        return Settings(**fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise typer.BadParameter(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _overrides(words: list[str]) -> dict[str, Any]:
    pairs = [word.partition("=") for word in words]
    if wrong := next((key for key, equals, _ in pairs if not equals), None):
        raise typer.BadParameter(f"'{wrong}' is not KEY=VALUE")
    return {key: yaml.safe_load(value) for key, _, value in pairs}


def _check_base_model(name: str) -> None:
    if name != DEFAULTS.base_model:  # which is always there; checking means to import torch
        from captioning.base_models import resolve

        resolve(name)


def _check_port(host: str, port: int) -> None:
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with closing(socket.socket(family, kind)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise StartError(
                f"cannot listen on {host}:{port}: {error.strerror}. Choose another with --port."
            ) from None


def _stop_on_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)


def _ignore_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
