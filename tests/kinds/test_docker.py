"""Docker's kinds on a simulated host and on a container with a Docker Engine of its own.

Everything made there is named labctl-test-….
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from engine.errors import StepFailed
from engine.local_files import PlaybookFiles
from engine.refs import Unknown
from engine.resources.hosts import _docker
from engine.resources.hosts.docker_container import DockerContainer
from engine.resources.hosts.docker_engine import DockerEngine
from engine.resources.hosts.docker_image import DockerImage
from engine.resources.hosts.docker_network import DockerNetwork
from engine.resources.hosts.docker_volume import DockerVolume
from tests.kinds.benches import HOSTS, a_bench, a_host, text
from tests.kinds.local_host import Bench

NAMES = ("web", "two", "mine", "net1", "net2", "data")


@pytest.fixture(params=HOSTS)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """A host with Docker."""
    with a_host(request.param, request, tmp_path) as made:
        made.have(DockerEngine.model_validate({"users": ["ubuntu"]}))
        yield made
        names = " ".join(f"labctl-test-{name}" for name in NAMES)
        made.host.run(f"docker rm -f -v {names}; docker network rm {names}; docker volume rm {names}")
        made.host.run("docker image rm labctl-test-image")


def container(name: str = "web", **fields: Any) -> DockerContainer:
    given = {"image": "busybox", "command": "sleep 1000", **fields}
    return DockerContainer.model_validate({"name": f"labctl-test-{name}", **given})


def network(name: str, **fields: Any) -> DockerNetwork:
    return DockerNetwork.model_validate({"name": f"labctl-test-{name}", **fields})


def image(folder: Path, **fields: Any) -> DockerImage:
    context = {"files": PlaybookFiles((folder,))}
    return DockerImage.model_validate(
        {"name": "labctl-test-image", "build": {"path": "image", **fields}}, context=context
    )


# -- containers ----------------------------------------------------------------------------------------------


def test_a_container_reads_as_it_was_asked_for(bench: Bench) -> None:
    web = container(
        published_ports=["18003:80", "127.0.0.1:15353:53/udp", "18100-18102:8100-8102"],
        volumes=["/tmp/:/data/:ro", "/anonymous"],
        env={"A": "1", "B": 'two "words" $HOME', "C": "two\nlines"},
        restart_policy="unless-stopped",
        memory="64m",
        cpus=0.5,
        labels={"own": "label"},
        hostname="webhost",
        user="0:0",
        working_dir="/data",
        cap_add=["net_admin"],
        interactive=True,
        tty=True,
    )
    assert bench.look(web) is None
    values = bench.create(web)
    assert values["state"] == "running"
    assert values["owner"] == "hw02@test"
    assert values["ports"]["80/tcp"] == "18003"
    bench.delete(web)
    assert bench.look(web) is None


def test_what_can_be_changed_in_place_is(bench: Bench) -> None:
    bench.create(container(restart_policy="no", memory="64m"))
    later = container(restart_policy="on-failure:3", memory="128m", cpus=0.25)
    assert bench.differing(later) == {"restart_policy", "memory", "cpus"}
    assert not any(later.replaces(name, {}) for name in ("restart_policy", "memory", "cpus", "running"))
    before = bench.look(later)
    after = bench.update(later, "restart_policy", "memory", "cpus")
    assert (before or {})["id"] == after["id"]


@pytest.mark.parametrize(
    ("fields", "differing"),
    [
        ({"published_ports": ["18004:80"]}, "published_ports"),
        ({"env": {"A": "2"}}, "env"),
        ({"env": {}}, "env"),
        ({"command": "sleep 999"}, "command"),
        ({"volumes": ["/tmp:/data"]}, "volumes"),
        ({"labels": {"a": "b"}}, "labels"),
    ],
)
def test_what_matters_replaces(bench: Bench, fields: dict[str, Any], differing: str) -> None:
    base: dict[str, Any] = {"published_ports": ["18003:80"], "env": {"A": "1"}, "volumes": ["/tmp:/data:ro"]}
    bench.create(container(**base))
    later = container(**{**base, **fields})
    assert bench.differing(later) == {differing}
    assert later.replaces(differing, {})


def test_one_that_was_stopped_is_started(bench: Bench) -> None:
    web = container()
    bench.create(web)
    bench.host.run("docker kill labctl-test-web")
    assert bench.differing(web) == {"running"}
    bench.update(web, "running")


def test_one_that_runs_to_its_end(bench: Bench) -> None:
    once = container(command=["echo", "hello"], detach=False)
    values = bench.create(once)
    assert (values["state"], values["exit_code"], values["running"]) == ("exited", 0, True)
    bench.delete(once)


def test_one_that_ends_badly_says_why(bench: Bench) -> None:
    once = container(command=["sh", "-c", "echo 'oh no'; exit 4"], detach=False)
    with pytest.raises(StepFailed, match="ended with exit status 4: oh no"):
        bench.create(once)
    assert bench.differing(once) == {"running"}


def test_one_that_dies_at_once_says_why(bench: Bench) -> None:
    with pytest.raises(StepFailed, match="ended at once with exit status 3: oh no") as failed:
        bench.create(container(command=["sh", "-c", "echo 'oh no'; exit 3"]))
    assert failed.value.remedy == "see what it says: docker logs labctl-test-web"


def test_a_container_of_others_is_left_alone(bench: Bench) -> None:
    bench.host.run("docker run -d --name labctl-test-mine busybox sleep 1000")
    mine = container("mine")
    assert (bench.look(mine) or {})["owner"] is None
    with pytest.raises(StepFailed, match="already a container named labctl-test-mine on the host"):
        bench.create(mine)
    bench.delete(mine)
    assert bench.look(mine) is not None


def test_what_a_killed_run_left_is_made_anew(bench: Bench) -> None:
    bench.create(container())
    bench.create(container(env={"A": "1"}))


def test_a_port_that_is_taken_is_told_and_nothing_is_left(bench: Bench) -> None:
    bench.create(container(published_ports=["18003:80"]))
    two = container("two", published_ports=["18003:80"])
    with pytest.raises(StepFailed, match=r"the port 0\.0\.0\.0:18003 of the host is already taken"):
        bench.create(two)
    assert bench.look(two) is None


def test_health_is_waited_for(bench: Bench) -> None:
    check = {"test": "true", "interval": "200ms", "retries": 2}
    web = container(healthcheck=check)
    bench.create(web)
    assert bench.differing(container(healthcheck={**check, "interval": "300ms"})) == {"healthcheck"}


def test_networks_and_volumes(bench: Bench) -> None:
    nets = [
        network("net1", ipam_config=[{"subnet": "10.77.0.0/24"}], labels={"a": "b"}),
        network("net2", internal=True),
    ]
    for one in nets:
        bench.create(one)
    data = DockerVolume.model_validate({"name": "labctl-test-data", "labels": {"k": "v"}})
    assert bench.create(data)["mountpoint"].endswith("/labctl-test-data/_data")
    two = container("two", networks=["labctl-test-net2", "labctl-test-net1"], volumes=["labctl-test-data:/x"])
    assert bench.create(two)["ip"]
    with pytest.raises(StepFailed, match="still use the volume"):
        bench.delete(data)
    bench.delete(two)
    for thing in (*nets, data):
        bench.delete(thing)
        assert bench.look(thing) is None


def test_an_image_is_built_and_built_again_when_its_folder_changes(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "image"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM busybox\nARG WHO\nCOPY a.txt /a.txt\nCMD sleep 1000\n")
    (folder / "a.txt").write_text("one")
    first = image(tmp_path, args={"WHO": "me & you"})
    values = bench.create(first)
    assert values["owner"] == "hw02@test"
    runs = container(image="labctl-test-image:latest")
    bench.create(runs)
    (folder / "a.txt").write_text("two")
    second = image(tmp_path, args={"WHO": "me & you"})
    assert bench.differing(second) == {"build"}
    assert bench.update(second, "build")["id"] != values["id"]
    assert bench.differing(runs) == {"image"}  # it still runs the older one
    bench.delete(runs)
    bench.delete(second)
    assert bench.look(second) is None
    assert text(bench, "docker images -a -q --filter label=labctl:lab") == ""


def test_an_image_in_use_stays(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "image").mkdir()
    (tmp_path / "image" / "Dockerfile").write_text("FROM busybox\nENV A=1\nCMD sleep 1000\n")
    built = image(tmp_path)
    bench.create(built)
    bench.create(container(image="labctl-test-image"))
    bench.delete(built)
    assert bench.look(built) is not None


def test_a_dockerfile_that_is_wrong_is_told(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "image").mkdir()
    (tmp_path / "image" / "Dockerfile").write_text("FROM busybox\nRUNN true\n")
    with pytest.raises(StepFailed, match="the Dockerfile is wrong in line 2: unknown instruction: RUNN"):
        bench.create(image(tmp_path))


# -- the engine, on a simulated host -------------------------------------------------------------------------


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Bench]:
    with a_bench("simulated", tmp_path) as made:
        yield made


@pytest.mark.parametrize("fields", [{}, {"channel": "stable"}, {"source": "distribution"}])
def test_the_engine_is_installed_and_removed(bare: Bench, fields: dict[str, Any]) -> None:
    engine = DockerEngine.model_validate({**fields, "users": ["ubuntu"]})
    assert bare.look(engine) is None
    values = bare.create(engine)
    assert values["version"]
    assert values["users"] == ["ubuntu"]
    assert bare.host.reconnected == 1
    bare.host.run("systemctl stop docker")
    assert bare.differing(engine) == {"running"}
    bare.update(engine, "running")
    bare.delete(engine)
    assert bare.look(engine) is None
    assert text(bare, "ls -A /etc/apt/keyrings /etc/apt/sources.list.d | grep docker; :") == ""


def test_a_user_no_longer_named_may_no_longer_use_docker(bare: Bench) -> None:
    bare.host.run("useradd -m alice")
    bare.create(DockerEngine.model_validate({"users": ["ubuntu", "alice"]}))
    fewer = DockerEngine.model_validate({"users": ["ubuntu"]})
    assert bare.differing(fewer) == {"users"}
    bare.update(fewer, "users")
    assert "alice" not in text(bare, "getent group docker")


def test_docker_that_does_not_run_is_not_taken_for_an_empty_one(bare: Bench) -> None:
    bare.create(DockerEngine())
    bare.host.run("systemctl stop docker docker.socket")
    with pytest.raises(StepFailed, match="Docker does not answer on the host"):
        bare.look(container())


@pytest.mark.parametrize("said", ["failed Cannot connect to the D", "failed \nCannot connect to the D"])
def test_the_words_of_older_and_newer_clients_are_understood(said: str) -> None:
    with pytest.raises(StepFailed, match="Docker does not answer on the host: Cannot connect to the D"):
        _docker.read(said.replace("the D", "the Docker daemon").encode())


def test_without_docker_there_are_no_containers(bare: Bench) -> None:
    assert bare.look(container()) is None
    bare.delete(container())
    with pytest.raises(StepFailed, match="Docker is not installed on the host") as failed:
        bare.create(container())
    assert "docker_engine" in failed.value.remedy


def test_a_host_without_a_way_out_is_told(tmp_path: Path) -> None:
    with a_bench("simulated", tmp_path, out=False) as shut:
        with pytest.raises(StepFailed, match="no way to the internet") as failed:
            shut.create(DockerEngine())
        assert "NAT" in failed.value.remedy


def test_an_image_cannot_be_pulled_without_a_way_out(bare: Bench) -> None:
    bare.create(DockerEngine())
    bare.host.network.out = False
    with pytest.raises(StepFailed, match="no way to the internet"):
        bare.create(DockerImage.model_validate({"name": "httpd:2.4"}))
    with pytest.raises(StepFailed, match="no way to the internet"):
        bare.create(container(image="httpd:2.4"))


def test_an_image_that_no_registry_has(bare: Bench) -> None:
    bare.create(DockerEngine())
    with pytest.raises(StepFailed, match="there is no image nonesuch/thing in the registry"):
        bare.create(DockerImage.model_validate({"name": "nonesuch/thing"}))
    with pytest.raises(StepFailed, match=r"the registry has no .*httpd:0\.0\.1"):
        bare.create(container(image="httpd:0.0.1"))


# -- texts and values ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ([8003], ["8003"]),
        (["8003:80/tcp"], ["8003:80"]),
        (["127.0.0.1::80"], ["127.0.0.1::80"]),
        (["[::1]:80:80"], ["[::1]:80:80"]),
        (["8000-8001:80-81/udp"], ["8000:80/udp", "8001:81/udp"]),
        (["8000-8010:80"], ["8000-8010:80"]),
        (["7000-7001"], ["7000", "7001"]),
    ],
)
def test_published_ports(given: list[Any], read: list[str]) -> None:
    assert container(published_ports=given).wanted()["published_ports"] == read


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"published_ports": ["web:80"]}, "as Docker publishes it"),
        ({"published_ports": ["80:99999"]}, "no port"),
        ({"published_ports": ["80-81:80-82"]}, "same length"),
        ({"volumes": ["./site:/x"]}, "whole path on the host"),
        ({"volumes": ["/a:b"]}, "whole path in the container"),
        ({"restart_policy": "sometimes"}, "unless-stopped"),
        ({"detach": False, "restart_policy": "always"}, "cannot be restarted"),
        ({"memory": "lots"}, "512m"),
        ({"image": "Httpd:"}, "name of an image"),
        ({"env": {"a=b": "c"}}, "environment variable"),
        ({"command": "echo 'x"}, "split into words"),
        ({"name": "-x"}, "letters, digits"),
        ({"labels": {"a,b": "c"}}, "'a,b' is no name of a label"),
        ({"labels": {"a=b": "c"}}, "no name of a label"),
        ({"labels": {"a\nb": "c"}}, "no name of a label"),
        ({"labels": {"labctl:lab": "another"}}, "labctl's own"),
        ({"env": {"A": "a\0b"}}, "NUL"),
    ],
)
def test_wrong_fields_are_told(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        DockerContainer.model_validate({"name": "web", "image": "busybox", **fields})


def test_what_is_unknown_stays_unknown() -> None:
    unknown = Unknown(text="{{ key.id }}")
    web = container(image=unknown, env={"A": unknown}, published_ports=[unknown], volumes=unknown)
    assert web.wanted()["image"] == unknown
    assert "docker container inspect" in web.look("web", web)
    assert "$KEY_ID" in " ".join(web.as_commands("create", None)) or "KEY_ID" in " ".join(
        web.as_commands("create", None)
    )


def test_no_value_of_the_environment_is_on_a_command_line() -> None:
    script = container(env={"TOKEN": "s3cr3t"}).commands(None, frozenset())
    assert "s3cr3t" not in script


def test_sizes_and_durations() -> None:
    assert [
        _docker.size_text(_docker.size_bytes(text)) for text in ("512m", "1.5g", "1024k", "0.5GiB", "7")
    ] == [
        "512m",
        "1536m",
        "1m",
        "512m",
        "7b",
    ]
    assert container(healthcheck={"test": "x", "interval": "1m30s", "timeout": 5}).wanted()[
        "healthcheck"
    ] == {
        "test": "x",
        "interval": "90s",
        "timeout": "5s",
    }


@pytest.mark.parametrize(
    ("stderr", "words"),
    [
        ("Error response from daemon: pull access denied for x/y, repository does not exist", "no image x/y"),
        (
            "Error response from daemon: manifest for httpd:9 not found: manifest unknown",
            "the registry has no httpd:9",
        ),
        (
            "Bind for 0.0.0.0:80 failed: port is already allocated",
            "port 0.0.0.0:80 of the host is already taken",
        ),
        ("failed to bind: listen tcp4 0.0.0.0:80: bind: address already in use", "port 0.0.0.0:80 of"),
        ("failed to bind host port 0.0.0.0:80/tcp: address already in use", "port 0.0.0.0:80 of"),
        (
            "failed to bind host port for 0.0.0.0:80:172.17.0.2:80/tcp: address already in use",
            "0.0.0.0:80 of",
        ),
        (
            'Conflict. The container name "/web" is already in use by container "1"',
            "already a container named web",
        ),
        ("write /x: no space left on device", "disk is full"),
        ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock.", "Docker does not run"),
        (
            'Get "https://registry-1.docker.io/v2/": dial tcp: lookup registry-1.docker.io: no such host',
            "no way to the internet",
        ),
        ("no matching manifest for linux/arm64/v8 in the manifest list entries", "linux/arm64/v8"),
        ("toomanyrequests: You have reached your pull rate limit", "no more images for now"),
        ('exec: "nonesuch": executable file not found in $PATH: unknown', "no program nonesuch"),
        (
            "ERROR: failed to solve: x/y: failed to resolve source metadata for docker.io/x/y:latest: pull "
            "access denied, repository does not exist or may require authorization: server message: "
            "insufficient_scope: authorization failed",
            "no image x/y",
        ),
        (
            "COPY failed: file not found in build context or excluded by .dockerignore: stat a.txt: file",
            "has no a.txt",
        ),
        (
            'failed to compute cache key: failed to calculate checksum of ref abc::def: "/a.txt": not found',
            "has no a.txt",
        ),
    ],
)
def test_docker_s_errors_in_words(stderr: str, words: str) -> None:
    explained = DockerContainer.explain_failure(125, stderr)
    assert explained is not None
    assert words in explained[0]


def test_commands_by_hand() -> None:
    web = DockerContainer.model_validate(
        {"name": "web", "image": "httpd:2.4", "published_ports": ["8003:80"], "volumes": ["/srv/www:/htdocs"]}
    )
    assert web.as_commands("create", None) == [
        "sudo docker run -d --name web -p 8003:80 -v /srv/www:/htdocs httpd:2.4"
    ]
    ubuntu = DockerContainer.model_validate(
        {"name": "my_ubuntu", "image": "ubuntu", "command": "bash", "interactive": True, "tty": True}
    )
    assert ubuntu.as_commands("create", None) == ["sudo docker run -d --name my_ubuntu -i -t ubuntu bash"]
    hello = DockerContainer.model_validate({"name": "hello", "image": "hello-world", "detach": False})
    assert hello.as_commands("create", None) == ["sudo docker run --name hello hello-world"]
    assert DockerContainer.model_construct().as_commands("delete", "web") == ["sudo docker rm -f web"]


def test_commands_build_an_image_as_apply_does(tmp_path: Path) -> None:
    (tmp_path / "image").mkdir()
    built = image(tmp_path, dockerfile="docker/Web", target="web", args={"WHO": "me"})
    [line] = built.as_commands("create", None)
    assert line == (
        "sudo docker build -t labctl-test-image:latest --build-arg WHO=me --target web -f docker/Web -"
    )


def test_a_network_that_is_docker_s_own_is_told() -> None:
    with pytest.raises(ValidationError, match="one of Docker's own networks"):
        DockerNetwork.model_validate({"name": "bridge"})


def test_values_of_a_container_without_anything() -> None:
    shown = {
        "Id": "1",
        "Image": "sha256:1",
        "Config": {"Image": "x"},
        "HostConfig": {},
        "State": {"Status": "created"},
    }
    values = DockerContainer.parse("x", 0, b"asked stays 0 \n" + json.dumps(shown).encode() + b"\n{}\n")
    assert values is not None
    assert (values["running"], values["owner"], values["env"]) == (False, None, {})


def test_a_look_at_a_container_starts_docker_twice(tmp_path: Path) -> None:
    calls, program = tmp_path / "calls", tmp_path / "docker"
    program.write_text(f"#!/bin/sh\necho \"$1 $2\" >>{calls}\necho 'image sha256:1'\necho '{{}}'\n")
    program.chmod(0o755)
    web = container(name="web", image="httpd:2.4")
    path = f"{tmp_path}:{os.environ['PATH']}"
    subprocess.run(["sh", "-c", web.look("web", web)], env={"PATH": path}, check=True, capture_output=True)
    assert calls.read_text().splitlines() == ["container inspect", "image inspect"]
