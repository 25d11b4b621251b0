"""Pods: made for deployments and jobs, run as workloads, and what they say of themselves."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

import moto.backends

from engine.sandbox.kubernetes.objects import Key, Objects, has_labels, now
from engine.sandbox.workloads.images import NoSuchImage
from engine.sandbox.workloads.running import Workload, Workloads

_HASH: Final = "pod-template-hash"
_OWNER: Final = "sandbox/owner"
_RESTARTS_AFTER: Final = 10.0
_OWNERS: Final = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job")
_VARIABLE: Final = re.compile(r"\$\(([A-Za-z_]\w*)\)")


@dataclass
class Started:
    """A pod's program: the workload, or why there is none."""

    workload: Workload | None
    reason: str = ""
    message: str = ""
    at: float = 0.0
    restarts: int = 0


class Pods:
    """What runs in all clusters of an account. Its methods are called under the cloud's lock."""

    def __init__(self, account: str, objects: Objects, workloads: Callable[[], Workloads | None]) -> None:
        self._account = account
        self._objects = objects
        self._workloads = workloads
        self._running: dict[Key, Started] = {}

    def settle(self, cluster: str) -> None:
        """Brings a cluster's pods, and what their owners say of them, to what is asked for."""
        for kind in _OWNERS:
            for key, owner in list(self._objects.of(cluster, kind)):
                self._settle_owner(key, owner)
        for key, pod in list(self._objects.of(cluster, "Pod")):
            named = (pod["metadata"].get("annotations") or {}).get(_OWNER)
            if named and self._owner(key.cluster, named) is None:
                self.end(key)
                continue
            self._settle_pod(key, pod)
        for kind in _OWNERS:
            for key, owner in list(self._objects.of(cluster, kind)):
                owner["status"] = self._status(key, owner)

    def workload(self, key: Key) -> Workload | None:
        """What runs in a pod; None where nothing does."""
        started = self._running.get(key)
        workload = started.workload if started else None
        return workload if workload is not None and workload.exit_code is None else None

    def end(self, key: Key) -> None:
        """Ends a pod and forgets it."""
        started = self._running.pop(key, None)
        if started is not None and started.workload is not None:
            started.workload.remove()
        self._objects.by_key.pop(key, None)

    def stop(self, cluster: str) -> None:
        """Ends all pods of a cluster."""
        for key, _ in list(self._objects.of(cluster, "Pod")):
            self.end(key)

    # -- owners ----------------------------------------------------------------------------------------------

    def _owner(self, cluster: str, named: str) -> dict[str, Any] | None:
        kind, namespace, name = named.split("/")
        found = [doc for key, doc in self._objects.of(cluster, kind, namespace) if key.name == name]
        return found[0] if found else None

    def _own_pods(self, key: Key) -> list[tuple[Key, dict[str, Any]]]:
        named = f"{key.kind}/{key.namespace}/{key.name}"
        return [
            (pod_key, pod)
            for pod_key, pod in self._objects.of(key.cluster, "Pod", key.namespace)
            if (pod["metadata"].get("annotations") or {}).get(_OWNER) == named
        ]

    def _settle_owner(self, key: Key, owner: Mapping[str, Any]) -> None:
        template = (owner.get("spec") or {}).get("template") or {}
        digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]
        pods = self._own_pods(key)
        current = [each for each in pods if each[1]["metadata"]["labels"][_HASH] == digest]
        wanted = _wanted(key, owner)
        for pod_key, _ in [each for each in pods if each not in current] + current[wanted:]:
            self.end(pod_key)
        for _ in range(wanted - len(current)):
            self._make(key, template, digest)

    def _make(self, key: Key, template: Mapping[str, Any], digest: str) -> None:
        about = dict(template.get("metadata") or {})
        name = f"{key.name}-{digest[:8]}-{uuid.uuid4().hex[:5]}"
        labels = {**(about.get("labels") or {}), _HASH: digest}
        annotations = {**(about.get("annotations") or {}), _OWNER: f"{key.kind}/{key.namespace}/{key.name}"}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"labels": labels, "annotations": annotations},
            "spec": template.get("spec") or {},
        }
        self._objects.put(Key(key.cluster, "v1", "Pod", key.namespace, name), pod)

    def _status(self, key: Key, owner: Mapping[str, Any]) -> dict[str, Any]:
        pods = [pod for _, pod in self._own_pods(key)]
        ready = len([pod for pod in pods if _is(pod, "Ready")])
        generation = owner["metadata"]["generation"]
        if key.kind == "Job":
            return self._job_status(pods)
        wanted = _wanted(key, owner)
        available = {"type": "Available", "status": "True" if ready >= wanted else "False"}
        names = {"DaemonSet": ("numberAvailable", "desiredNumberScheduled")}.get(key.kind)
        counts = (
            {names[0]: ready, names[1]: wanted, "updatedNumberScheduled": len(pods)}
            if names
            else {"replicas": len(pods), "availableReplicas": ready, "readyReplicas": ready}
        )
        return {
            "observedGeneration": generation,
            "updatedReplicas": len(pods),
            **counts,
            "conditions": [available],
        }

    def _job_status(self, pods: list[dict[str, Any]]) -> dict[str, Any]:
        phases = [(pod.get("status") or {}).get("phase") for pod in pods]
        if "Failed" in phases:
            done = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}
            why = next(pod["status"].get("message", "") for pod in pods if pod["status"]["phase"] == "Failed")
            return {"failed": 1, "conditions": [{**done, "message": f"the pod has failed: {why}"}]}
        if phases and all(phase == "Succeeded" for phase in phases):
            return {"succeeded": len(phases), "conditions": [{"type": "Complete", "status": "True"}]}
        return {"active": len(phases)}

    # -- pods ------------------------------------------------------------------------------------------------

    def _settle_pod(self, key: Key, pod: dict[str, Any]) -> None:
        status = pod.get("status") or {}
        if status.get("phase") in ("Succeeded", "Failed"):
            return
        shut_out = self._unscheduled(key, pod)
        if shut_out is not None:
            waits = {
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": shut_out,
            }
            pod["status"] = {"phase": "Pending", "conditions": [waits]}
            return
        started = self._running.get(key) or self._start(key, pod)
        ended = started.workload.exit_code if started.workload is not None else None
        once = (pod.get("spec") or {}).get("restartPolicy") in ("Never", "OnFailure")
        if ended is not None and not once and time.time() - started.at > _RESTARTS_AFTER:
            restarts = started.restarts + 1
            if started.workload is not None:
                started.workload.remove()
            started = self._start(key, pod)
            started.restarts = restarts
        pod["status"] = _told(pod, started, once=once)

    def _start(self, key: Key, pod: Mapping[str, Any]) -> Started:
        """Runs the first container of a pod; the sandbox runs no second one."""
        container = ((pod.get("spec") or {}).get("containers") or [{}])[0]
        workloads = self._workloads()
        reference = str(container.get("image", ""))
        self._running[key] = started = Started(None, at=time.time())
        if workloads is None:
            started.reason, started.message = "CreateContainerError", "the sandbox runs no workloads"
            return started
        try:
            image = workloads.images.find(reference)
        except NoSuchImage as error:
            started.reason = "ImagePullBackOff"
            started.message = f'Back-off pulling image "{reference}": {error}'
            return started
        variables = self._variables(key, container)
        started.workload = workloads.start(
            image,
            name=f"pod/{key.name}",
            entrypoint=_filled(container.get("command"), variables),
            command=_filled(container.get("args"), variables),
            environment=variables,
            workdir=container.get("workingDir"),
        )
        return started

    def _variables(self, key: Key, container: Mapping[str, Any]) -> dict[str, str]:
        found: dict[str, str] = {}
        for source in container.get("envFrom") or ():
            for kind, name in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
                if name in source:
                    found |= self._values(key, kind, source[name]["name"])
        for each in container.get("env") or ():
            told = each.get("valueFrom") or {}
            for kind, name in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
                if name in told:
                    values = self._values(key, kind, told[name]["name"])
                    found[each["name"]] = values.get(told[name]["key"], "")
            if "value" in each:
                found[each["name"]] = str(each["value"])
        return found

    def _values(self, key: Key, kind: str, name: str) -> dict[str, str]:
        document = self._objects.by_key.get(Key(key.cluster, "v1", kind, key.namespace, name), {})
        data = document.get("data") or {}
        if kind == "ConfigMap":
            return dict(data)
        return {each: base64.b64decode(value).decode(errors="replace") for each, value in data.items()}

    def _unscheduled(self, key: Key, pod: Mapping[str, Any]) -> str | None:
        """Why a pod has nowhere to run; None where it has: a node, or a Fargate profile that wants it."""
        region, _, name = key.cluster.partition("/")
        cluster = moto.backends.get_backend("eks")[self._account][region].clusters.get(name)
        if cluster is None:
            return "the cluster is gone"
        if any(int(group.scaling_config.get("desiredSize", 1)) > 0 for group in cluster.nodegroups.values()):
            return None
        for profile in cluster.fargate_profiles.values():
            for selector in profile.selectors:
                if fnmatchcase(key.namespace, selector["namespace"]) and has_labels(
                    pod, selector.get("labels") or {}
                ):
                    return None
        return "no nodes available to schedule pods: the cluster has no nodes, and no Fargate profile fits"


def _wanted(key: Key, owner: Mapping[str, Any]) -> int:
    spec = owner.get("spec") or {}
    if key.kind == "DaemonSet":
        return 1
    return int(spec.get("completions" if key.kind == "Job" else "replicas", 1))


def _filled(words: Any, variables: Mapping[str, str]) -> list[str] | None:
    """A command with `$(NAME)` replaced, as Kubernetes does; None where the image's own is meant."""
    if words is None:
        return None
    return [_VARIABLE.sub(lambda match: variables.get(match[1], match[0]), str(word)) for word in words]


def _told(pod: Mapping[str, Any], started: Started, *, once: bool) -> dict[str, Any]:
    """The status of a pod."""
    container = ((pod.get("spec") or {}).get("containers") or [{}])[0]
    about = {"name": container.get("name"), "image": container.get("image"), "restartCount": started.restarts}
    if started.workload is None:
        waiting = {"reason": started.reason, "message": started.message}
        told = {**about, "ready": False, "state": {"waiting": waiting}}
        return {"phase": "Pending", "containerStatuses": [told], "conditions": [_condition(ready=False)]}
    code = started.workload.exit_code
    if code is None:
        ready = _is_listening(container, started.workload)
        told = {**about, "ready": ready, "state": {"running": {"startedAt": now()}}}
        return {"phase": "Running", "containerStatuses": [told], "conditions": [_condition(ready=ready)]}
    last = " ".join(line.text for line in started.workload.lines()[-3:])
    if once:
        ended = {"terminated": {"exitCode": code, "message": last}}
        phase = "Succeeded" if code == 0 else "Failed"
        return {"phase": phase, "message": last, "containerStatuses": [{**about, "state": ended}]}
    message = f"the program has ended with exit code {code}: {last}"
    told = {**about, "ready": False, "state": {"waiting": {"reason": "CrashLoopBackOff", "message": message}}}
    return {"phase": "Running", "containerStatuses": [told], "conditions": [_condition(ready=False)]}


def _condition(*, ready: bool) -> dict[str, str]:
    return {"type": "Ready", "status": "True" if ready else "False"}


def _is(pod: Mapping[str, Any], condition: str) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(each["type"] == condition and each["status"] == "True" for each in conditions)


def _is_listening(container: Mapping[str, Any], workload: Workload) -> bool:
    """Whether it listens on all the TCP ports that the manifest names."""
    ports = container.get("ports") or ()
    wanted = {int(each["containerPort"]) for each in ports if each.get("protocol", "TCP") == "TCP"}
    return wanted <= set(workload.ports())
