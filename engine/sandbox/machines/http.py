"""Small HTTP servers: a folder of files, a Jupyter server, one fixed text."""

from __future__ import annotations

import asyncio
import contextlib
import mimetypes
import posixpath
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

from engine.sandbox.machines.command import Handler
from engine.sandbox.machines.disk import Disk

REASONS = {
    200: "OK",
    302: "Found",
    304: "Not Modified",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
}


@dataclass(frozen=True)
class Request:
    """The head of an HTTP request."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Reply:
    """What a server answers."""

    status: int
    body: bytes = b""
    type: str = "text/html"
    headers: Mapping[str, str] = field(default_factory=dict)


def server(
    name: str, answer: Callable[[Request], Reply], note: Callable[[Request, Reply], None] | None = None
) -> Handler:
    """A handler that answers every request of a connection with `answer`."""

    async def handle(reader: StreamReader, writer: StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            while (request := await _request(reader)) is not None:
                reply = answer(request)
                if note is not None:
                    note(request, reply)
                close = request.headers.get("connection", "").lower() == "close"
                writer.write(_head(name, reply, close) + (b"" if request.method == "HEAD" else reply.body))
                await writer.drain()
                if close:
                    break
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    return handle


async def _request(reader: StreamReader) -> Request | None:
    async with asyncio.timeout(60):
        line = (await reader.readline()).decode("latin-1").split()
        if len(line) < 3:
            return None
        headers = {}
        while header := (await reader.readline()).decode("latin-1").strip():
            key, _, value = header.partition(":")
            headers[key.strip().lower()] = value.strip()
        await reader.readexactly(int(headers.get("content-length", "0")))
    parts = urlsplit(line[1])
    return Request(line[0], unquote(parts.path), parse_qs(parts.query), headers)


def _head(name: str, reply: Reply, close: bool) -> bytes:
    lines = [
        f"HTTP/1.1 {reply.status} {REASONS.get(reply.status, 'OK')}",
        f"Server: {name}",
        f"Content-Type: {reply.type}",
        f"Content-Length: {len(reply.body)}",
        f"Connection: {'close' if close else 'keep-alive'}",
    ]
    lines += [f"{key}: {value}" for key, value in reply.headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def page(status: int) -> bytes:
    """The page that Apache shows for a status."""
    reason = REASONS[status]
    return (
        f'<!DOCTYPE HTML PUBLIC "-//IETF//DTD HTML 2.0//EN">\n<html><head>\n<title>{status} '
        f"{reason}</title>\n</head><body>\n<h1>{reason}</h1>\n</body></html>\n"
    ).encode()


def folder(
    disk: Callable[[], Disk],
    root: str,
    name: str,
    indexes: Sequence[str] = ("index.html",),
    *,
    listing: bool = False,
    note: Callable[[Request, Reply], None] | None = None,
) -> Handler:
    """Serve the files below `root` of a disk as they are at each request."""

    def answer(request: Request) -> Reply:
        if request.method not in ("GET", "HEAD"):
            return Reply(405, page(405))
        path = posixpath.normpath(posixpath.join(root, request.path.lstrip("/")))
        if path != root.rstrip("/") and not path.startswith(root.rstrip("/") + "/"):
            return Reply(404, page(404))
        files = disk()
        path = files.real(path)
        if files.is_dir(path):
            if not request.path.endswith("/"):
                return Reply(302, headers={"Location": request.path + "/"})
            found = next((index for index in indexes if files.is_file(f"{path}/{index}")), None)
            if found is None:
                return _index(files, path, request.path) if listing else Reply(403, page(403))
            path = f"{path}/{found}"
        if not files.is_file(path):
            return Reply(404, page(404))
        return Reply(200, files.read(path), mimetypes.guess_type(path)[0] or "application/octet-stream")

    return server(name, answer, note)


def _index(files: Disk, path: str, shown: str) -> Reply:
    items = "".join(f'<li><a href="{name}">{name}</a></li>\n' for name in files.entries(path))
    return Reply(
        200,
        (
            f"<html><head><title>Index of {shown}</title></head><body><h1>Index of "
            f"{shown}</h1><ul>\n{items}</ul></body></html>\n"
        ).encode(),
    )


def fixed(name: str, text: Callable[[Request], str], type: str = "text/plain") -> Handler:
    """Answer every request with a text."""
    return server(name, lambda request: Reply(200, text(request).encode(), type))


def jupyter(token: str) -> Handler:
    """A Jupyter server: /api tells its version, the rest wants the token (an empty one lets everybody in)."""

    def answer(request: Request) -> Reply:
        if request.path.rstrip("/") == "/api":
            return Reply(200, b'{"version": "2.17.0"}', "application/json")
        if request.path == "/login":
            return Reply(
                200,
                (
                    b"<!DOCTYPE HTML><html><head><title>Jupyter "
                    b"Server</title></head><body>Password or token:</body></html>"
                ),
            )
        given = (
            request.query.get("token") or [request.headers.get("authorization", "").removeprefix("token ")]
        )[0]
        if request.path == "/":
            return Reply(302, headers={"Location": "/tree?" + (f"token={given}" if given else "")})
        if token and given != token:
            if request.path.startswith("/api"):
                return Reply(403, b'{"message": "Forbidden"}', "application/json")
            return Reply(302, headers={"Location": f"/login?next={request.path}"})
        if request.path.startswith("/api"):
            return Reply(200, b"[]", "application/json")
        return Reply(
            200, b"<!DOCTYPE HTML><html><head><title>Home</title></head><body>Jupyter Notebook</body></html>"
        )

    return server("TornadoServer/6.5.2", answer)


async def silent(reader: StreamReader, writer: StreamWriter) -> None:
    """Accept and close."""
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
