"""Hosts as containers: Debian with systemd, OpenSSH and a Docker Engine of its own, in a network like a VPC.

Everything is done with the `docker` command; nothing here needs root, only a Docker Engine that may be used.
"""

from __future__ import annotations

from engine.sandbox.containers.engine import check, remove_all
from engine.sandbox.containers.fabric import Fabric
from engine.sandbox.containers.machine import ContainerMachine

__all__ = ["ContainerMachine", "Fabric", "check", "remove_all"]
