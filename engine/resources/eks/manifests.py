"""Objects of Kubernetes in a cluster of EKS, from manifests."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from pydantic import Field, field_validator, model_validator

from engine.by_hand import json_word, word
from engine.errors import StepFailed
from engine.k8s import Cluster, Ref, reach
from engine.local_files import TemplateFile
from engine.refs import Unknown, holds_unknown
from engine.resource import Fixed, Id, Output, Resource, Values, plain
from engine.resources._documents import narrowed
from engine.resources.aws._aws import finish, iam_actions, seconds
from engine.resources.eks import _k8s

if TYPE_CHECKING:
    from engine.world import World

_TAKES: Final = 900.0
"""Seconds that pods may take to be ready: Fargate alone needs a minute or two for each."""
_GOES: Final = 600.0
_LABEL: Final = re.compile(r"[^a-z0-9.-]+")


OWNER: Final = _k8s.OWNER
TOKEN: Final = "labctl.io/token"
"""The annotation with the token of the create."""


class K8s(Resource):
    """Objects of Kubernetes, applied from manifests by server-side apply and taken away with it."""

    kind: ClassVar[str] = "k8s"
    runs_code: ClassVar[bool] = True
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("CLUSTER/NAMESPACE/RECORD"),
        "objects": Output("the objects there are, `Deployment default/web`"),
        "load_balancers": Output("where the load balancers of its services answer"),
        "load_balancer": Output("the first of them"),
    }
    actions: ClassVar[Sequence[str]] = iam_actions("eks", "AccessKubernetesApi DescribeCluster")

    cluster_name: Fixed[Id]
    """The eks_cluster."""
    definition: dict[str, Any] | list[dict[str, Any]] | None = None
    """The manifest, or a list of them."""
    src: TemplateFile | None = None
    """A file of manifests in place of that, filled in as a template."""
    namespace: Fixed[str] = Field(default="default", pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    """Where objects go that name no namespace."""
    wait: bool = True
    """Whether to wait until pods are ready, load balancers have addresses and jobs have ended."""

    @field_validator("definition")
    @classmethod
    def _manifests(cls, value: Any) -> Any:
        if value is not None and not isinstance(value, Unknown):
            _k8s.checked(value if isinstance(value, list) else [value])
        return value

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.definition is None) == (self.src is None):
            raise ValueError("write either definition or src")
        if isinstance(self.src, TemplateFile) and isinstance(self.src.text, str):
            _k8s.checked(_k8s.documents(self.src.text))
        return self

    def manifests(self) -> list[Any]:
        """The manifests, whichever way they are given; unknown ones as they are."""
        if self.src is not None:
            text = self.src if isinstance(self.src, Unknown) else self.src.text
            return [text] if isinstance(text, Unknown) else _k8s.documents(text)
        given = plain(self.definition)
        return given if isinstance(given, list) else [given]

    def wanted(self, also: Sequence[str] = ()) -> Values:
        """Its manifests, the values of secrets hashed; that it waits is nothing that is there."""
        values = {name: value for name, value in super().wanted(also).items() if name != "wait"}
        source = "definition" if self.src is None else "src"
        shown = [each if isinstance(each, Unknown) else _k8s.comparable(each) for each in self.manifests()]
        unknown = next((each for each in shown if isinstance(each, Unknown)), None)
        return {**values, source: shown if unknown is None else unknown}

    def in_full(self) -> Values:
        """The manifests with the values of secrets."""
        name = "definition" if self.src is None else "src"
        found = self.manifests()
        return {} if holds_unknown(found) else {name: json.dumps(found)}

    @classmethod
    def differs(cls, name: str, wanted: Any, there: Any) -> bool:
        """Of each object, what its manifest says; no object missing, none too many."""
        if name not in ("definition", "src"):
            return bool(wanted != there)
        return bool(_k8s.fits(there or [], wanted, _usual(there)))

    @classmethod
    def counted(cls, name: str, wanted: Any, there: Any) -> Any:
        """Of each object, what its manifest says too; of others the name alone."""
        if name not in ("definition", "src") or not isinstance(there, list):
            return there
        asked = wanted if isinstance(wanted, list) else []
        usual = _usual(there)
        by_key = {_k8s.key(each, usual): each for each in asked}
        return [
            narrowed(live, by_key.get(_k8s.key(live, usual), {"kind": 0, "metadata": {"name": 0}}))
            for live in there
        ]

    @classmethod
    def describe_difference(cls, name: str, wanted: Any, there: Any) -> str | None:
        """Which objects, and where."""
        if name not in ("definition", "src"):
            return None
        return ", ".join(_k8s.fits(there or [], wanted, _usual(there)))

    def foreseen(self) -> str | None:
        """Cluster and namespace; its record is named after the lab and the address."""
        if isinstance(self.cluster_name, Unknown) or isinstance(self.namespace, Unknown):
            return None
        return f"{self.cluster_name}/{self.namespace}"

    def create(self, world: World) -> str:
        """A record of what belongs to it (a ConfigMap), then PATCH (server-side apply) for each manifest."""
        cluster = _reached(world, self.cluster_name)
        record = Ref("v1", "ConfigMap", self.namespace, _record_name(world))
        id = f"{self.cluster_name}/{self.namespace}/{record.name}"
        self._refuse_others(world, cluster)
        self._bring_namespace(world, cluster)
        self._note(world, cluster, record, self._refs(cluster))
        finish(world, id, lambda: self._apply(world, cluster))
        return id

    def _refs(self, cluster: Cluster) -> list[Ref]:
        return _k8s.refs_of(_k8s.in_order(self.manifests()), self.namespace, cluster)

    def _refuse_others(self, world: World, cluster: Cluster) -> None:
        for ref in self._refs(cluster):
            live = cluster.get(ref)
            if live is not None and _owner(live) != _ours(world):
                whose = _owner(live)
                by = f"; it belongs to {whose}" if whose else ", and labctl did not make it"
                raise StepFailed(f"{ref} is there already{by}", "give yours another name, or delete that one")

    def _bring_namespace(self, world: World, cluster: Cluster) -> None:
        """The record needs its namespace before the manifests bring it."""
        for manifest in self.manifests():
            if manifest["kind"] == "Namespace" and manifest["metadata"]["name"] == self.namespace:
                cluster.apply(self._owned(world, manifest), self.namespace)

    def _note(self, world: World, cluster: Cluster, record: Ref, refs: Sequence[Ref]) -> None:
        told = [[ref.api_version, ref.kind, ref.namespace, ref.name] for ref in refs]
        labels = {"app.kubernetes.io/managed-by": "labctl"}
        document = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": record.name,
                "namespace": record.namespace,
                "labels": labels,
                "annotations": {OWNER: _ours(world), TOKEN: world.job.token},
            },
            "data": {"objects": json.dumps(told)},
        }
        cluster.apply(document, self.namespace)

    def _owned(self, world: World, manifest: Mapping[str, Any]) -> dict[str, Any]:
        about = dict(manifest["metadata"])
        about["annotations"] = {**(about.get("annotations") or {}), OWNER: _ours(world)}
        return {**manifest, "metadata": about}

    def _apply(self, world: World, cluster: Cluster) -> None:
        for manifest in _k8s.in_order(self.manifests()):
            cluster.apply(self._owned(world, manifest), self.namespace)
        if self.wait:
            for ref in self._refs(cluster):
                _await(world, cluster, ref)

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """GET of the record and of each object in it; DescribeCluster once for each cluster."""
        found = {}
        clusters: dict[str, Cluster | None] = {}
        for id in sorted(set(ids)):
            name = id.partition("/")[0]
            if name not in clusters:
                clusters[name] = reach(world.aws, name)
            cluster = clusters[name]
            refs = _recorded(cluster, id) if cluster is not None else None
            if cluster is not None and refs is not None:
                found[id] = _values(cluster, id, refs)
        return found

    @classmethod
    def unsettles(cls, changed: frozenset[str]) -> frozenset[str]:
        """Changed manifests may bring other objects and addresses."""
        both = changed & {"definition", "src"}
        return frozenset({"objects", "load_balancer", "load_balancers"}) if both else frozenset()

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """The manifests applied again; objects that no longer stand in them are deleted."""
        cluster = _reached(world, self.cluster_name)
        record = _record(id)
        before, after = _recorded(cluster, id) or [], self._refs(cluster)
        self._refuse_others(world, cluster)
        self._note(world, cluster, record, [*before, *(ref for ref in after if ref not in before)])
        self._apply(world, cluster)
        gone = [ref for ref in before if ref not in after]
        _remove(world, cluster, gone)
        if gone:
            self._note(world, cluster, record, after)

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DELETE of each object, the last applied first, until they are gone; then of the record."""
        cluster = reach(world.aws, id.partition("/")[0])
        refs = _recorded(cluster, id) if cluster is not None else None
        if cluster is None or refs is None:
            return
        _remove(world, cluster, refs)
        cluster.delete(_record(id))

    @classmethod
    def find(cls, world: World) -> list[str]:
        """Its record, where that bears the job's lab, address and token."""
        name, _, namespace = world.job.foreseen.partition("/")
        cluster = reach(world.aws, name) if name else None
        if cluster is None:
            return []
        record = Ref("v1", "ConfigMap", namespace, _record_name(world))
        there = cluster.get(record)
        if there is None or _owner(there) != _ours(world):
            return []
        token = (there["metadata"].get("annotations") or {}).get(TOKEN)
        return (
            [f"{name}/{namespace}/{record.name}"] if not world.job.token or token == world.job.token else []
        )

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws eks update-kubeconfig`, then `kubectl apply` or `delete`."""
        if action == "delete":
            name, namespace, record = [*(id or "").split("/"), "", ""][:3]
            objects = self._beside.there.get("objects", [])
            lines = [
                f"kubectl delete {word(kind.lower())} {word(place.rpartition('/')[2])}"
                + (f" --namespace {word(place.partition('/')[0])}" if place.partition("/")[0] else "")
                for kind, place in (each.split(" ", 1) for each in reversed(objects))
            ]
            last = f"kubectl delete configmap {word(record)} --namespace {word(namespace)}"
            return [f"aws eks update-kubeconfig --name {word(name)}", *lines, last]
        applied = f"kubectl apply --server-side --namespace {word(self.namespace)} --filename -"
        return [
            f"aws eks update-kubeconfig --name {word(self.cluster_name)}",
            f"{applied} <<< {self._manifests_by_hand()}",
        ]

    def _manifests_by_hand(self) -> str:
        """The manifests as one word of a shell command."""
        src = self.src.text if isinstance(self.src, TemplateFile) else self.src
        if src is not None:
            return word(src)
        return json_word({"apiVersion": "v1", "kind": "List", "items": self.manifests()})

    def price(self) -> float | None:
        """Nothing by itself; load balancers and Fargate pods are not counted here."""
        return 0.0


def _ours(world: World) -> str:
    return f"{world.lab} {world.job.address}"


def _owner(live: Mapping[str, Any]) -> str:
    return str((live["metadata"].get("annotations") or {}).get(OWNER, ""))


def _record_name(world: World) -> str:
    name = _LABEL.sub("-", f"labctl-{world.lab}-{world.job.address}".lower())
    return name.strip("-.")[:253]


def _record(id: str) -> Ref:
    _, namespace, name = id.split("/", 2)
    return Ref("v1", "ConfigMap", namespace, name)


def _reached(world: World, name: str) -> Cluster:
    cluster = reach(world.aws, name)
    if cluster is None:
        raise StepFailed(f"there is no cluster {name}", "give the name of an eks_cluster that is there")
    return cluster


def _recorded(cluster: Cluster, id: str) -> list[Ref] | None:
    """The objects in the record; None where there is no record."""
    there = cluster.get(_record(id))
    return None if there is None else [Ref(*each) for each in json.loads(there["data"]["objects"])]


def _usual(there: Any) -> str:
    """The namespace that what is read lies in."""
    places = [each["metadata"].get("namespace") for each in there or ()]
    return str(next((place for place in places if place), "default"))


def _values(cluster: Cluster, id: str, refs: Sequence[Ref]) -> Values:
    name, namespace, _ = id.split("/", 2)
    live = [(ref, found) for ref in refs if (found := cluster.get(ref)) is not None]
    balancers = [address for _, each in live for address in _k8s.addresses(each)]
    seen = [_k8s.visible(each) for _, each in live]
    return {
        "id": id,
        "cluster_name": name,
        "namespace": namespace,
        "definition": seen,
        "src": seen,
        "objects": [str(ref) for ref, _ in live],
        "load_balancers": balancers,
        "load_balancer": balancers[0] if balancers else None,
    }


def _await(world: World, cluster: Cluster, ref: Ref) -> None:
    """Waits until an object is ready. Raises StepFailed with what its pods say where that takes too long."""
    last: list[str] = []

    def look() -> bool | None:
        live = cluster.get(ref)
        if live is None:
            raise StepFailed(f"{ref} was deleted by somebody else")
        broken = _k8s.failed(live)
        if broken is not None:
            raise StepFailed(f"{ref}: {broken}")
        why = _k8s.not_ready(cluster, live)
        if why is not None and [why] != last:
            last[:] = [why]
            world.job.say(f"{ref}: {why}")
        return True if why is None else None

    try:
        world.aws.poll(look, what=f"{ref} to be ready", timeout=seconds(world, _TAKES), say=world.job.say)
    except StepFailed as error:
        words = f"{error.message}; {ref}: {last[0]}" if last and "gave up" in error.message else error.message
        raise StepFailed(words, error.remedy) from None


def _remove(world: World, cluster: Cluster, refs: Sequence[Ref]) -> None:
    for ref in reversed(refs):
        cluster.delete(ref)
    for ref in reversed(refs):
        _await_gone(world, cluster, ref)


def _await_gone(world: World, cluster: Cluster, ref: Ref) -> None:
    def look() -> bool | None:
        return True if cluster.get(ref) is None else None

    world.aws.poll(look, what=f"{ref} to be gone", timeout=seconds(world, _GOES), say=world.job.say)
