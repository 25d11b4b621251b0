"""A Docker Engine that builds, tags and pushes: the part of its API that clients need for that.

https://docs.docker.com/reference/api/engine/version/v1.43/. It has no containers; those of the cloud's
services are workloads.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import queue
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from werkzeug.wrappers import Request, Response

from engine.sandbox.machines.images import full, split
from engine.sandbox.workloads.blobs import digest_of
from engine.sandbox.workloads.build import Build, BuildError, Built
from engine.sandbox.workloads.images import MANIFEST_TYPE, Images, Layer, NoSuchImage
from engine.sandbox.workloads.registry import RefusedError, Shelf
from engine.sandbox.workloads.running import Workloads

API_VERSION: Final = "1.43"
ENGINE_VERSION: Final = "24.0.0-labctl"
_CONFIG_TYPE: Final = "application/vnd.docker.container.image.v1+json"
_LAYER_TYPE: Final = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_VERSION: Final = re.compile(r"^/v\d+\.\d+(?=/)")
_IMAGE: Final = re.compile(r"/images/(?P<name>.+?)(?:/(?P<verb>json|tag|push|history))?")


class ApiError(Exception):
    """An error of the API: its HTTP status, and Docker's words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class LocalImages:
    """The images of the Engine by their names, kept in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._names: dict[str, str] = {}
        self._layers: dict[str, list[dict[str, Any]]] = {}
        if path.exists():
            kept = json.loads(path.read_text())
            self._names, self._layers = kept["names"], kept["layers"]

    def names(self, id: str) -> list[str]:
        """The names of an image."""
        return sorted(name for name, named in self._names.items() if named == id)

    def every(self) -> list[str]:
        """The ids of all images."""
        return sorted(self._layers)

    def digests(self) -> set[str]:
        """The blobs that its images are made of."""
        return {*self._layers, *(layer["digest"] for layers in self._layers.values() for layer in layers)}

    def find(self, reference: str) -> Built | None:
        """The image that a name, an id or the beginning of an id means."""
        id = self._names.get(full(reference), reference)
        if id not in self._layers:
            short = reference.removeprefix("sha256:")
            fitting = [one for one in self._layers if one.removeprefix("sha256:").startswith(short)]
            if not re.fullmatch(r"[0-9a-f]{4,64}", short) or len(fitting) != 1:
                return None
            id = fitting[0]
        return Built(id, tuple(Layer(**layer) for layer in self._layers[id]))

    def keep(self, built: Built, *names: str) -> None:
        """Keeps an image under its id, and `names`."""
        with self._lock:
            self._layers[built.id] = [asdict(layer) for layer in built.layers]
            self._names |= {full(name): built.id for name in names}
            self._save()

    def forget(self, reference: str) -> list[dict[str, str]]:
        """Takes a name away, and the image with its last one; what was done, in Docker's words."""
        with self._lock:
            name, done = full(reference), []
            id = self._names.pop(name, None)
            if id is not None:
                done.append({"Untagged": name})
            else:
                found = self.find(reference)
                if found is None:
                    return []
                id = found.id
                done += [{"Untagged": each} for each in self.names(id)]
                self._names = {each: named for each, named in self._names.items() if named != id}
            if not self.names(id):
                self._layers.pop(id, None)
                done.append({"Deleted": id})
            self._save()
            return done

    def _save(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps({"names": self._names, "layers": self._layers}))
        os.replace(fresh, self._path)


class EngineApp:
    """The Engine's API as a WSGI application."""

    def __init__(
        self,
        workloads: Workloads,
        shelf: Shelf,
        allowed: Callable[[str, str], bool],
        registry: Callable[[], str],
    ) -> None:
        """`registry` tells where the sandbox's own registry is (`127.0.0.1:5000`), `allowed` who may in."""
        self._workloads = workloads
        self._images: Images = workloads.images
        self.local = LocalImages(self._images.folder / "engine.json")
        self._shelf = shelf
        self._allowed = allowed
        self._registry = registry

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answers one request."""
        request = Request(environ)
        try:
            response = self._answer(request, _VERSION.sub("", request.path))
        except ApiError as error:
            response = _json({"message": error.message}, error.status)
        response.headers["Api-Version"] = API_VERSION
        return response(environ, start_response)

    def _answer(self, request: Request, path: str) -> Response:
        pages: dict[tuple[str, str], Callable[[Request], Response]] = {
            ("GET", "/_ping"): lambda _: Response("OK", content_type="text/plain"),
            ("HEAD", "/_ping"): lambda _: Response("", content_type="text/plain"),
            ("GET", "/version"): lambda _: _json(_ABOUT),
            ("GET", "/info"): lambda _: _json({"Name": "labctl-sandbox", **_ABOUT}),
            ("GET", "/containers/json"): lambda _: _json([]),
            ("GET", "/images/json"): self._list,
            ("POST", "/auth"): self._login,
            ("POST", "/build"): self._build,
            ("POST", "/images/create"): self._pull,
        }
        page = pages.get((request.method, path))
        if page is not None:
            return page(request)
        found = _IMAGE.fullmatch(path)
        verbs: dict[tuple[str, str | None], Callable[[Request, str], Response]] = {
            ("GET", "json"): self._inspect,
            ("POST", "tag"): self._tag,
            ("POST", "push"): self._push,
            ("DELETE", None): self._remove,
        }
        verb = verbs.get((request.method, found["verb"])) if found else None
        if verb is None or found is None:
            words = f"the sandbox's Engine builds, tags and pushes images; it has no {request.method} {path}"
            raise ApiError(404 if request.method == "GET" else 501, words)
        return verb(request, found["name"])

    def _found(self, name: str) -> Built:
        built = self.local.find(name)
        if built is None:
            raise ApiError(404, f"No such image: {full(name)}")
        return built

    def _about(self, built: Built) -> dict[str, Any]:
        told = self._images.blobs.json(built.id)
        return {
            "Id": built.id,
            "RepoTags": self.local.names(built.id),
            "RepoDigests": [],
            "Created": told.get("created", ""),
            "Architecture": told.get("architecture"),
            "Os": told.get("os"),
            "Size": sum(layer.size for layer in built.layers),
            "Config": told.get("config") or {},
            "RootFS": {"Type": "layers", "Layers": [layer.diff_id for layer in built.layers]},
        }

    def _list(self, request: Request) -> Response:
        found = [self.local.find(id) for id in self.local.every()]
        return _json([{**self._about(built), "Created": 0} for built in found if built is not None])

    def _inspect(self, request: Request, name: str) -> Response:
        return _json(self._about(self._found(name)))

    def _tag(self, request: Request, name: str) -> Response:
        repository, tag = request.args.get("repo", ""), request.args.get("tag") or "latest"
        self.local.keep(self._found(name), f"{repository}:{tag}")
        return Response(status=201)

    def _remove(self, request: Request, name: str) -> Response:
        done = self.local.forget(name)
        if not done:
            raise ApiError(404, f"No such image: {full(name)}")
        return _json(done)

    def _login(self, request: Request) -> Response:
        given = request.get_json(force=True, silent=True) or {}
        address = str(given.get("serveraddress", "")).partition("://")[2] or given.get("serveraddress", "")
        if address.rstrip("/") != self._registry():
            raise ApiError(
                500, f"the sandbox's Engine knows the registry {self._registry()} only, not {address}"
            )
        if not self._allowed(str(given.get("username", "")), str(given.get("password", ""))):
            raise ApiError(
                401, f"login attempt to http://{self._registry()}/v2/ failed with status: 401 Unauthorized"
            )
        return _json({"Status": "Login Succeeded", "IdentityToken": ""})

    def _build(self, request: Request) -> Response:
        archive = request.stream.read()
        given = request.args
        said: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        build = Build(
            images=self._images,
            workloads=self._workloads,
            local=self.local.find,
            say=lambda line: said.put({"stream": f"{line}\n"}),
            args=json.loads(given.get("buildargs") or "{}"),
            labels=json.loads(given.get("labels") or "{}"),
            platform=given.get("platform") or "linux/amd64",
        )

        def work() -> None:
            try:
                built = build.run(archive, given.get("dockerfile") or "Dockerfile", given.get("target") or "")
                self.local.keep(built, *given.getlist("t"))
                said.put({"aux": {"ID": built.id}})
                said.put({"stream": f"Successfully built {built.id[7:19]}\n"})
                for name in given.getlist("t"):
                    said.put({"stream": f"Successfully tagged {full(name)}\n"})
            except (BuildError, OSError, ValueError) as error:
                said.put(_error(str(error)))
            finally:
                said.put(None)

        threading.Thread(target=work, daemon=True).start()
        return _stream(iter(said.get, None))

    def _pull(self, request: Request) -> Response:
        repository, tag = request.args.get("fromImage", ""), request.args.get("tag") or "latest"
        separator = "@" if tag.startswith("sha256:") else ":"
        name = f"{repository}{separator}{tag}" if split(repository)[1] == "latest" else repository
        try:
            image = self._images.find(name)
        except NoSuchImage:
            raise ApiError(404, f"manifest for {name} not found: manifest unknown") from None
        self.local.keep(Built(image.id, image.layers), name)
        return _stream(iter([{"status": f"Status: Downloaded newer image for {name}"}]))

    def _push(self, request: Request, name: str) -> Response:
        tag = request.args.get("tag") or split(name)[1]
        built = self._found(f"{split(name)[0]}:{tag}")
        host, _, repository = split(name)[0].partition("/")
        if host != self._registry():
            return _stream(
                iter([_error(f"the sandbox's Engine pushes to {self._registry()} only, not to {host}")])
            )
        if not self._allowed(*_credentials(request.headers.get("X-Registry-Auth", ""))):
            return _stream(iter([_error("no basic auth credentials")]))
        return _stream(self._pushed(built, repository, tag))

    def _pushed(self, built: Built, repository: str, tag: str) -> Iterator[dict[str, Any]]:
        yield {"status": f"The push refers to repository [{self._registry()}/{repository}]"}
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "config": {
                    "mediaType": _CONFIG_TYPE,
                    "size": self._images.blobs.size(built.id),
                    "digest": built.id,
                },
                "layers": [
                    {"mediaType": _LAYER_TYPE, "size": layer.size, "digest": layer.digest}
                    for layer in built.layers
                ],
            },
            indent=3,
        ).encode()
        try:
            self._shelf.need(repository)
            self._shelf.put(repository, tag, manifest, MANIFEST_TYPE)
        except RefusedError as refused:
            yield _error(refused.message)
            return
        for layer in built.layers:
            yield {"status": "Pushed", "progressDetail": {}, "id": layer.diff_id[7:19]}
        digest = digest_of(manifest)
        yield {"status": f"{tag}: digest: {digest} size: {len(manifest)}"}
        yield {"progressDetail": {}, "aux": {"Tag": tag, "Digest": digest, "Size": len(manifest)}}


_ABOUT: Final = {
    "Version": ENGINE_VERSION,
    "ServerVersion": ENGINE_VERSION,
    "ApiVersion": API_VERSION,
    "MinAPIVersion": "1.24",
    "Os": "linux",
    "OSType": "linux",
    "Arch": "amd64",
    "Components": [],
}


def _json(value: Any, status: int = 200) -> Response:
    return Response(json.dumps(value), status=status, content_type="application/json")


def _stream(told: Iterable[dict[str, Any]]) -> Response:
    return Response((json.dumps(one) + "\r\n" for one in told), content_type="application/json")


def _error(message: str) -> dict[str, Any]:
    return {"errorDetail": {"message": message}, "error": message}


def _credentials(header: str) -> tuple[str, str]:
    """User and password of the header X-Registry-Auth."""
    try:
        told = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))
    except (binascii.Error, ValueError):
        return "", ""
    return str(told.get("username", "")), str(told.get("password", ""))
