"""The images that the sandbox's registries hold: well-known ones, and more by the inventory."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_SHELL = ["bash"]

_NOTEBOOK: Mapping[str, Any] = {
    "tags": "python-3.11 lab-4.0.7",
    "cmd": ["start-notebook.sh"],
    "entrypoint": ["tini", "-g", "--"],
    "ports": ["8888/tcp"],
    "workdir": "/home/jovyan",
    "user": "1000",
    "system": "ubuntu-22.04",
}
"""What the images of Jupyter's notebooks have in common."""

_CATALOGUE: Mapping[str, Mapping[str, Any]] = {
    "hello-world": {"tags": "linux", "cmd": ["/hello"], "size": 10072, "system": "alpine-3.22"},
    "ubuntu": {
        "tags": "24.04 22.04 noble jammy rolling",
        "cmd": ["/bin/bash"],
        "size": 78_100_000,
        "system": "ubuntu-24.04",
        "systems": {"22.04": "ubuntu-22.04", "jammy": "ubuntu-22.04"},
    },
    "debian": {"tags": "12 bookworm bookworm-slim stable stable-slim", "cmd": _SHELL, "size": 117_000_000},
    "alpine": {"tags": "3 3.22 3.21 3.20", "cmd": ["/bin/sh"], "size": 8_310_000, "system": "alpine-3.22"},
    "busybox": {"tags": "1 1.37 stable uclibc", "cmd": ["sh"], "size": 4_280_000, "system": "alpine-3.22"},
    "httpd": {
        "tags": "2 2.4 2.4.65 2-alpine 2.4-alpine bookworm",
        "cmd": ["httpd-foreground"],
        "ports": ["80/tcp"],
        "workdir": "/usr/local/apache2",
        "size": 117_000_000,
        "env": ["HTTPD_PREFIX=/usr/local/apache2"],
        "files": {"/usr/local/apache2/htdocs/index.html": "<html><body><h1>It works!</h1></body></html>\n"},
    },
    "nginx": {
        "tags": "1 1.29 1.28 stable mainline alpine stable-alpine 1.27",
        "entrypoint": ["/docker-entrypoint.sh"],
        "cmd": ["nginx", "-g", "daemon off;"],
        "ports": ["80/tcp"],
        "size": 152_000_000,
        "files": {
            "/usr/share/nginx/html/index.html": (
                "<!DOCTYPE html>\n<html>\n<head>\n<title>Welcome to "
                "nginx!</title>\n</head>\n<body>\n<h1>Welcome to "
                "nginx!</h1>\n</body>\n</html>\n"
            )
        },
    },
    "python": {
        "tags": "3 3.9 3.10 3.11 3.12 3.13 3.11-slim 3.12-slim 3.13-slim slim 3-slim 3.12-alpine alpine",
        "cmd": ["python3"],
        "size": 1_110_000_000,
    },
    "node": {
        "tags": "18 20 22 24 lts 22-alpine 20-alpine alpine slim",
        "cmd": ["node"],
        "entrypoint": ["docker-entrypoint.sh"],
        "size": 1_130_000_000,
    },
    "public.ecr.aws/lambda/python": {
        "tags": "3.13 3.12 3.11 3.10 3.9",
        "entrypoint": ["/lambda-entrypoint.sh"],
        "workdir": "/var/task",
        "size": 540_000_000,
        "env": ["LAMBDA_TASK_ROOT=/var/task", "LAMBDA_RUNTIME_DIR=/var/runtime"],
    },
    "redis": {
        "tags": "7 7.4 8 alpine 7-alpine",
        "cmd": ["redis-server"],
        "entrypoint": ["docker-entrypoint.sh"],
        "ports": ["6379/tcp"],
        "size": 137_000_000,
        "workdir": "/data",
        "volumes": ["/data"],
    },
    "postgres": {
        "tags": "13 14 15 16 17 18 16-alpine 17-alpine alpine",
        "cmd": ["postgres"],
        "entrypoint": ["docker-entrypoint.sh"],
        "ports": ["5432/tcp"],
        "size": 438_000_000,
        "volumes": ["/var/lib/postgresql/data"],
        "needs": "POSTGRES_PASSWORD",
    },
    "mysql": {
        "tags": "8 8.0 8.4 9 lts",
        "cmd": ["mysqld"],
        "entrypoint": ["docker-entrypoint.sh"],
        "ports": ["3306/tcp", "33060/tcp"],
        "size": 921_000_000,
        "volumes": ["/var/lib/mysql"],
        "needs": "MYSQL_ROOT_PASSWORD",
    },
    "mariadb": {
        "tags": "10 11 11.8 lts",
        "cmd": ["mariadbd"],
        "entrypoint": ["docker-entrypoint.sh"],
        "ports": ["3306/tcp"],
        "size": 330_000_000,
    },
    "mongo": {
        "tags": "6 7 8",
        "cmd": ["mongod"],
        "entrypoint": ["docker-entrypoint.sh"],
        "ports": ["27017/tcp"],
        "size": 888_000_000,
    },
    "eclipse-mosquitto": {
        "tags": "2 2.0 1.6 openssl",
        "cmd": ["/usr/sbin/mosquitto", "-c", "/mosquitto/config/mosquitto.conf"],
        "entrypoint": ["/docker-entrypoint.sh"],
        "ports": ["1883/tcp"],
        "size": 15_000_000,
        "system": "alpine-3.22",
    },
    "registry": {
        "tags": "2 2.8 3",
        "cmd": ["/etc/distribution/config.yml"],
        "entrypoint": ["/entrypoint.sh"],
        "ports": ["5000/tcp"],
        "size": 57_000_000,
        "system": "alpine-3.22",
    },
    "traefik/whoami": {
        "tags": "v1.10 v1.11",
        "entrypoint": ["/whoami"],
        "ports": ["80/tcp"],
        "size": 7_000_000,
        "system": "alpine-3.22",
    },
    "jupyter/base-notebook": {**_NOTEBOOK, "size": 1_010_000_000},
    "jupyter/scipy-notebook": {**_NOTEBOOK, "size": 4_130_000_000},
    "jupyter/minimal-notebook": {**_NOTEBOOK, "size": 1_530_000_000},
    "tensorflow/tensorflow": {
        "tags": "2.16.1 latest-gpu latest-jupyter 2.16.1-jupyter",
        "cmd": ["/bin/bash"],
        "size": 1_860_000_000,
        "system": "ubuntu-22.04",
    },
    "nvidia/cuda": {
        "tags": "12.4.1-base-ubuntu22.04 12.4.1-runtime-ubuntu22.04",
        "cmd": ["/bin/bash"],
        "size": 240_000_000,
        "system": "ubuntu-22.04",
        "latest": False,
    },
    "grafana/grafana": {
        "tags": "11.6.0 12.0.0",
        "entrypoint": ["/run.sh"],
        "ports": ["3000/tcp"],
        "size": 480_000_000,
        "system": "alpine-3.22",
    },
    "prom/prometheus": {
        "tags": "v3.4.0 v2.53.4",
        "entrypoint": ["/bin/prometheus"],
        "ports": ["9090/tcp"],
        "size": 300_000_000,
        "system": "alpine-3.22",
    },
}


def digest(text: str | bytes) -> str:
    """`sha256:` and the hash of `text`."""
    return "sha256:" + hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()


def split(reference: str) -> tuple[str, str]:
    """The repository and the tag (or digest) that a reference names; `latest` where it names none."""
    if "@" in reference:
        repository, _, tag = reference.partition("@")
        return repository.rpartition(":")[0] if ":" in repository.rsplit("/", 1)[-1] else repository, tag
    head, slash, last = reference.rpartition("/")
    name, _, tag = last.partition(":")
    return f"{head}{slash}{name}", tag or "latest"


def full(reference: str) -> str:
    """A reference with the tag it stands for, `ubuntu:latest` for `ubuntu`."""
    repository, tag = split(reference)
    return f"{repository}@{tag}" if tag.startswith("sha256:") else f"{repository}:{tag}"


def short(repository: str) -> str:
    """A repository of Docker Hub by its familiar name."""
    return repository.removeprefix("docker.io/").removeprefix("library/")


class Registry:
    """What can be pulled: the catalogue, and what the inventory adds."""

    def __init__(self, more: Mapping[str, Any]) -> None:
        self.catalogue: dict[str, Mapping[str, Any]] = {**_CATALOGUE}
        for name, fields in more.items():
            repository, tag = split(name)
            old = self.catalogue.get(short(repository), {})
            tags = " ".join(filter(None, [str(old.get("tags", "")), tag, str(fields.get("tags", ""))]))
            self.catalogue[short(repository)] = {**old, **fields, "tags": tags}

    def has(self, repository: str) -> bool:
        """Whether the repository exists."""
        return short(repository) in self.catalogue

    def image(self, repository: str, tag: str) -> dict[str, Any] | None:
        """The image behind a tag or digest; None where there is no such manifest."""
        name = short(repository)
        entry = self.catalogue.get(name)
        if entry is None:
            return None
        tags = [*([] if entry.get("latest") is False else ["latest"]), *str(entry.get("tags", "")).split()]
        if tag.startswith("sha256:"):
            tag = next(
                (known for known in tags if digest(f"{name}:{self._alias(entry, known)}@") == tag), tag
            )
        return _image(name, self._alias(entry, tag), entry) if tag in tags else None

    @staticmethod
    def _alias(entry: Mapping[str, Any], tag: str) -> str:
        # The first tag is what `latest` stands for: one image, as on Docker Hub.
        tags = str(entry.get("tags", "")).split()
        return tags[0] if tag == "latest" and tags else tag


def _image(name: str, tag: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    ports: Sequence[str] = entry.get("ports", ())
    volumes: Sequence[str] = entry.get("volumes", ())
    config = {
        "Env": [_PATH, *entry.get("env", ())],
        "Cmd": entry.get("cmd"),
        "Entrypoint": entry.get("entrypoint"),
        "WorkingDir": entry.get("workdir", ""),
        "User": str(entry.get("user", "")),
        "ExposedPorts": {_port(port): {} for port in ports} or None,
        "Volumes": {volume: {} for volume in volumes} or None,
        "Labels": dict(entry.get("labels", {})) or None,
    }
    return {
        "Id": digest(f"{name}:{tag}"),
        "Digest": digest(f"{name}:{tag}@"),
        "Created": "2025-10-01T09:12:33.000000000Z",
        "Architecture": "amd64",
        "Os": "linux",
        "Size": int(entry.get("size", 100_000_000)),
        "Config": config,
        "System": entry.get("systems", {}).get(tag, entry.get("system", "debian-12")),
        "Base": name,
        "Files": dict(entry.get("files", {})),
        "Needs": entry.get("needs", ""),
        "Prints": str(entry.get("prints", "")),
        "Layers": [digest(f"{name}:{tag}/layer")],
    }


def _port(port: object) -> str:
    text = str(port)
    return text if "/" in text else f"{text}/tcp"


HELLO = """
Hello from Docker!
This message shows that your installation appears to be working correctly.

To generate this message, Docker took the following steps:
 1. The Docker client contacted the Docker daemon.
 2. The Docker daemon pulled the "hello-world" image from the Docker Hub.
    (amd64)
 3. The Docker daemon created a new container from that image which runs the
    executable that produces the output you are currently reading.
 4. The Docker daemon streamed that output to the Docker client, which sent it
    to your terminal.

To try something more ambitious, you can run an Ubuntu container with:
 $ docker run -it ubuntu bash

Share images, automate workflows, and more with a free Docker ID:
 https://hub.docker.com/

For more examples and ideas, visit:
 https://docs.docker.com/get-started/

"""
"""What hello-world prints."""
