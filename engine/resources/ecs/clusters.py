"""Clusters: what tasks and services of ECS belong to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from engine.aws.errors import AwsError
from engine.aws.tags import is_made_by, readable, told_tags
from engine.by_hand import assign, aws, filled, json_word, variable, word
from engine.errors import StepFailed
from engine.refs import Unknown
from engine.resource import Fixed, Output, Place, Values, plain
from engine.resources.aws._aws import finish, insist, seconds, service_linked_role
from engine.resources.ecs._ecs import (
    CapacityProviderStrategyItem,
    InEcs,
    Name,
    ask,
    clusters,
    in_chunks,
    new_tags,
    once_settled,
    strategy_request,
    strategy_words,
)

if TYPE_CHECKING:
    from engine.world import World

_A_REQUEST: Final = 100
"""The most clusters that DescribeClusters takes."""
_ENDS: Final = 300.0
"""Seconds that the tasks of a cluster are given to stop."""
_BUSY: Final = frozenset(
    {
        "ClusterContainsTasksException",
        "ClusterContainsServicesException",
        "ClusterContainsContainerInstancesException",
        "ClusterContainsCapacityProviderException",
        "UpdateInProgressException",
    }
)


class EcsCluster(InEcs):
    """An ECS cluster: what tasks and services belong to; with Fargate it has no machines, and is free."""

    kind: ClassVar[str] = "ecs_cluster"
    actions: ClassVar[Sequence[str]] = (
        "ecs:CreateCluster",
        "ecs:DescribeClusters",
        "ecs:ListClusters",
        "ecs:UpdateCluster",
        "ecs:PutClusterCapacityProviders",
        "ecs:DeleteCluster",
        "ecs:TagResource",
        "ecs:UntagResource",
        "iam:CreateServiceLinkedRole",
    )
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("the cluster's ARN"),
        "arn": Output("the same as id"),
        "status": Output("ACTIVE"),
    }

    name: Fixed[Name]
    """Letters, digits, _ and -; unique in the account and region."""
    container_insights: Literal["disabled", "enabled", "enhanced"] | None = None
    """Metrics of tasks and containers in CloudWatch, which are billed; as the account says where left out."""
    capacity_providers: list[str] | None = None
    """FARGATE, FARGATE_SPOT, or names of the account's own."""
    capacity_provider_strategy: list[CapacityProviderStrategyItem] | None = None
    """What runs where nothing else is said."""

    @classmethod
    def differs(cls, name: str, wanted: Any, there: Any) -> bool:
        """Capacity providers in any order."""
        if name == "capacity_providers" and isinstance(there, list):
            return {str(one) for one in wanted} != set(there)
        if name == "capacity_provider_strategy":
            return bool(strategy_words(strategy_request(wanted)) != there)
        return super().differs(name, wanted, there)

    def reach(self, place: Place) -> Mapping[str, Sequence[str]]:
        """This cluster alone; lists are of all."""
        arn = self.foretold(place).get("arn")
        general = {"ecs:CreateCluster", "ecs:ListClusters", "iam:CreateServiceLinkedRole"}
        own = {action: [arn] for action in self.actions if action not in general} if arn else {}
        return {**own, **service_linked_role(place, "ecs", "ECS")}

    def foretold(self, place: Place) -> Values:
        """Its ARN."""
        if isinstance(self.name, Unknown):
            return {}
        arn = place.arn("ecs", f"cluster/{self.name}")
        return {"id": arn, "arn": arn}

    def create(self, world: World) -> str:
        """CreateCluster, which would give back a cluster of that name that is there: looked for first."""
        self._refuse_another(world)
        request = {
            "clusterName": self.name,
            "settings": self._settings(),
            "capacityProviders": self.capacity_providers,
            "defaultCapacityProviderStrategy": strategy_request(plain(self.capacity_provider_strategy)),
            "tags": new_tags(world),
        }
        answer = once_settled(world, lambda: ask(world, "create_cluster", **request))
        id = str(answer["cluster"]["clusterArn"])
        finish(world, id, lambda: _until_active(world, id))
        return id

    def _refuse_another(self, world: World) -> None:
        for cluster in _described(world, [self.name]):
            if not is_made_by(world, told_tags(cluster.get("tags"))):
                raise StepFailed(
                    f"an ECS cluster called {self.name} is there already, and this resource did not make it",
                    "choose another name, or delete that cluster if nobody needs it",
                )

    def _settings(self) -> list[dict[str, str]] | None:
        if self.container_insights is None:
            return None
        return [{"name": "containerInsights", "value": self.container_insights}]

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """DescribeClusters, 100 at a time; an INACTIVE one is gone."""
        return {str(one["clusterArn"]): _values(one) for one in _described(world, ids)}

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """UpdateCluster, PutClusterCapacityProviders."""
        if "container_insights" in changed and self.container_insights is not None:
            ask(world, "update_cluster", cluster=id, settings=self._settings())
        if changed & {"capacity_providers", "capacity_provider_strategy"}:
            insist(
                world,
                lambda: ask(world, "put_cluster_capacity_providers", **self._capacity(id)),
                lambda error: error.code == "UpdateInProgressException",
                what="the cluster's last change to end",
                timeout=seconds(world, _ENDS),
            )
            _until_active(world, id)

    def _capacity(self, id: str) -> dict[str, Any]:
        strategy = strategy_request(plain(self.capacity_provider_strategy)) or []
        return {
            "cluster": id,
            "capacityProviders": self.capacity_providers or [],
            "defaultCapacityProviderStrategy": strategy,
        }

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DeleteCluster; waits while tasks and services in it are still ending."""
        try:
            insist(
                world,
                lambda: ask(world, "delete_cluster", cluster=id),
                lambda error: error.code in _BUSY,
                what="the cluster's tasks to end",
                timeout=seconds(world, _ENDS),
            )
        except AwsError as error:
            if error.code in _BUSY:
                raise StepFailed(
                    f"the cluster cannot be deleted: {error.message}",
                    "stop what runs in it (`aws ecs list-tasks`, `list-services`), then run it again",
                ) from None
            if not error.not_found:
                raise

    @classmethod
    def find(cls, world: World) -> list[str]:
        """By the tags that CreateCluster was sent with."""
        there = _described(world, clusters(world))
        return [str(one["clusterArn"]) for one in there if is_made_by(world, told_tags(one.get("tags")))]

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws ecs create-cluster`, `update-cluster`, `put-cluster-capacity-providers`, `delete-cluster`."""
        if action == "delete":
            return [f"aws ecs delete-cluster --cluster {word(id)}"]
        settings = self._settings()
        strategy = strategy_request(plain(self.capacity_provider_strategy))
        if action == "create":
            command = aws(
                "create-cluster",
                service="ecs",
                cluster_name=self.name,
                capacity_providers=self.capacity_providers,
            )
            if settings:
                command += f" --settings {json_word(settings)}"
            if strategy:
                command += f" --default-capacity-provider-strategy {json_word(strategy)}"
            lines = [assign(self._address, f"{command} --query cluster.clusterArn --output text")]
            arn = f"{variable(self._address, 'arn')}={word(filled(self))}"
            return [*lines, arn] if "arn" in self._beside.needed else lines
        lines = []
        if "container_insights" in changed and settings:
            lines.append(f"aws ecs update-cluster --cluster {word(id)} --settings {json_word(settings)}")
        if changed & {"capacity_providers", "capacity_provider_strategy"}:
            providers = " ".join(map(word, self.capacity_providers or ())) or "[]"
            lines.append(
                f"aws ecs put-cluster-capacity-providers --cluster {word(id)}"
                f" --capacity-providers {providers}"
                f" --default-capacity-provider-strategy {json_word(strategy or [])}"
            )
        return lines


def _described(world: World, names: Sequence[str]) -> list[dict[str, Any]]:
    """The clusters of these names or ARNs that are there."""
    found: list[dict[str, Any]] = []
    for chunk in in_chunks(names, _A_REQUEST):
        answer = ask(world, "describe_clusters", clusters=chunk, include=["TAGS", "SETTINGS"])
        found += [one for one in answer["clusters"] if one.get("status") != "INACTIVE"]
    return found


def _values(given: Mapping[str, Any]) -> Values:
    settings = {one["name"]: one["value"] for one in given.get("settings") or ()}
    return {
        "id": given["clusterArn"],
        "arn": given["clusterArn"],
        "name": given["clusterName"],
        "status": given.get("status"),
        "container_insights": settings.get("containerInsights"),
        "capacity_providers": sorted(given.get("capacityProviders") or ()),
        "capacity_provider_strategy": strategy_words(given.get("defaultCapacityProviderStrategy")),
        "tags": readable(told_tags(given.get("tags"))),
    }


def _until_active(world: World, id: str) -> None:
    """Wait until a cluster and its capacity providers are ready (`ACTIVE`, no update in progress)."""

    def ready() -> bool | None:
        for cluster in _described(world, [id]):
            if cluster.get("status") == "FAILED":
                raise StepFailed(f"ECS could not make the cluster {id}", "look at its capacity providers")
            if cluster.get("status") == "ACTIVE" and cluster.get("attachmentsStatus") != "UPDATE_IN_PROGRESS":
                return True
        return None

    world.aws.poll(ready, what="the cluster to be active", timeout=seconds(world, _ENDS), say=world.job.say)
