"""The objects of all clusters, and what applying a manifest makes of them."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

_CLUSTERS_OWN: Final = ("clusterIP", "clusterIPs", "nodeName")
"""What a cluster writes into a spec by itself."""


@dataclass(frozen=True, order=True)
class Key:
    """Which object, in which cluster (`us-east-1/w251`)."""

    cluster: str
    api_version: str
    kind: str
    namespace: str
    name: str


@dataclass
class Objects:
    """What must outlive the process."""

    by_key: dict[Key, dict[str, Any]] = field(default_factory=dict)
    versions: int = 0

    def of(
        self, cluster: str, kind: str, namespace: str | None = None
    ) -> Iterator[tuple[Key, dict[str, Any]]]:
        """The objects of a kind in a cluster, of one namespace or all."""
        for key, document in sorted(self.by_key.items(), key=lambda each: each[0]):
            if key.cluster == cluster and key.kind == kind and namespace in (None, key.namespace):
                yield key, document

    def put(self, key: Key, document: Mapping[str, Any]) -> dict[str, Any]:
        """Makes an object, or replaces it but for its status; a changed spec counts its generation up."""
        before = self.by_key.get(key)
        whole = copy.deepcopy(dict(document))
        about = whole.setdefault("metadata", {})
        old = before["metadata"] if before else {}
        changed = before is None or before.get("spec") != whole.get("spec")
        self.versions += 1
        about |= {
            "name": key.name,
            "uid": old.get("uid") or str(uuid.uuid4()),
            "creationTimestamp": old.get("creationTimestamp") or now(),
            "generation": int(old.get("generation", 0)) + (1 if changed else 0),
            "resourceVersion": str(self.versions),
        }
        if key.namespace:
            about["namespace"] = key.namespace
        if before and "status" in before:
            whole["status"] = before["status"]
        self.by_key[key] = whole
        return whole

    def drop(self, cluster: str) -> None:
        """Forgets a cluster."""
        self.by_key = {key: value for key, value in self.by_key.items() if key.cluster != cluster}


def now() -> str:
    """The time as Kubernetes writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def applied(there: Mapping[str, Any] | None, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What applying `asked` makes, all of it by one manager: the spec and the data are what it says.

    Of everything else, what others have set besides stays.
    """
    if there is None:
        return copy.deepcopy(dict(asked))
    whole = merged(there, asked)
    if isinstance(asked.get("spec"), Mapping):
        own = {key: value for key, value in (there.get("spec") or {}).items() if key in _CLUSTERS_OWN}
        whole["spec"] = {**own, **copy.deepcopy(dict(asked["spec"]))}
    for key in ("data", "stringData", "rules", "subjects"):
        if key in asked:
            whole[key] = copy.deepcopy(asked[key])
    return whole


def merged(there: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """JSON Merge Patch (RFC 7396): None takes a member away."""
    whole = copy.deepcopy(dict(there))
    for key, value in asked.items():
        if value is None:
            whole.pop(key, None)
        elif isinstance(value, Mapping):
            inner = whole.get(key)
            whole[key] = merged(inner if isinstance(inner, Mapping) else {}, value)
        else:
            whole[key] = copy.deepcopy(value)
    return whole


def has_labels(document: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    """Whether an object has these labels."""
    return wanted.items() <= (document["metadata"].get("labels") or {}).items()
