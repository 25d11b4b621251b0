"""A stage for AWS kinds: a world with a lab of its own, and what a test needs beforehand."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any, cast

from engine.aws import Aws
from engine.docker import Docker
from engine.hosts import Hosts
from engine.resource import Resource, Values
from engine.world import Job, World


@dataclass
class Stage:
    """Makes resources for one test and deletes them in the end, last made first."""

    aws: Aws
    lab: str = field(default_factory=lambda: f"test-{uuid.uuid4().hex[:8]}")
    made: list[tuple[type[Resource], str]] = field(default_factory=list)
    docker: Docker | None = None
    """The Docker Engine that builds images."""

    def world(self, address: str = "thing", token: str | None = None, **job: Any) -> World:
        tags = {"labctl:lab": self.lab, "labctl:address": address, "course": "w251"}
        token = uuid.uuid4().hex if token is None else token
        # Nothing of these kinds touches a host.
        hosts = cast(Hosts, None)
        job_at_hand = Job(address=address, token=token, tags=tags, **job)
        return World(self.lab, self.aws, hosts, job_at_hand, docker=self.docker)

    def make(self, resource: Resource, address: str = "other") -> Values:
        kind = type(resource)
        id = resource.create(self.world(address))
        self.made.append((kind, id))
        return kind.read_many(self.world(address), [id])[id]

    def clear(self) -> None:
        while self.made:
            kind, id = self.made.pop()
            kind.delete(self.world(), id)
