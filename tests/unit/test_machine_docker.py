import io
import json
import tarfile
from pathlib import Path

import pytest

from engine.sandbox.machines.dockerfile import Context, DockerfileError, expand, parse
from engine.sandbox.machines.go_template import TemplateError, render
from tests.unit.machine_bench import DOCKER

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bench(make):
    bench = make(images={"course/tool:1": {"prints": "tool 1\n", "cmd": ["tool"]}})
    assert bench.root(DOCKER).status == 0
    bench.root("usermod -aG docker ubuntu")
    return bench


def test_groups_are_those_of_the_login(make):
    bench = make()
    bench.root(DOCKER)
    login = bench.machine.login("ubuntu")
    bench.root("usermod -aG docker ubuntu")
    result = bench.run("docker ps", login=login)
    assert result.status == 1
    assert result.stderr.startswith(b"permission denied while trying to connect to the Docker daemon socket")
    assert bench.run("docker ps").status == 0


def test_hello_world(bench):
    assert "Hello from Docker!" in bench.out("docker run --name hello hello-world")
    assert (
        bench.out("docker ps -a --format '{{.Names}} {{.Image}} {{.State}}'") == "hello hello-world exited\n"
    )
    assert bench.out("docker inspect -f '{{.State.ExitCode}}' hello") == "0\n"


def test_httpd_serves_the_hosts_folder(bench):
    bench.root("mkdir -p /srv/www; echo one > /srv/www/index.html")
    bench.out("docker run -d --name web -p 8003:80 -v /srv/www:/usr/local/apache2/htdocs/:ro httpd:2.4")
    assert 8003 in bench.machine.listening()
    bench.root("echo two > /srv/www/index.html")
    assert bench.out("curl -s -w '%{http_code} %{content_type}' localhost:8003/") == "two\n200 text/html"
    assert bench.run("curl -sf localhost:8003/none").status == 22
    bench.out("docker stop web")
    assert 8003 not in bench.machine.listening()


def test_what_the_daemon_refuses(bench):
    bench.out("docker run -d --name web -p 8003:80 httpd:2.4")
    for command, words in {
        "docker run -d -p 8003:80 httpd:2.4": "Bind for 0.0.0.0:8003 failed: port is already allocated",
        "docker run -d --name web httpd:2.4": 'Conflict. The container name "/web" is already in use',
        "docker pull httpd:9": "manifest for httpd:9 not found: manifest unknown",
        "docker pull nosuch/x": "pull access denied for nosuch/x, repository does not exist or may require",
        "docker rm web": 'cannot remove container "/web": container is running',
        "docker inspect -f '{{.Nope}}' web": 'map has no entry for key "Nope"',
        "docker run --nope httpd": "unknown flag: --nope",
    }.items():
        assert words in bench.err(command)


def test_the_daemon_must_run(bench):
    bench.root("systemctl stop docker")
    assert bench.err("docker ps").startswith(
        "Cannot connect to the Docker daemon at unix:///var/run/docker.sock."
    )


def test_a_shell_with_a_terminal_stays(bench):
    bench.out("docker run -dit --name my_ubuntu ubuntu bash; docker run -d --name gone ubuntu")
    assert bench.out("docker ps --format '{{.Names}}'") == "my_ubuntu\n"
    text = bench.out("docker exec my_ubuntu sh -c 'head -n 1 /etc/os-release; id -un; echo kept > /root/f'")
    assert text.splitlines() == ['PRETTY_NAME="Ubuntu 24.04.3 LTS"', "root"]
    bench.out("docker stop my_ubuntu; docker start my_ubuntu")
    assert bench.out("docker exec my_ubuntu cat /root/f") == "kept\n"


def test_exit_statuses_of_one_shot_containers(bench):
    assert bench.run("docker run --rm alpine sh -c 'echo out; echo err >&2; exit 5'").status == 5
    assert bench.run("docker run --rm alpine nosuch").status == 127
    assert bench.out("docker run course/tool:1") == "tool 1\n"


def test_restart_policies_at_boot(bench):
    bench.out("docker run -d --name a --restart unless-stopped nginx; docker run -d --name b nginx")
    bench.out("docker run -d --name c --restart unless-stopped nginx; docker stop c")
    bench.loop.run(bench.machine.reboot())
    assert bench.out("docker ps --format '{{.Names}}'") == "a\n"


def test_everything_is_kept(bench):
    bench.out(
        "docker network create net; docker volume create v; docker run -d --name w --network "
        "net -v v:/d nginx"
    )
    before = json.loads(bench.out("docker inspect w"))
    bench.machine = bench.again()
    bench.loop.run(bench.machine.resume())
    assert json.loads(bench.out("docker inspect w")) == before
    assert bench.err("docker network rm net").startswith(
        "Error response from daemon: error while removing network"
    )
    assert "volume is in use" in bench.err("docker volume rm v")


def test_the_notebook_of_hw02(bench):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(ROOT / "templates" / "jupyter", ".")
    assert bench.run("docker build -t nb --label labctl.sha256=1 -", buffer.getvalue()).status == 0
    first = bench.out("docker image inspect -f '{{.Id}} {{index .Config.Labels \"labctl.sha256\"}}' nb")
    assert first.endswith(" 1\n")
    assert bench.run("docker build -t nb --label labctl.sha256=1 -", buffer.getvalue()).status == 0
    assert bench.out("docker image inspect -f '{{.Id}} 1' nb") == first
    bench.out("docker run -d --name jupyter -p 8800:8888 nb")
    token = bench.out(
        "docker logs jupyter 2>&1 | grep -o 'token=[0-9a-f]*' | tail -n 1 | cut -d= -f2"
    ).strip()
    assert len(token) == 48
    assert bench.out("curl -s -o /dev/null -w '%{http_code}' localhost:8800/api") == "200"
    assert bench.out("curl -s -o /dev/null -w '%{http_code}' localhost:8800/tree") == "302"
    assert bench.out(f"curl -s -o /dev/null -w '%{{http_code}}' 'localhost:8800/tree?token={token}'") == "200"
    assert token in bench.out("docker exec jupyter jupyter server list")


def test_builds_need_the_internet_for_packages(bench):
    bench.out("docker pull ubuntu:24.04")
    bench.network.up = False
    text = bench.err(
        "printf 'FROM ubuntu:24.04\\nRUN apt-get update && apt-get install -y git\\n' | docker build -"
    )
    assert "did not complete successfully: exit code: 100" in text


def test_addresses_have_the_prefix_of_their_network(bench):
    bench.out("docker network create --subnet 10.9.0.0/24 small && docker run -d --network small httpd")
    told = bench.out("docker network inspect -f '{{range .Containers}}{{.IPv4Address}}{{end}}' small")
    assert told == "10.9.0.2/24\n"


def test_stages_by_number_and_variables_of_the_base(bench):
    bench.root(
        "mkdir /app && echo hello >/app/note && cat >/app/Dockerfile <<'E'\n"
        "FROM httpd AS first\nCOPY note $HTTPD_PREFIX/note\n"
        "FROM httpd AS second\nCOPY --from=first /usr/local/apache2/note /second/note\n"
        "FROM httpd\nCOPY --from=1 /second/note /third/\nE"
    )
    bench.out("sudo docker build -q -t notes /app")
    assert bench.out("sudo docker run --rm notes cat /third/note") == "hello\n"


def test_dockerfiles():
    found = parse('# note\nARG V=1\nFROM a:$V AS b\nRUN one \\\n  # between\n  two\nCMD ["x", "y"]\n')
    assert [each.word for each in found] == ["ARG", "FROM", "RUN", "CMD"]
    assert found[2].rest == "one two"
    assert found[3].list == ["x", "y"]
    assert expand("${A:-d} $B \\$C", {"B": "b"}) == "d b $C"
    with pytest.raises(DockerfileError, match="parse error on line 2: unknown instruction: RUNN"):
        parse("FROM a\nRUNN x\n")


def test_contexts_honour_dockerignore():
    context = Context(
        {".dockerignore": b"*.log\nsub\n!keep.log\n", "a.log": b"", "keep.log": b"", "sub/x": b"", "y": b""}
    )
    assert sorted(context.files) == [".dockerignore", "keep.log", "y"]


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{.Name}} {{.Up}}", "web true"),
        ("{{json .Ports}}", '{"80/tcp":[{"HostPort":"1"}]}'),
        ('{{index .Labels "a.b"}}|{{index .Labels "no"}}', "x|"),
        ('{{(index (index .Ports "80/tcp") 0).HostPort}}', "1"),
        ("{{range $k, $v := .Labels}}{{$k}}={{$v}};{{end}}", "a.b=x;"),
        ("{{if .Up}}yes{{else}}no{{end}}", "yes"),
        ('{{join .List ","}} {{len .List}} {{.Name | upper}}', "a,b 2 WEB"),
        ("{{.None}}", "<no value>"),
    ],
)
def test_templates(template, text):
    data = {"Name": "web", "Up": True, "Ports": {"80/tcp": [{"HostPort": "1"}]}, "Labels": {"a.b": "x"},
            "List": ["a", "b"], "None": None}  # fmt: skip
    assert render(template, data) == text


def test_bad_templates():
    with pytest.raises(TemplateError, match="unclosed action"):
        render("{{.Name", {})
