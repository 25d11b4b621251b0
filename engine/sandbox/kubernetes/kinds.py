"""What a cluster's API has: kinds by group and version, as its discovery tells them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True)
class Kind:
    """One kind of objects."""

    name: str
    plural: str
    namespaced: bool = True


_CORE: Final = {
    "ConfigMap": "configmaps",
    "Endpoints": "endpoints",
    "Event": "events",
    "LimitRange": "limitranges",
    "PersistentVolumeClaim": "persistentvolumeclaims",
    "Pod": "pods",
    "ResourceQuota": "resourcequotas",
    "Secret": "secrets",
    "Service": "services",
    "ServiceAccount": "serviceaccounts",
}
_APPS: Final = {"Deployment": "deployments", "DaemonSet": "daemonsets", "ReplicaSet": "replicasets"}

KINDS: Final[Mapping[str, tuple[Kind, ...]]] = {
    "v1": (
        *(Kind(name, plural) for name, plural in _CORE.items()),
        Kind("Namespace", "namespaces", namespaced=False),
        Kind("Node", "nodes", namespaced=False),
        Kind("PersistentVolume", "persistentvolumes", namespaced=False),
    ),
    "apps/v1": (
        *(Kind(name, plural) for name, plural in _APPS.items()),
        Kind("StatefulSet", "statefulsets"),
    ),
    "batch/v1": (Kind("Job", "jobs"), Kind("CronJob", "cronjobs")),
    "autoscaling/v2": (Kind("HorizontalPodAutoscaler", "horizontalpodautoscalers"),),
    "networking.k8s.io/v1": (Kind("Ingress", "ingresses"), Kind("NetworkPolicy", "networkpolicies")),
    "policy/v1": (Kind("PodDisruptionBudget", "poddisruptionbudgets"),),
    "rbac.authorization.k8s.io/v1": (
        Kind("Role", "roles"),
        Kind("RoleBinding", "rolebindings"),
        Kind("ClusterRole", "clusterroles", namespaced=False),
        Kind("ClusterRoleBinding", "clusterrolebindings", namespaced=False),
    ),
    "storage.k8s.io/v1": (Kind("StorageClass", "storageclasses", namespaced=False),),
}
"""By `apiVersion`; custom resource definitions are not known in the sandbox."""

_VERBS: Final = ["create", "delete", "get", "list", "patch", "update"]


def kind_of(api_version: str, plural: str) -> Kind | None:
    """The kind that paths call `plural`."""
    return next((kind for kind in KINDS.get(api_version, ()) if kind.plural == plural), None)


def discovery(path: str) -> dict[str, Any] | None:
    """What GET of a discovery path answers; None for any other path."""
    if path in ("/version", "/version/"):
        return {"major": "1", "minor": "33", "gitVersion": "v1.33.0-eks-sandbox"}
    if path.rstrip("/") == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path.rstrip("/") == "/apis":
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": _groups()}
    version = path.removeprefix("/apis/") if path.startswith("/apis/") else path.removeprefix("/api/")
    if version not in KINDS or (version == "v1") != path.startswith("/api/"):
        return None
    resources = [
        {"name": kind.plural, "kind": kind.name, "namespaced": kind.namespaced, "verbs": _VERBS}
        for kind in KINDS[version]
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}


def _groups() -> list[dict[str, Any]]:
    groups = []
    for version in KINDS:
        name, _, short = version.partition("/")
        if short:
            told = {"groupVersion": version, "version": short}
            groups.append({"name": name, "versions": [told], "preferredVersion": told})
    return groups
