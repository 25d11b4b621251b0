"""An example of each kind that lives on a host: what to create, and what to change it to in place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class HostExample:
    """`create` and `update` are the fields; `before` are examples (kind, fields) that must be there first."""

    kind: str
    create: Mapping[str, Any]
    update: Mapping[str, Any] = field(default_factory=dict)
    """Fields that differ from `create` and are changed in place; empty where nothing can be."""
    before: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    """Texts to be found beside the playbook, by path."""


_ENGINE = (("docker_engine", {"users": ["ubuntu"]}),)

HOST_EXAMPLES: tuple[HostExample, ...] = (
    HostExample("apt", {"name": ["tree", "jq"]}, {"name": ["tree", "htop"]}),
    HostExample(
        "file",
        {"path": "/srv/www", "type": "directory", "mode": "0750"},
        {"mode": "0755", "group": "adm"},
    ),
    HostExample(
        "copy", {"dest": "/srv/motd", "content": "hello\n", "mode": "0644"}, {"content": "goodbye\n"}
    ),
    HostExample(
        "template",
        {"dest": "/srv/page", "src": "page.j2"},
        {"mode": "0600"},
        files={"page.j2": "a page\n"},
    ),
    HostExample("command", {"cmd": "echo made; date"}, {"triggers": ["again"]}),
    HostExample("reboot", {"reboot_timeout": 120}, {"triggers": ["again"]}),
    HostExample(
        "user",
        {
            "name": "alice",
            "shell": "/bin/bash",
            "groups": ["adm"],
            "ssh_authorized_keys": ["ssh-ed25519 AAAA a"],
        },
        {"shell": "/bin/sh", "ssh_authorized_keys": ["ssh-ed25519 BBBB b"]},
    ),
    HostExample(
        "systemd_service",
        {
            "name": "hello",
            "enabled": True,
            "running": True,
            "unit": "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n"
            "[Install]\nWantedBy=multi-user.target\n",
        },
        {"enabled": False},
    ),
    HostExample("docker_engine", {"channel": "stable"}, {"users": ["ubuntu"]}),
    HostExample(
        "docker_image",
        {"name": "example:1", "build": {"path": "image", "args": {"WHO": "me"}}},
        {"build": {"path": "image", "args": {"WHO": "you"}}},
        before=_ENGINE,
        files={"image/Dockerfile": "FROM alpine:3\nARG WHO\nCMD sleep 1000\n"},
    ),
    HostExample(
        "docker_network", {"name": "net1", "ipam_config": [{"subnet": "10.9.0.0/24"}]}, before=_ENGINE
    ),
    HostExample("docker_volume", {"name": "data1", "labels": {"sort": "example"}}, before=_ENGINE),
    HostExample(
        "docker_container",
        {
            "name": "web",
            "image": "httpd:2.4",
            "published_ports": ["8003:80"],
            "volumes": ["/srv/www:/usr/local/apache2/htdocs/:ro"],
            "env": {"A": "1", "B": "two words"},
            "restart_policy": "unless-stopped",
        },
        {"restart_policy": "always", "memory": "256m"},
        before=_ENGINE,
    ),
)
