"""The API server of all clusters: a WSGI application below `/_k8s/REGION/CLUSTER`."""

from __future__ import annotations

import base64
import json
import re
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final
from urllib.parse import parse_qs

import moto.backends
import yaml

from engine.sandbox.aws.credentials import ACCESS_KEY
from engine.sandbox.kubernetes.kinds import Kind, discovery, kind_of
from engine.sandbox.kubernetes.objects import Key, Objects, applied, has_labels, merged
from engine.sandbox.kubernetes.pods import Pods
from engine.sandbox.wires import NoSuchHost
from engine.sandbox.workloads.running import Workloads

PREFIX: Final = "/_k8s/"
_PATH: Final = re.compile(
    r"/(?:api/(?P<core>v1)|apis/(?P<group>[^/]+/[^/]+))"
    r"(?:/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?"
)
_NAMESPACES: Final = ("default", "kube-system", "kube-public", "kube-node-lease")
_WORDS: Final = {
    200: "OK",
    201: "Created",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
}


class Refused(Exception):
    """A request that is refused with an HTTP status, a reason and words."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class Api:
    """Answers for the clusters of one account."""

    def __init__(
        self,
        account: str,
        objects: Objects,
        workloads: Callable[[], Workloads | None],
        lock: threading.RLock,
    ) -> None:
        self._account = account
        self._objects = objects
        self._pods = Pods(account, objects, workloads)
        self._lock = lock

    def forget(self, region: str, name: str) -> None:
        """A cluster is deleted: its pods end, its objects are gone."""
        self._pods.stop(f"{region}/{name}")
        self._objects.drop(f"{region}/{name}")

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """One request to one cluster."""
        size = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(size) if size else b""
        try:
            with self._lock:
                status, told = self._answer(environ, body)
        except Refused as refused:
            status = refused.status
            told = {
                "kind": "Status",
                "apiVersion": "v1",
                "status": "Failure",
                "reason": refused.reason,
                "message": str(refused),
                "code": status,
            }
        text = json.dumps(told).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(text)))]
        start_response(f"{status} {_WORDS.get(status, 'Error')}", headers)
        return [text]

    def _answer(self, environ: Mapping[str, Any], body: bytes) -> tuple[int, dict[str, Any]]:
        region, name, path = [*str(environ["PATH_INFO"]).removeprefix(PREFIX).split("/", 2), ""][:3]
        cluster = f"{region}/{name}"
        self._let_in(environ, region, name)
        known = discovery(f"/{path}")
        if known is not None:
            return 200, known
        match = _PATH.fullmatch(f"/{path}")
        version = (match["core"] or match["group"]) if match else ""
        # `/api/v1/namespaces/NAME` is about a namespace, not inside one.
        found = kind_of(version, match["plural"]) if match else None
        if match is None or found is None:
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        place = (match["namespace"] or "") if found.namespaced else ""
        key = Key(cluster, version, found.name, place, match["name"] or "")
        self._pods.settle(cluster)
        status, told = self._act(str(environ["REQUEST_METHOD"]), key, found, environ, body)
        self._pods.settle(cluster)
        self._balance(cluster)
        return status, told

    def _let_in(self, environ: Mapping[str, Any], region: str, name: str) -> None:
        """Who has signed a request to STS with the sandbox's key, as `aws eks get-token` does."""
        backends: Any = moto.backends.get_backend("eks")[self._account]
        if region not in backends or name not in backends[region].clusters:
            raise Refused(404, "NotFound", f"there is no cluster {name} in {region}")
        token = str(environ.get("HTTP_AUTHORIZATION", "")).removeprefix("Bearer k8s-aws-v1.")
        try:
            signed = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
        except ValueError:
            signed = ""
        [credential] = parse_qs(signed.partition("?")[2]).get("X-Amz-Credential", [""])[:1]
        if credential.partition("/")[0] != ACCESS_KEY:
            raise Refused(401, "Unauthorized", "Unauthorized")

    def _act(
        self, method: str, key: Key, kind: Kind, environ: Mapping[str, Any], body: bytes
    ) -> tuple[int, dict[str, Any]]:
        query = parse_qs(str(environ.get("QUERY_STRING", "")))
        if method == "GET":
            return 200, self._one(key) if key.name else self._many(key, kind, query)
        if method == "DELETE":
            return 200, self._delete(key)
        document = yaml.safe_load(body) or {}
        if method == "POST":
            made = Key(key.cluster, key.api_version, key.kind, key.namespace, document["metadata"]["name"])
            if made in self._objects.by_key:
                raise Refused(409, "AlreadyExists", f'{kind.plural} "{made.name}" already exists')
            return 201, self._put(made, document)
        if method == "PUT":
            return 200, self._put(key, document)
        if method == "PATCH":
            there = self._objects.by_key.get(key)
            if "apply-patch" in str(environ.get("CONTENT_TYPE", "")):
                return 200, self._put(key, applied(there, document))
            if there is None:
                raise Refused(404, "NotFound", f'{kind.plural} "{key.name}" not found')
            return 200, self._put(key, merged(there, document))
        raise Refused(405, "MethodNotAllowed", f"{method} is not allowed")

    def _one(self, key: Key) -> dict[str, Any]:
        found = self._objects.by_key.get(key)
        if found is None and key.kind == "Namespace" and key.name in _NAMESPACES:
            return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": key.name}}
        if found is None:
            raise Refused(404, "NotFound", f'{key.kind.lower()}s "{key.name}" not found')
        return found

    def _many(self, key: Key, kind: Kind, query: Mapping[str, list[str]]) -> dict[str, Any]:
        place = key.namespace or None
        pairs = ",".join(query.get("labelSelector", [])).replace("==", "=").split(",")
        labels = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
        items = [
            each for _, each in self._objects.of(key.cluster, key.kind, place) if has_labels(each, labels)
        ]
        return {"kind": f"{kind.name}List", "apiVersion": key.api_version, "metadata": {}, "items": items}

    def _put(self, key: Key, document: Mapping[str, Any]) -> dict[str, Any]:
        self._check(key, document)
        return self._objects.put(key, _stored(document))

    def _check(self, key: Key, document: Mapping[str, Any]) -> None:
        if document.get("kind") != key.kind or document.get("apiVersion") != key.api_version:
            raise Refused(
                400, "BadRequest", "the object provided is unrecognized: its kind does not fit the path"
            )
        namespaces = {each.name for each, _ in self._objects.of(key.cluster, "Namespace")} | set(_NAMESPACES)
        if key.namespace and key.namespace not in namespaces:
            raise Refused(404, "NotFound", f'namespaces "{key.namespace}" not found')
        if key.kind in ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"):
            spec = document.get("spec") or {}
            chosen = (spec.get("selector") or {}).get("matchLabels") or {}
            labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
            if not chosen or not chosen.items() <= labels.items():
                words = "spec.template.metadata.labels: `selector` does not match template `labels`"
                raise Refused(422, "Invalid", f'{key.kind} "{key.name}" is invalid: {words}')

    def _delete(self, key: Key) -> dict[str, Any]:
        self._one(key)
        if key.kind == "Pod":
            self._pods.end(key)
        elif key.kind == "Namespace":
            inside = [each for each in self._objects.by_key if each.namespace == key.name]
            for each in [each for each in inside if each.cluster == key.cluster]:
                self._pods.end(each)
        self._objects.by_key.pop(key, None)
        return {"kind": "Status", "apiVersion": "v1", "status": "Success"}

    # -- services --------------------------------------------------------------------------------------------

    def _balance(self, cluster: str) -> None:
        """A load balancer's name for each service that wants one."""
        for _, service in self._objects.of(cluster, "Service"):
            if (service.get("spec") or {}).get("type") == "LoadBalancer":
                service["status"] = {"loadBalancer": {"ingress": [{"hostname": _host(cluster, service)}]}}

    async def service(self, host: str, port: int, client: str) -> socket.socket | None:
        """A connection to a pod of the service whose load balancer is named so. Raises NoSuchHost."""
        found = self._target(host, port)
        if found is None:
            raise ConnectionRefusedError
        workload, target = found
        line: socket.socket = await workload.open(target)
        return line

    def _target(self, host: str, port: int) -> tuple[Any, int] | None:
        with self._lock:
            for key, service in list(self._objects.by_key.items()):
                spec = service.get("spec") or {}
                if key.kind != "Service" or spec.get("type") != "LoadBalancer":
                    continue
                if _host(key.cluster, service) == host.lower():
                    self._pods.settle(key.cluster)
                    return self._pod_for(key, spec, port)
        raise NoSuchHost(host)

    def _pod_for(self, key: Key, spec: Mapping[str, Any], port: int) -> tuple[Any, int] | None:
        ports = [each for each in spec.get("ports") or () if int(each["port"]) == port]
        selector = spec.get("selector") or {}
        for pod_key, pod in self._objects.of(key.cluster, "Pod", key.namespace):
            workload = self._pods.workload(pod_key)
            if ports and selector and workload is not None and has_labels(pod, selector):
                target = _number(ports[0].get("targetPort", port), pod)
                if target in workload.ports():
                    return workload, target
        return None


def _stored(document: Mapping[str, Any]) -> dict[str, Any]:
    """A Secret's `stringData` becomes `data`, as the real API has it."""
    if document.get("kind") != "Secret" or not document.get("stringData"):
        return dict(document)
    encoded = {
        key: base64.b64encode(str(text).encode()).decode() for key, text in document["stringData"].items()
    }
    left = {key: value for key, value in document.items() if key != "stringData"}
    return {**left, "data": {**(document.get("data") or {}), **encoded}}


def _host(cluster: str, service: Mapping[str, Any]) -> str:
    region = cluster.partition("/")[0]
    name = str(service["metadata"]["uid"]).replace("-", "")
    return f"a{name}.{region}.elb.amazonaws.com"


def _number(port: Any, pod: Mapping[str, Any]) -> int:
    """A target port's number; it may be the name of a container's port."""
    if isinstance(port, int) or str(port).isdigit():
        return int(port)
    for container in (pod.get("spec") or {}).get("containers") or ():
        for each in container.get("ports") or ():
            if each.get("name") == port:
                return int(each["containerPort"])
    return 0
