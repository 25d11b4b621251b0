"""EKS and what runs in its clusters: refusals, waiting, and words for pods that do not start."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from engine.aws.errors import AwsError
from engine.errors import HalfMade, StepFailed
from engine.k8s import Ref, reach
from engine.resource import Beside
from engine.resources.eks import _k8s
from engine.resources.eks.clusters import EksCluster
from engine.resources.eks.manifests import K8s
from engine.resources.eks.nodes import EksNodegroup
from tests.kinds.aws_examples.eks import a_cluster, a_cluster_with_nodes, a_profile, web
from tests.kinds.aws_stage import Stage
from tests.kinds.scripted_aws import TAGS, Line, Play

ROLE = "arn:aws:iam::123456789012:role/eks"


def test_objects_are_applied_changed_pruned_and_gone(stage: Stage) -> None:
    name = a_cluster_with_nodes(stage)
    world = stage.world()
    first = K8s(cluster_name=name, definition=web(1, "hello"))
    id = first.create(world)
    cluster = reach(stage.aws, name)
    assert cluster is not None
    words = Ref("v1", "ConfigMap", "default", "words")
    assert (cluster.get(words) or {})["data"] == {"text": "hello"}
    without = K8s(cluster_name=name, definition=web(1, "hello")[1:])
    there = K8s.read_many(world, [id])[id]
    assert K8s.describe_difference("definition", without.wanted()["definition"], there["definition"]) == (
        "ConfigMap words is no longer wanted"
    )
    without.update(world, id, frozenset({"definition"}))
    assert cluster.get(words) is None
    assert K8s.read_many(world, [id])[id]["objects"] == ["Service default/web", "Deployment default/web"]
    K8s.delete(world, id)
    assert cluster.listed("v1", "ConfigMap", "default", {}) == []
    assert cluster.listed("v1", "Pod", "default", {}) == []


def test_what_somebody_else_made_is_not_taken(stage: Stage) -> None:
    name = a_cluster_with_nodes(stage)
    cluster = reach(stage.aws, name)
    assert cluster is not None
    cluster.apply(web(1, "theirs")[0], "default")
    with pytest.raises(
        StepFailed, match="ConfigMap default/words is there already, and labctl did not make it"
    ):
        K8s(cluster_name=name, definition=web(1, "mine")).create(stage.world())
    assert (cluster.get(Ref("v1", "ConfigMap", "default", "words")) or {})["data"] == {"text": "theirs"}
    assert K8s.find(stage.world(foreseen=f"{name}/default")) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image": "nowhere/nothing:1"}, "ImagePullBackOff: Back-off pulling image"),
        ({"command": ["no-such-program"]}, "CrashLoopBackOff: the program has ended with exit code 127"),
    ],
)
def test_pods_that_do_not_start_say_why(stage: Stage, change: dict[str, Any], words: str) -> None:
    name = a_cluster_with_nodes(stage)
    manifests = copy.deepcopy(web(1, "x")[1:2])
    manifests[0]["spec"]["template"]["spec"]["containers"][0] |= change
    world = stage.world(timeout=2)
    with pytest.raises(HalfMade, match=words) as raised:
        K8s(cluster_name=name, definition=manifests).create(world)
    K8s.delete(stage.world(), raised.value.id)


def test_pods_without_nodes_say_so(stage: Stage) -> None:
    wanted = a_cluster(stage)
    stage.make(wanted, "cluster")
    with pytest.raises(HalfMade, match="the cluster has no nodes, and no Fargate profile fits") as raised:
        K8s(cluster_name=wanted.name, definition=web(1, "x")[1:2]).create(stage.world(timeout=1))
    K8s.delete(stage.world(), raised.value.id)


def test_a_job_runs_to_its_end_on_fargate(stage: Stage) -> None:
    profile = a_profile(stage, {"namespace": "default"})
    stage.make(profile, "profile")

    def job(name: str, code: str) -> K8s:
        container = {"name": "sum", "image": "python:3.12-slim", "command": ["python", "-c", code]}
        spec = {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}
        manifest = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}
        return K8s(cluster_name=profile.cluster_name, definition=manifest)

    world = stage.world("good")
    id = job("good", "print(1 + 1)").create(world)
    K8s.delete(world, id)
    with pytest.raises(HalfMade, match="the pod has failed: no luck") as raised:
        job("bad", "import sys; print('no luck'); sys.exit(3)").create(stage.world("bad"))
    K8s.delete(stage.world("bad"), raised.value.id)


def test_a_cluster_with_nodes_is_not_deleted(stage: Stage) -> None:
    name = a_cluster_with_nodes(stage)
    with pytest.raises(AwsError, match="Cluster has nodegroups attached"):
        stage.aws.call("eks", "delete_cluster", name=name)


def test_strangers_are_not_let_in(stage: Stage) -> None:
    import urllib3

    name = a_cluster_with_nodes(stage)
    endpoint = stage.aws.call("eks", "describe_cluster", name=name)["cluster"]["endpoint"]
    answer = urllib3.request("GET", f"{endpoint}/api/v1/namespaces/default/secrets")
    assert answer.status == 401


def test_values_of_secrets_are_only_hashes() -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "key"},
        "stringData": {"password": "hunter2"},
    }
    wish = K8s(cluster_name="c", definition=secret)
    assert "hunter2" not in str(wish.wanted())
    assert "hunter2" in str(wish.in_full())
    live = {**secret, "data": {"password": "aHVudGVyMg=="}}
    live.pop("stringData")
    assert not K8s.differs("definition", wish.wanted()["definition"], [_k8s.visible(live)])


@pytest.mark.parametrize(
    ("there", "wanted", "is_same"),
    [
        ("500m", 0.5, True),
        ("500m", "0.5", True),
        ("1Gi", "1024Mi", True),
        ("1G", "1Gi", False),
        ("1", 1, True),
        ("web", "api", False),
        ("true", True, True),
    ],
)
def test_quantities(there: Any, wanted: Any, is_same: bool) -> None:
    assert _k8s.same(there, wanted) is is_same


@pytest.mark.parametrize(
    ("kind", "fields", "words"),
    [
        (EksCluster, {"name": "a b", "role_arn": ROLE, "subnets": ["s1", "s2"]}, "cannot be a name in EKS"),
        (EksCluster, {"name": "a", "role_arn": ROLE, "subnets": ["s1"]}, "at least 2 items"),
        (EksCluster, {"name": "a", "role_arn": ROLE, "subnets": ["s1", "s2"], "version": 1.3}, "in quotes"),
        (
            EksCluster,
            {
                "name": "a",
                "role_arn": ROLE,
                "subnets": ["s1", "s2"],
                "endpoint_public_access": False,
            },
            "nobody could reach the API",
        ),
        (
            EksNodegroup,
            {
                "name": "a",
                "cluster_name": "c",
                "node_role": ROLE,
                "subnets": ["s"],
                "scaling_config": {"min_size": 2, "max_size": 3, "desired_size": 1},
            },
            "must lie between min_size and max_size",
        ),
        (K8s, {"cluster_name": "c"}, "write either definition or src"),
        (K8s, {"cluster_name": "c", "definition": {"kind": "Pod"}}, "has no apiVersion and no metadata.name"),
        (K8s, {"cluster_name": "c", "definition": web(1, "x")[:1] * 2}, "stands in it twice"),
    ],
)
def test_what_is_refused(kind: type[Any], fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        kind.model_validate(fields)


def cluster_says(status: str, **more: Any) -> Line:
    return "describe_cluster", {"name": "c"}, {"cluster": {"name": "c", "status": status, **more}}


def test_a_cluster_that_fails_says_why(scripted: Play) -> None:
    wish = EksCluster(name="c", role_arn=ROLE, subnets=["subnet-1", "subnet-2"])
    asked = {"name": "c", **wish._asked(), "tags": TAGS, "clientRequestToken": "t-1"}
    late = AwsError(
        "CreateCluster", "InvalidParameterException", f"Role with arn: {ROLE}, could not be assumed"
    )
    issues = {"issues": [{"code": "InsufficientFreeAddresses", "message": "subnet-1 is full"}]}
    aws = scripted(
        [
            ("create_cluster", asked, late),
            ("create_cluster", asked, {"cluster": {}}),
            cluster_says("CREATING"),
            cluster_says("FAILED", health=issues),
            cluster_says("FAILED", health=issues),
        ]
    )
    with pytest.raises(HalfMade, match=r"FAILED: subnet-1 is full \(InsufficientFreeAddresses\)"):
        wish.create(aws.world())


def test_a_change_waits_for_the_one_before_and_says_why_it_failed(scripted: Play) -> None:
    wish = EksCluster(name="c", role_arn=ROLE, subnets=["subnet-1", "subnet-2"], version="1.33")
    asked = {"name": "c", "version": "1.33", "clientRequestToken": "t-1"}
    busy = AwsError("UpdateClusterVersion", "ResourceInUseException", "Cluster is currently being updated")
    update = {"name": "c", "updateId": "u-1"}
    failed = {"id": "u-1", "status": "Failed", "errors": [{"errorMessage": "nodes are too old"}]}
    aws = scripted(
        [
            ("update_cluster_version", asked, busy),
            ("update_cluster_version", asked, {"update": {"id": "u-1"}}),
            ("describe_update", update, {"update": {"id": "u-1", "status": "InProgress"}}),
            ("describe_update", update, {"update": failed}),
        ]
    )
    with pytest.raises(StepFailed, match="is Failed: nodes are too old"):
        wish.update(aws.world(), "c", frozenset({"version"}))


# -- by hand -------------------------------------------------------------------------------------------------


def test_commands_change_what_has_changed() -> None:
    cluster = EksCluster(
        name="c",
        role_arn=ROLE,
        subnets=["subnet-1", "subnet-2"],
        enabled_logs=["api", "audit", "authenticator", "controllerManager", "scheduler"],
    ).at("cluster")
    config, _ = cluster.as_commands("update", "c", frozenset({"enabled_logs"}))
    assert config.startswith("aws eks update-cluster-config --name c --logging ")
    config, _ = cluster.as_commands("update", "c", frozenset({"subnets"}))
    assert config.endswith('\'{"subnetIds": ["subnet-1", "subnet-2"], "securityGroupIds": []}\'')
    nodes = EksNodegroup(
        name="workers", cluster_name="c", node_role=ROLE, subnets=["subnet-1"], labels={"sort": "gpu"}
    ).at("nodes", Beside(there={"labels": {"old": "yes"}}))
    config, _ = nodes.as_commands("update", "c/workers", frozenset({"labels"}))
    assert config == (
        "aws eks update-nodegroup-config --cluster-name c --nodegroup-name workers "
        '--scaling-config \'{"minSize": 1, "maxSize": 2, "desiredSize": 1}\' '
        '--labels \'{"addOrUpdateLabels": {"sort": "gpu"}, "removeLabels": ["old"]}\''
    )
