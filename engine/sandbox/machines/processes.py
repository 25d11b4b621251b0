"""What runs in containers: what stays, what it prints and answers; and the container's own shell."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from engine.sandbox.machines import (
    everywhere,
    http,
    packages,
    users,
)
from engine.sandbox.machines.base import add_programs, base_files, bash_builtins
from engine.sandbox.machines.command import Call, Command, Handler, Login, Result, State, options
from engine.sandbox.machines.disk import Disk
from engine.sandbox.machines.images import HELLO
from engine.sandbox.machines.place import Place
from engine.sandbox.machines.shell import Run, execute
from engine.sandbox.machines.systems import SYSTEMS

if TYPE_CHECKING:
    from engine.sandbox.machines.engine import DockerEngine


@dataclass(frozen=True)
class Process:
    """What a container's command does."""

    stays: bool = False
    script: str | None = None
    """A script to run to its end in the container's shell."""
    output: str = ""
    errors: str = ""
    status: int = 0
    log: str = ""
    missing: str = ""
    stop_status: int = 0


_SERVERS = re.compile(
    r"(^|[\s/])(httpd|httpd-foreground|nginx|apache2ctl|redis-server|postgres|mysqld|"
    r"mariadbd|mongod|mosquitto|prometheus|"
    r"whoami|jupyter|jupyter-lab|jupyter-notebook|start-notebook\.sh|start-notebook\.py|"
    r"gunicorn|uvicorn|flask)(\s|$)|"
    r"http\.server|/etc/distribution/config\.yml|^/run\.sh"
)
_WAITS = re.compile(r"sleep\s+(infinity|inf|\d{3,}|\d+[hd])|tail\s+-[fF]|while (true|:)|^cat$|^top$")
_SHELLS = frozenset({"bash", "sh", "ash", "/bin/bash", "/bin/sh", "python3", "python", "node", "ipython"})


def words_of(container: State) -> list[str]:
    """The whole command line of a container."""
    return [*(container["Config"]["Entrypoint"] or []), *(container["Config"]["Cmd"] or [])]


def process_of(container: State, image: State, has: Callable[[str], bool] = bool) -> Process:
    """What the container's command does with this image."""
    words = words_of(container)
    text = " ".join(words)
    bare = [
        word
        for word in words
        if word not in ("/docker-entrypoint.sh", "docker-entrypoint.sh", "/entrypoint.sh", "tini", "-g", "--")
    ]
    if words[:1] == ["/hello"]:
        return Process(output=HELLO)
    need = image.get("Needs", "")
    if need and words[-1:] == (image["Config"]["Cmd"] or [""])[-1:] and not _has(container, need):
        return Process(
            status=1,
            errors=(
                f"Error: Database is uninitialized and superuser password is not specified.\n "
                f"      You must specify {need} to a non-empty value.\n"
            ),
        )
    if _SERVERS.search(text):
        return Process(stays=True, log=_greeting(container, text, image), stop_status=_stop_status(text))
    if len(bare) == 1 and bare[0] in _SHELLS:
        waits = container["Config"]["OpenStdin"] or container["Config"]["Tty"]
        attached = container["Sandbox"].get("attached", False)
        return Process(
            stays=waits and not attached,
            script=None if not attached else f"{bare[0]} -s",
            stop_status=137 if "sh" in bare[0] else 0,
        )
    if _WAITS.search(text):
        return Process(stays=True, stop_status=137, log=image.get("Prints", ""))
    if image.get("Prints") and words == [
        *(image["Config"]["Entrypoint"] or []),
        *(image["Config"]["Cmd"] or []),
    ]:
        return Process(output=image["Prints"])
    if bare and not has(bare[0]):
        why = "no such file or directory" if "/" in bare[0] else "executable file not found in $PATH"
        return Process(
            missing=(
                "failed to create task for container: failed to create shim task: OCI "
                "runtime create failed: runc create failed: "
                f"unable to start container process: error during container init: exec: "
                f'"{bare[0]}": {why}: unknown'
            )
        )
    return Process(script=" ".join(quote(word) for word in bare) if bare else None)


def _has(container: State, name: str) -> bool:
    return any(
        item.startswith((f"{name}=", f"{name}_FILE=", "POSTGRES_HOST_AUTH", "MYSQL_ALLOW", "MYSQL_RANDOM"))
        for item in container["Config"]["Env"]
    )


def _stop_status(text: str) -> int:
    return 143 if "http.server" in text or "jupyter" in text else 0


def jupyter_token(container: State) -> str:
    """The token of the Jupyter server in the container; empty where its command switches it off."""
    text = " ".join(words_of(container))
    match = re.search(r"(?:--(?:NotebookApp|ServerApp|IdentityProvider)\.token=)(['\"]?)([^'\"\s]*)\1", text)
    if match:
        return match[2]
    for item in container["Config"]["Env"]:
        if item.startswith("JUPYTER_TOKEN="):
            return str(item.partition("=")[2])
    return str(container["Sandbox"]["token"])


def _is_jupyter(text: str) -> bool:
    return "jupyter" in text or "start-notebook" in text


def _port(text: str, default: int) -> int:
    match = re.search(r"--port[= ](\d+)|http\.server\s+(\d+)", text)
    return int(match[1] or match[2]) if match else default


def _greeting(container: State, text: str, image: State) -> str:
    if _is_jupyter(text):
        token, port = jupyter_token(container), _port(text, 8888)
        sort = "lab" if "lab" in text or "start-notebook" in text else "tree"
        tail = f"?token={token}" if token else ""
        lines = [
            "[I ServerApp] jupyter_lsp | extension was successfully linked.",
            "[I ServerApp] Serving notebooks from local directory: "
            + (container["Config"]["WorkingDir"] or "/"),
            "[I ServerApp] Jupyter Server 2.17.0 is running at:",
            f"[I ServerApp] http://{container['Config']['Hostname']}:{port}/{sort}{tail}",
            f"[I ServerApp]     http://127.0.0.1:{port}/{sort}{tail}",
            (
                "[I ServerApp] Use Control-C to stop this server and shut down all kernels "
                "(twice to skip confirmation)."
            ),
        ]
        if token:
            lines += [
                "[C ServerApp] ",
                "    ",
                "    To access the server, open this file in a browser:",
                "        file:///root/.local/share/jupyter/runtime/jpserver-1-open.html",
                "    Or copy and paste one of these URLs:",
                f"        http://{container['Config']['Hostname']}:{port}/{sort}{tail}",
                f"        http://127.0.0.1:{port}/{sort}{tail}",
            ]
        return "\n".join(lines) + "\n"
    if "httpd" in text:
        return (
            "AH00558: httpd: Could not reliably determine the server's fully qualified "
            "domain name, using 172.17.0.2. Set the 'ServerName' directive globally to "
            "suppress this message\nAH00489: Apache/2.4.65 (Unix) configured -- resuming "
            "normal operations\n"
        )
    if "nginx" in text:
        return "/docker-entrypoint.sh: Configuration complete; ready for start up\n"
    if "redis" in text:
        return "1:M * Ready to accept connections tcp\n"
    if "postgres" in text:
        return "LOG:  database system is ready to accept connections\n"
    return str(image.get("Prints", ""))


class ContainerPlace(Place):
    """The inside of one container: its files over the image's, the commands of its system."""

    def __init__(
        self, engine: DockerEngine, container: State, image: State, kept: Path | None = None
    ) -> None:
        system = SYSTEMS[image["System"]]
        super().__init__(
            hostname=container["Config"]["Hostname"],
            system=system,
            disk=Disk(),
            network=engine.place.network,
            state=container["Sandbox"].setdefault("state", {}),
        )
        self.engine, self.container, self.image = engine, container, image
        self.commands = {**_COMMANDS, **({"jupyter": jupyter} if self._has_jupyter() else {})}
        self.packaged = packages.PACKAGED
        if kept is not None:
            self._folders()
            self.disk.load(kept)
            return
        for path, text in base_files(system, self.hostname, "172.17.0.2").items():
            self.disk.write(path, text)
        self._folders()
        if "packages" not in self.state:
            packages.install_base(self, image=True)
        for path, content in image.get("Files", {}).items():
            self.disk.write(path, content if isinstance(content, str) else bytes(content))
        for mount in container["Mounts"]:
            self.disk.mkdir(mount["Destination"])
        if container["Config"]["WorkingDir"]:
            self.disk.mkdir(container["Config"]["WorkingDir"])

    def has(self, name: str) -> bool:
        """Whether a command of that name can be run in the container."""
        if name.startswith("/"):
            return self.disk.exists(name)
        folders = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
        path = (
            dict(item.partition("=")[::2] for item in self.container["Config"]["Env"])
            .get("PATH", "")
            .split(":")
        )
        known = name in self.commands or name in bash_builtins()
        return known or any(self.disk.exists(f"{folder}/{name}") for folder in (*folders, *path))

    def _folders(self) -> None:
        add_programs(self.disk, self.commands)
        for folder in ("/tmp", "/root", "/home", "/var/lib", "/usr/local/bin", "/run"):
            self.disk.mkdir(folder)

    def _has_jupyter(self) -> bool:
        return _is_jupyter(f"{self.image.get('Base', '')} {' '.join(words_of(self.container))}")

    def listening(self) -> Mapping[int, Handler]:
        """The ports that answer within the container."""
        ports = [int(port.split("/")[0]) for port in self.container["Config"].get("ExposedPorts") or {}]
        text = " ".join(words_of(self.container))
        if "http.server" in text:
            ports.append(_port(text, 8000))
        return {port: self.handler(port) for port in ports}

    async def run(
        self,
        script: str,
        *,
        stdin: bytes = b"",
        user: str = "",
        env: Mapping[str, str] | None = None,
        cwd: str = "",
    ) -> Result:
        """Run a script in the container's shell; what is mounted is the host's."""
        self.mount()
        login = self._login(user or self.container["Config"]["User"])
        given = dict(item.partition("=")[::2] for item in self.container["Config"]["Env"])
        folder = cwd or self.container["Config"]["WorkingDir"] or "/"
        result = await execute(
            Run(self, login, script, stdin, {"HOSTNAME": self.hostname, **given, **(env or {})}, folder)
        )
        self.unmount()
        return result

    def _login(self, user: str) -> Login:
        name = user.partition(":")[0] or "root"
        for row in users.table(self, "/etc/passwd").values():
            if name in (row[0], row[2]):
                return self.login(row[0])
        return Login(name, int(name) if name.isdigit() else 1000, 1000, name, (name,), "/")

    def mount(self) -> None:
        """Bring in what the host has at the mounts."""
        host = self.engine.place.disk
        for mount in self.container["Mounts"]:
            source, target = mount["Source"], mount["Destination"]
            if host.is_file(source):
                self.disk.write(target, host.read(source))
                continue
            for name in self.disk.entries(target):
                self.disk.remove(posixpath.join(target, name))
            for name, content in host.copy_of(source).items():
                self.disk.write(posixpath.join(target, name), content)

    def unmount(self) -> None:
        """Hand back what was written at the mounts."""
        host = self.engine.place.disk
        for mount in self.container["Mounts"]:
            if not mount["RW"] or host.is_file(mount["Source"]):
                continue
            before, after = host.copy_of(mount["Source"]), self.disk.copy_of(mount["Destination"])
            for name in before.keys() - after.keys():
                host.remove(posixpath.join(mount["Source"], name))
            for name, content in after.items():
                if before.get(name) != content:
                    host.write(posixpath.join(mount["Source"], name), content)

    def _files(self) -> Disk:
        self.mount()
        return self.disk

    def handler(self, port: int) -> Handler:
        """What serves TCP connections to `port` of the container."""
        text = " ".join(words_of(self.container))

        def note(request: http.Request, reply: http.Reply) -> None:
            self.engine.log(
                self.container,
                (
                    f'172.17.0.1 - - "{request.method} {request.path} HTTP/1.1" '
                    f"{reply.status} {len(reply.body)}\n"
                ),
            )

        if _is_jupyter(text):
            return http.jupyter(jupyter_token(self.container)) if port == _port(text, 8888) else http.silent
        if "httpd" in text and port == 80:
            return http.folder(
                self._files, "/usr/local/apache2/htdocs", "Apache/2.4.65 (Unix)", listing=True, note=note
            )
        if "nginx" in text and port == 80:
            return http.folder(self._files, "/usr/share/nginx/html", "nginx/1.29.1", note=note)
        if "http.server" in text:
            match = re.search(r"(?:-d|--directory)[ =](\S+)", text)
            root = match[1] if match else self.container["Config"]["WorkingDir"] or "/"
            return http.folder(self._files, root, "SimpleHTTP/0.6 Python/3.12", listing=True, note=note)
        if "whoami" in text:
            return http.fixed(
                "whoami", lambda request: f"Hostname: {self.hostname}\nGET {request.path} HTTP/1.1\n"
            )
        if self.image.get("Base") == "registry":
            return http.fixed("registry", lambda request: "{}", "application/json")
        return http.silent


async def jupyter(call: Call) -> int:
    """jupyter server list, jupyter notebook list, jupyter --version."""
    assert isinstance(call.place, ContainerPlace)
    if call.args[1:2] == ["list"]:
        token = jupyter_token(call.place.container)
        port = _port(" ".join(words_of(call.place.container)), 8888)
        call.say("Currently running servers:")
        tail = f"?token={token}" if token else ""
        call.say(
            f"http://{call.place.hostname}:{port}/{tail} :: "
            f"{call.place.container['Config']['WorkingDir'] or '/'}"
        )
        return 0
    call.say("Selected Jupyter core packages...\njupyter_server   : 2.17.0\nnotebook         : 7.4.7")
    return 0


async def pip(call: Call) -> int:
    """pip install: needs a way to the internet, then says what pip says."""
    given = options(call.args, values={"-r", "-i", "--index-url", "-t", "-c"})
    if given.rest[:1] != ["install"]:
        call.say("pip 24.0 from /usr/lib/python3/dist-packages/pip (python 3.12)")
        return 0
    names = list(given.rest[1:])
    for file in given.every("-r"):
        names += [line.split("#")[0].strip() for line in call.place.disk.text(call.path(file)).splitlines()]
        if not call.place.disk.is_file(call.path(file)):
            return call.complain(
                f"ERROR: Could not open requirements file: [Errno 2] No such file or directory: '{file}'"
            )
    names = [
        re.split(r"[\[<>=!~ ;]", name)[0] for name in names if name and not name.startswith(("-", "/", "."))
    ]
    if not call.place.network.internet():
        call.complain(
            "WARNING: Retrying (Retry(total=0, connect=None)) after connection broken by "
            "'NewConnectionError': Temporary failure in name resolution"
        )
        return call.complain(
            f"ERROR: Could not find a version that satisfies the requirement "
            f"{(names or ['pip'])[0]} (from versions: none)\nERROR: No matching "
            f"distribution found for {(names or ['pip'])[0]}"
        )
    call.say(f"Successfully installed {' '.join(names)}")
    return 0


async def python(call: Call) -> int:
    """python3 --version, -m venv FOLDER, -m pip …: no interpreter behind it."""
    if call.args[:2] == ["-m", "pip"]:
        call.args = call.args[2:]
        return await pip(call)
    if call.args[:2] == ["-m", "venv"]:
        folder = call.path(call.args[-1])
        for name in ("python", "python3", "pip"):
            call.place.disk.write(f"{folder}/bin/{name}", f'#!/bin/sh\n{name} "$@"\n', 0o755)
        return 0
    if call.args[:1] in (["--version"], ["-V"]):
        call.say("Python 3.12.3")
        return 0
    return call.complain("python3: simulated machines have no Python interpreter")


async def apk(call: Call) -> int:
    """apk add, apk update: needs a way to the internet."""
    if not call.place.network.internet():
        return call.complain(
            "WARNING: fetching https://dl-cdn.alpinelinux.org/alpine/v3.22/main: DNS: "
            "transient error (try again later)\nERROR: unable to select packages"
        )
    call.say("OK: 12 MiB in 24 packages")
    return 0


_COMMANDS: Mapping[str, Command] = {
    **everywhere.COMMANDS,
    "pip": pip,
    "pip3": pip,
    "python3": python,
    "python": python,
    "apk": apk,
}
