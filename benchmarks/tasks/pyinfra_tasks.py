"""The twenty tasks, for pyinfra."""

from io import StringIO

from pyinfra import host
from pyinfra.facts.files import File
from pyinfra.operations import apt, docker, files, server, systemd

for package in ("tree", "bc", "zip", "unzip", "pv"):
    apt.packages(packages=[package], _sudo=True)
files.directory(path="/srv/pyinfra", mode="755", _sudo=True)
files.put(src="notes.txt", dest="/srv/pyinfra/notes.txt", mode="644", _sudo=True)
files.put(src=StringIO("level = 3\n"), dest="/srv/pyinfra/settings", mode="600", _sudo=True)
files.template(src="page.html.j2", dest="/srv/pyinfra/index.html", mode="644", item=host.name, _sudo=True)
files.template(src="about.j2", dest="/srv/pyinfra/about", mode="644", item=host.name, _sudo=True)
server.user(user="pyinfra1", shell="/bin/bash", _sudo=True)
server.user(user="pyinfra2", shell="/bin/bash", comment="Ben", _sudo=True)
server.user(user="pyinfra3", shell="/bin/sh", groups=["adm"], append=True, _sudo=True)
for number in (1, 2, 3):
    systemd.service(service=f"pyinfra-{number}.service", running=True, enabled=True, _sudo=True)
for name, command in (("stamp", "date"), ("index", "ls /usr/bin")):
    if not host.get_fact(File, path=f"/srv/pyinfra/{name}", _sudo=True):
        server.shell(commands=[f"{command} >/srv/pyinfra/{name}"], _sudo=True)
docker.container(container="pyinfra-web", image="page:1", ports=["8021:80"], _sudo=True)
docker.container(
    container="pyinfra-api", image="page:1", ports=["8022:80"], restart_policy="always", _sudo=True
)
