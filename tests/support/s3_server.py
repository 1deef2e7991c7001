"""An S3 server on this machine (moto's), which counts what it is asked for and fails when it is told to.

`tests/conftest.py` makes its fixtures known.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest

from bench.store.objects import ObjectPath

BUCKET = "results"


class Asked(NamedTuple):
    """A request that was answered."""

    method: str
    path: str
    sent_bytes: int
    """The length of the answer's body."""


class S3Server:
    """Serves from construction until `close`, on a free port of the loopback interface."""

    def __init__(self) -> None:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
        from werkzeug.serving import make_server

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.asked: list[Asked] = []
        self.answer: Callable[[dict[str, Any]], str | None] = lambda environ: None
        """The status with which a request is refused; None serves it."""
        self._moto = DomainDispatcherApplication(create_backend_app)
        # moto looks whether there is an object, and then puts one; S3 does both at once
        self._putting = threading.Lock()
        self._server = make_server("127.0.0.1", 0, self._serve, threaded=True, request_handler=MotoRequestHandler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        with self.settings():
            self._make_bucket()

    def _serve(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        if status := self.answer(environ):
            start_response(status, [("Content-Type", "application/xml")])
            return [f"<Error><Code>{status.split(' ', 1)[1].replace(' ', '')}</Code></Error>".encode()]
        putting: AbstractContextManager[Any] = self._putting if method == "PUT" else contextlib.nullcontext()
        with putting:
            body = b"".join(self._moto(environ, start_response))
        self.asked.append(Asked(method, environ["PATH_INFO"], 0 if method == "HEAD" else len(body)))
        return [body]

    def _make_bucket(self) -> None:
        from urllib.request import Request, urlopen

        with urlopen(Request(f"{self.endpoint}/{BUCKET}", method="PUT")):
            pass

    @property
    def variables(self) -> dict[str, str]:
        """The settings by which a client finds it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
        }

    @contextmanager
    def settings(self) -> Iterator[None]:
        """This process with `variables`."""
        with patch.dict(os.environ, self.variables):
            yield

    @contextmanager
    def counted(self) -> Iterator[list[Asked]]:
        """The requests that are answered meanwhile."""
        answered: list[Asked] = []
        before = len(self.asked)
        yield answered
        answered += self.asked[before:]

    def upload(self, store: Path, prefix: str) -> ObjectPath:
        """The files of a store, put below a prefix of the bucket; its address."""
        address = ObjectPath(f"s3://{BUCKET}/{prefix}")
        for path in store.rglob("*"):
            if path.is_file() and path.name != ".lock":
                (address / path.relative_to(store)).create(path.read_bytes())
        return address

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def s3_server() -> Iterator[S3Server]:
    """One server for a module's tests."""
    started = S3Server()
    yield started
    started.close()


@pytest.fixture
def s3_address(s3_server: S3Server, request: pytest.FixtureRequest) -> Iterator[ObjectPath]:
    """An address of the test's own, at which nothing is yet; afterwards the server refuses no request any more."""
    with s3_server.settings():
        yield ObjectPath(f"s3://{BUCKET}/{request.node.name}")
    s3_server.answer = lambda environ: None
