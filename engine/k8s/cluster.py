"""The API of one cluster: objects read, applied and deleted, with words for what it refuses."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from engine.aws.clients import on_this_machine
from engine.errors import StepFailed, Unreachable

if TYPE_CHECKING:
    from engine.aws import Aws

_SECONDS: Final = 60.0
_MANAGER: Final = "labctl"
"""Whose fields they are, https://kubernetes.io/docs/reference/using-api/server-side-apply/#managers."""
_APPLY: Final = "application/apply-patch+yaml"
_GROUPLESS: Final = "v1"


@dataclass(frozen=True, order=True)
class Ref:
    """Which object: `apps/v1`, `Deployment`, its namespace and name."""

    api_version: str
    kind: str
    namespace: str
    name: str

    @classmethod
    def of(cls, document: Mapping[str, Any], namespace: str) -> Ref:
        """The object that a manifest is about; `namespace` where it names none."""
        about = document["metadata"]
        return cls(
            document["apiVersion"], document["kind"], about.get("namespace") or namespace, about["name"]
        )

    def __str__(self) -> str:
        """`Deployment default/web`."""
        return f"{self.kind} {self.namespace}/{self.name}"


class Conflict(StepFailed):
    """Somebody else manages a field of it."""


class Cluster:
    """One cluster's API; its methods may be called in any thread."""

    def __init__(self, name: str, host: str, ca: bytes | None, bearer: str) -> None:
        """`ca` is PEM, None for what this machine trusts; `bearer` is the token."""
        self.name = name
        self._host = host.rstrip("/")
        self._ca = ca
        self._bearer = bearer
        self._lock = threading.Lock()
        self._client: Any = None
        self._known: dict[str, dict[str, tuple[str, bool]]] = {}
        """By api version and kind: the name in paths, and whether it has namespaces."""

    def get(self, ref: Ref) -> dict[str, Any] | None:
        """The object; None where there is none, or no such kind."""
        path = self._path(ref)
        return None if path is None else self._ask("GET", path)

    def listed(
        self, api_version: str, kind: str, namespace: str, labels: Mapping[str, str]
    ) -> list[dict[str, Any]]:
        """The objects of a kind in a namespace that have these labels."""
        path = self._path(Ref(api_version, kind, namespace, ""))
        selector = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
        answer = self._ask("GET", f"{path}?{urlencode({'labelSelector': selector})}") if path else None
        return list((answer or {}).get("items") or [])

    def apply(self, document: Mapping[str, Any], namespace: str) -> dict[str, Any]:
        """Server-side apply: made, or the fields it names brought to what it says. Raises StepFailed."""
        ref = Ref.of(document, namespace)
        path = self._path(ref)
        if path is None:
            raise StepFailed(
                f"the cluster {self.name} knows no {ref.kind} of {ref.api_version}",
                "mind the spelling; a custom resource needs its definition first, in a k8s of its own",
            )
        query = urlencode({"fieldManager": _MANAGER, "force": "false"})
        done = self._ask("PATCH", f"{path}?{query}", dict(document), {"Content-Type": _APPLY}, about=str(ref))
        assert done is not None
        return done

    def delete(self, ref: Ref) -> bool:
        """Deletes the object after what depends on it; False where it is gone already."""
        path = self._path(ref)
        if path is None:
            return False
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Foreground"}
        return self._ask("DELETE", path, body, about=str(ref)) is not None

    def has_namespaces(self, api_version: str, kind: str) -> bool:
        """Whether objects of the kind live in namespaces; True where the kind is not known."""
        return self._kinds(api_version).get(kind, ("", True))[1]

    def _path(self, ref: Ref) -> str | None:
        found = self._kinds(ref.api_version).get(ref.kind)
        if found is None:
            return None
        plural, has_namespaces = found
        inside = f"/namespaces/{quote(ref.namespace, safe='')}" if has_namespaces else ""
        name = f"/{quote(ref.name, safe='')}" if ref.name else ""
        return f"{_root(ref.api_version)}{inside}/{plural}{name}"

    def _kinds(self, api_version: str) -> dict[str, tuple[str, bool]]:
        """What the API has in one of its versions (discovery)."""
        with self._lock:
            known = self._known.get(api_version)
        if known is None:
            answer = self._ask("GET", _root(api_version)) or {}
            known = {
                each["kind"]: (each["name"], bool(each["namespaced"]))
                for each in answer.get("resources", ())
                if "/" not in each["name"]
            }
            # What is not there yet may be there soon: a definition brings new kinds.
            if known:
                with self._lock:
                    self._known[api_version] = known
        return known

    def _ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        about: str = "",
    ) -> dict[str, Any] | None:
        import urllib3

        sent = {"Authorization": f"Bearer {self._bearer}", "Accept": "application/json", **(headers or {})}
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        try:
            answer = self._made().call_api(
                method, f"{self._host}{path}", sent, body, _request_timeout=_SECONDS
            )
            data = answer.read()
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(
                f"the API of the cluster {self.name} cannot be reached at {self._host}: {error}",
                "check that the cluster is there, and that public_access_cidrs lets you in",
            ) from None
        told = _document(data)
        if answer.status < 300:
            return told
        if answer.status == 404:
            return None
        raise self._refusal(answer.status, told, about)

    def _refusal(self, status: int, told: Mapping[str, Any], about: str) -> Exception:
        said = told.get("message") or f"HTTP {status}"
        if status == 401:
            return Unreachable(
                f"the cluster {self.name} does not accept these credentials: {said}",
                "who made it may use it; others need an access entry (`aws eks create-access-entry`)",
            )
        if status == 403:
            words = f"these credentials may not do this in the cluster {self.name}: {said}"
            return StepFailed(words, "give them an access entry with a policy that allows it")
        if status == 409 and told.get("reason") == "Conflict":
            return Conflict(
                f"{about}: {said}", "take the field out of the manifest, or let one alone manage it"
            )
        return StepFailed(f"the cluster {self.name} refuses {about}: {said}")

    def _made(self) -> Any:
        with self._lock:
            if self._client is None:
                from kubernetes.client import ApiClient, Configuration

                settings = Configuration(host=self._host)
                if self._ca is not None:
                    settings.ca_cert_data = self._ca
                if on_this_machine(self._host):
                    settings.proxy = None
                self._client = ApiClient(settings)
            return self._client


def _root(api_version: str) -> str:
    return f"/api/{api_version}" if api_version == _GROUPLESS else f"/apis/{api_version}"


def _document(data: bytes) -> dict[str, Any]:
    try:
        told = json.loads(data or b"{}")
    except ValueError:
        return {"message": data.decode(errors="replace")[:300]}
    return told if isinstance(told, dict) else {}


def reach(aws: Aws, name: str) -> Cluster | None:
    """The API of an EKS cluster, with a token for whoever asks AWS; None where there is no such cluster.

    The token is what `aws eks get-token` gives: a request to STS, signed for a minute and never sent.
    """
    import base64

    from engine.aws.errors import AwsError

    try:
        cluster = aws.call("eks", "describe_cluster", name=name)["cluster"]
    except AwsError as error:
        if error.not_found:
            return None
        raise
    authority = (cluster.get("certificateAuthority") or {}).get("data")
    secure = cluster["endpoint"].startswith("https://")
    ca = base64.b64decode(authority) if authority and secure else None
    signed = aws.presigned("sts", "get_caller_identity", {"x-k8s-aws-id": name}, seconds=60)
    token = base64.urlsafe_b64encode(signed.encode()).decode().rstrip("=")
    return Cluster(name, cluster["endpoint"], ca, f"k8s-aws-v1.{token}")
