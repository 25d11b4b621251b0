"""Manifests of Kubernetes: read, put in order, compared with what a cluster has, waited for."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import yaml

from engine.k8s import Cluster, Ref
from engine.refs import Unknown
from engine.resources._documents import alike, holds

OWNER: Final = "labctl.io/owner"
"""The annotation that says whose an object is: the lab and the address."""
_QUANTITY: Final = re.compile(r"([+-]?\d+(?:\.\d+)?)(m|k|[KMGTPE]i?)?")
_FACTORS: Final[Mapping[str, Decimal]] = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    "k": Decimal(1000),
    **{letter: Decimal(1000) ** power for power, letter in enumerate("KMGTPE", 1)},
    **{f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", 1)},
}
_FIRST: Final = (
    "Namespace",
    "CustomResourceDefinition",
    "PriorityClass",
    "StorageClass",
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "Secret",
    "ConfigMap",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Service",
)
"""What others need comes before them, and goes after them."""
_WAITS: Final = frozenset({"ImagePullBackOff", "ErrImagePull", "CrashLoopBackOff", "InvalidImageName"})


def documents(text: str) -> list[Any]:
    """The manifests in a YAML text. Raises ValueError in words."""
    try:
        return [each for each in yaml.safe_load_all(text) if each is not None]
    except yaml.YAMLError as error:
        raise ValueError(f"is not YAML: {str(error).splitlines()[0]}") from None


def checked(manifests: Sequence[Any]) -> None:
    """Raises ValueError in words for what is no manifest."""
    if not manifests:
        raise ValueError("holds no manifest")
    seen: set[tuple[Any, ...]] = set()
    for number, manifest in enumerate(manifests, 1):
        if isinstance(manifest, Unknown):
            continue
        if not isinstance(manifest, Mapping):
            raise ValueError(f"manifest {number} is not a mapping")
        missing = [key for key in ("apiVersion", "kind") if not manifest.get(key)]
        about = manifest.get("metadata")
        if missing or not isinstance(about, Mapping) or not about.get("name"):
            lacking = [
                *missing,
                *([] if isinstance(about, Mapping) and about.get("name") else ["metadata.name"]),
            ]
            raise ValueError(f"manifest {number} has no {' and no '.join(lacking)}")
        known = (manifest["apiVersion"], manifest["kind"], about.get("namespace"), str(about["name"]))
        if known in seen:
            raise ValueError(f"{manifest['kind']} {about['name']} stands in it twice")
        seen.add(known)


def in_order(manifests: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The manifests in the order in which they are to be applied."""
    return sorted(manifests, key=lambda each: rank(str(each["kind"])))


def rank(kind: str) -> int:
    """When an object of a kind is to be applied, against others."""
    return _FIRST.index(kind) if kind in _FIRST else len(_FIRST)


def comparable(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document as it is compared, shown and kept: of a Secret the hashes of its values."""
    if document.get("kind") != "Secret":
        return dict(document)
    values = {key: _decoded(value) for key, value in (document.get("data") or {}).items()}
    values |= dict(document.get("stringData") or {})
    left = {key: value for key, value in document.items() if key not in ("data", "stringData")}
    return {**left, "data": {key: value_hash(value) for key, value in values.items()}}


def value_hash(value: Any) -> Any:
    """What stands for a Secret's value."""
    return (
        value if isinstance(value, Unknown) else f"sha256:{hashlib.sha256(str(value).encode()).hexdigest()}"
    )


def _decoded(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value).decode(errors="replace")
    except ValueError:
        return value


def visible(document: Mapping[str, Any]) -> dict[str, Any]:
    """An object of a cluster without what only the cluster writes."""
    about = {
        key: value
        for key, value in document["metadata"].items()
        if key in ("name", "namespace", "labels", "annotations", "generation")
    }
    about["annotations"] = {
        key: value for key, value in (about.get("annotations") or {}).items() if key != OWNER
    }
    return {**comparable(document), "metadata": about}


def same(there: Any, wanted: Any) -> bool:
    """Whether two values mean the same to Kubernetes: `0.5` and `500m` do."""
    if alike(there, wanted):
        return True
    one, other = quantity(there), quantity(wanted)
    return one is not None and one == other


def quantity(value: Any) -> Decimal | None:
    """A quantity (`500m`, `1Gi`) as a number; None where it is none."""
    match = _QUANTITY.fullmatch(str(value)) if isinstance(value, str | int | float) else None
    return Decimal(match[1]) * _FACTORS[match[2] or ""] if match else None


def fits(
    there: Sequence[Mapping[str, Any]], wanted: Sequence[Mapping[str, Any]], namespace: str
) -> list[str]:
    """In words, the objects that are missing, other or too many."""
    found = {key(each, namespace): each for each in there}
    words = []
    for document in wanted:
        name = f"{document['kind']} {document['metadata']['name']}"
        live = found.pop(key(document, namespace), None)
        if live is None:
            words.append(f"{name} is missing")
        elif not holds(live, _asked(document), same):
            words.append(f"{name} differs in {', '.join(sorted(_unlike(live, _asked(document))))}")
    return words + [
        f"{each['kind']} {each['metadata']['name']} is no longer wanted" for each in found.values()
    ]


def key(document: Mapping[str, Any], namespace: str) -> tuple[str, str, str, str]:
    """Which object a document is about; the namespace does not count where it is the usual one."""
    about = document["metadata"]
    place = about.get("namespace") or namespace
    return str(document["apiVersion"]), str(document["kind"]), str(place), str(about["name"])


def _asked(document: Mapping[str, Any]) -> dict[str, Any]:
    about = {name: value for name, value in document["metadata"].items() if name != "namespace"}
    return {**document, "metadata": about}


def _unlike(there: Any, wanted: Any, place: str = "") -> Iterator[str]:
    """The places in a document that are not as wanted, two steps deep."""
    for name, value in wanted.items():
        live = there.get(name) if isinstance(there, Mapping) else None
        if holds(live, value, same):
            continue
        if isinstance(value, Mapping) and isinstance(live, Mapping) and place.count(".") < 1:
            yield from _unlike(live, value, f"{place}{name}.")
        else:
            yield f"{place}{name}"


def not_ready(cluster: Cluster, live: Mapping[str, Any]) -> str | None:
    """Why an object is not ready yet; None where it is, or there is nothing to wait for."""
    kind, status, spec = live["kind"], live.get("status") or {}, live.get("spec") or {}
    if kind in ("Deployment", "StatefulSet", "ReplicaSet"):
        return _replicas(cluster, live, status, int(spec.get("replicas", 1)))
    if kind == "DaemonSet":
        return _replicas(cluster, live, status, int(status.get("desiredNumberScheduled", 0)))
    if kind == "Service" and spec.get("type") == "LoadBalancer":
        return None if addresses(live) else "its load balancer has no address yet"
    if kind == "Job":
        return None if _is(status, "Complete") or _is(status, "Failed") else "the job still runs"
    if kind == "Pod":
        phase = status.get("phase")
        return (
            None if _is(status, "Ready") or phase == "Succeeded" else f"the pod is {phase or 'not scheduled'}"
        )
    return None


def failed(live: Mapping[str, Any]) -> str | None:
    """Why an object will never be ready."""
    for condition in (live.get("status") or {}).get("conditions") or ():
        if live["kind"] == "Job" and condition.get("type") == "Failed" and condition.get("status") == "True":
            return str(condition.get("message") or "the job has failed")
        if condition.get("reason") == "ProgressDeadlineExceeded":
            return str(condition.get("message"))
    return None


def addresses(live: Mapping[str, Any]) -> list[str]:
    """Where a Service's load balancer answers."""
    ingress = ((live.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    return [str(each.get("hostname") or each.get("ip")) for each in ingress]


def _replicas(
    cluster: Cluster, live: Mapping[str, Any], status: Mapping[str, Any], wanted: int
) -> str | None:
    seen = int(status.get("observedGeneration", 0)) >= int(live["metadata"].get("generation", 1))
    ready = int(status.get("availableReplicas", status.get("numberAvailable", 0)))
    updated = int(status.get("updatedReplicas", status.get("updatedNumberScheduled", ready)))
    if seen and ready >= wanted and updated >= wanted:
        return None
    trouble = "; ".join(_troubles(cluster, live))
    return f"{ready} of {wanted} pods are ready" + (f": {trouble}" if trouble else "")


def _troubles(cluster: Cluster, live: Mapping[str, Any]) -> Iterator[str]:
    """What keeps its pods from starting, as they say themselves."""
    labels = ((live.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
    place = live["metadata"].get("namespace", "default")
    told: set[str] = set()
    for pod in cluster.listed("v1", "Pod", place, labels) if labels else ():
        status = pod.get("status") or {}
        waiting = [
            (each.get("state") or {}).get("waiting") or {} for each in status.get("containerStatuses") or ()
        ]
        told |= {
            f"{each['reason']}: {each.get('message', '')}" for each in waiting if each.get("reason") in _WAITS
        }
        told |= {
            str(each.get("message"))
            for each in status.get("conditions") or ()
            if each.get("type") == "PodScheduled" and each.get("status") == "False"
        }
    yield from sorted(told)[:3]


def _is(status: Mapping[str, Any], condition: str) -> bool:
    return any(
        each.get("type") == condition and each.get("status") == "True"
        for each in status.get("conditions") or ()
    )


def refs_of(manifests: Sequence[Mapping[str, Any]], namespace: str, cluster: Cluster) -> list[Ref]:
    """The objects of manifests; those of kinds without namespaces have none."""
    found = []
    for manifest in manifests:
        ref = Ref.of(manifest, namespace)
        if not cluster.has_namespaces(ref.api_version, ref.kind):
            ref = Ref(ref.api_version, ref.kind, "", ref.name)
        found.append(ref)
    return found
