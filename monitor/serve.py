"""The report while training runs: serve("runs/20260101-120000-moons") shows the page of report.py, which asks for news.

Only this machine can reach it, and only to read. A web page elsewhere cannot: the Host header must name this machine (else
a foreign name could be pointed at 127.0.0.1: DNS rebinding), there is no CORS, and nothing is fetched by path: the server
knows two addresses. Of a growing run only the new bytes are read; one that crashes or is deleted stays on the page.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from monitor import store
from monitor.page.content import Numbers, columns, page_content, script_json
from monitor.report import page_html, policy
from monitor.run import Run

LOCAL = ("127.0.0.1", "localhost")
HTTP = 80  # the port of addresses that name none
MOST_RUNS = 20  # of a folder of runs: the latest
POLL = 1.0  # seconds between two questions of a page
SHARE = 5  # drawing up the page may take a fifth of the time at most, however long the run


def serve(
    run_or_root: str | os.PathLike, host: str = "127.0.0.1", port: int = 0, say: Callable[[str], Any] = print
) -> None:
    """Show a run, or all runs in a folder, in the browser until Ctrl-C; `say` is told the address.

    `port` 0 takes a free one. `host` must be this machine: the page is for its user, and no one else is let in.
    """
    with watch(run_or_root, host, port) as server:
        say(f"watching {run_or_root} at {server.url} (Ctrl-C ends it; training goes on)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return


def watch(run_or_root: str | os.PathLike, host: str = "127.0.0.1", port: int = 0) -> Server:
    """The server of `serve`, listening but not yet answering: call its serve_forever(), in a thread if you like."""
    if host not in LOCAL:
        raise ValueError(f"host must be {' or '.join(LOCAL)}, since a run is shown on its own machine only, got {host!r}")
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port < 65536:
        raise ValueError(f"port must be a whole number from 0 (any free one) to 65535, got {port!r}")
    path = Path(run_or_root)
    if not path.is_dir():
        raise store.RecorderError(f"there is no folder {str(path)!r}: name a run's folder, or the folder of all runs")
    try:
        return Server(("127.0.0.1", port), Watched(path))
    except OSError as error:
        raise store.RecorderError(f"cannot listen at port {port}: {error.strerror}; port=0 takes a free one") from None


# The runs -----------------------------------------------------------------------------------------------------------------


class Growing:
    """A run that grows: `read()` takes in what was added since the last time, and answers whether anything was."""

    def __init__(self, path: Path):
        self.path = path
        self.run: Run | None = None
        self.gone = False
        self._seen: tuple[Any, ...] = ()
        self._start_over()

    def _start_over(self) -> None:
        self._recorded = store.Tail()
        self._file: tuple[Any, ...] = ()  # which file it is, should another take its place

    def read(self) -> bool:
        try:
            meta = store.read_json(self.path / "run.json")
            self._read_events((meta.get("name"), meta.get("started")))
            self.gone = False
        except OSError:
            self.gone = True
        else:
            if meta.get("schema") == store.SCHEMA:
                self.run = Run(meta, self._recorded.events, self.path, self._recorded.unreadable)
        changed = self.run and (self.run.status, self._recorded.offset, json.dumps(self.run.meta))
        seen = (self.gone, self._file, changed)
        is_new, self._seen = seen != self._seen, seen
        return is_new

    def _read_events(self, which: tuple[Any, ...]) -> None:
        path = self.path / "events.jsonl"
        if not path.is_file():
            return
        with path.open("rb") as file:
            about = os.fstat(file.fileno())
            which = (*which, about.st_dev, about.st_ino)  # numbers of files alone are given out again
            if self._file != which or about.st_size < self._recorded.offset:
                self._start_over()
                self._file = which
            self._recorded.take(file)


class Watched:
    """What the page is about: one run, or the latest of a folder. Any number of threads may ask."""

    def __init__(self, path: Path):
        self.path = path
        self._lock = threading.Lock()
        self._tails: dict[Path, Growing] = {}
        self._page: tuple[list[Run], list[Numbers], dict[str, Any]] = ([], [], {})
        self._tag = ""
        self._after = 0.0  # not before then is anything drawn up again

    def page(self) -> tuple[str, list[Run], list[Numbers], dict[str, Any]]:
        """(a tag that changes when anything does, runs, their numbers, the content of the page)."""
        with self._lock:
            began = time.monotonic()
            if began >= self._after:
                self._update()
                self._after = time.monotonic() + SHARE * (time.monotonic() - began)
            return self._tag, *self._page

    def _update(self) -> None:
        for path in self._paths():
            self._tails.setdefault(path, Growing(path))
        self._tails = dict(sorted(self._tails.items())[-MOST_RUNS:])
        changed = [tail.read() for tail in self._tails.values()]  # each one is read
        if any(changed) or not self._tag:
            runs = [tail.run for tail in self._tails.values() if tail.run is not None]
            numbers = [columns(run) for run in runs]
            content = page_content(runs, numbers, [None] * len(runs))
            state = json.dumps([content[key] for key in ("runs", "block", "config")] + [self._state()])
            self._tag = '"' + hashlib.sha256(state.encode()).hexdigest()[:32] + '"'
            content["live"] = {"state": self._state(), "etag": self._tag, "milliseconds": int(1000 * POLL)}
            self._page = (runs, numbers, content)

    def _paths(self) -> list[Path]:
        if (self.path / "run.json").is_file() or self.path in self._tails:
            return [self.path]
        return sorted(path.parent for path in self.path.glob("*/run.json"))[-MOST_RUNS:]

    def _state(self) -> str:
        """One line about how it stands."""
        if all(tail.run is None for tail in self._tails.values()):
            return "waiting for a run"
        gone = [tail for tail in self._tails.values() if tail.gone]
        running = sum(
            tail.run is not None and tail.run.status == "running" and not tail.gone for tail in self._tails.values()
        )
        lost = f"; {len(gone)} deleted, shown as last seen" if gone else ""
        return (f"live: {running} running" if running else "nothing is running") + lost


# The server ---------------------------------------------------------------------------------------------------------------


class Server(ThreadingHTTPServer):
    """Answers a few questions at a time on 127.0.0.1; `url` is where."""

    daemon_threads = True  # a browser that keeps a line open does not keep us from ending

    def __init__(self, address: tuple[str, int], watched: Watched):
        super().__init__(address, Handler)
        self.watched = watched
        self.url = f"http://127.0.0.1:{self.server_address[1]}/"

    def hosts(self) -> set[str]:
        """What a browser on this machine may call us; it leaves port 80 out, which is that of http."""
        port = self.server_address[1]
        return {f"{name}:{port}" for name in LOCAL} | (set(LOCAL) if port == HTTP else set())

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away in the middle of an answer is no event."""


class Handler(BaseHTTPRequestHandler):
    """Answers one question."""

    server: Server
    protocol_version = "HTTP/1.0"  # one question for each connection: none is held open
    server_version, sys_version = "tinynet", ""
    timeout = 10  # seconds for a question: a connection that says nothing does not hold a thread for ever

    def do_GET(self) -> None:
        called = [host.lower() for host in self.headers.get_all("Host", [])]
        if called not in [[host] for host in self.server.hosts()]:
            return self._refuse(HTTPStatus.FORBIDDEN, "this page is for this machine only")
        if self.path not in ("/", "/data.json"):
            return self._refuse(HTTPStatus.NOT_FOUND, "there is / and /data.json")
        tag, runs, numbers, content = self.server.watched.page()
        if self.path == "/":
            page = page_html(runs, numbers, content, live=True)
            return self._answer(HTTPStatus.OK, "text/html; charset=utf-8", page)
        if self.headers.get("If-None-Match") == tag:
            return self._answer(HTTPStatus.NOT_MODIFIED, None, b"", tag)
        return self._answer(HTTPStatus.OK, "application/json", script_json(content).encode(), tag)

    do_HEAD = do_GET  # noqa: N815  (http.server calls do_ and the method)

    def _only_reading(self) -> None:
        self._refuse(HTTPStatus.METHOD_NOT_ALLOWED, "GET and HEAD are all there is")

    do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_CONNECT = do_TRACE = _only_reading  # noqa: N815

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self._answer(status, "text/plain; charset=utf-8", why.encode())

    def _answer(self, status: HTTPStatus, kind: str | None, body: bytes, tag: str | None = None) -> None:
        self.send_response(status)
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(body)) if kind else None,
            "ETag": tag,
            "Allow": "GET, HEAD" if status == HTTPStatus.METHOD_NOT_ALLOWED else None,
            "Cache-Control": "no-store",
            "Content-Security-Policy": f"{policy(live=True)}; frame-ancestors 'none'",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
        }
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the terminal belongs to the training."""
