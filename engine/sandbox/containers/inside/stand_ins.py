"""Builds the files of a registry with stand-ins for Docker images: busybox under well-known names.

Runs while the image is built; web.py serves what it leaves in /srv/web.
"""

import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

REGISTRY = Path("/srv/web/registry-1.docker.io/v2")
LABELS = {
    "labctl.stand-in": "true",
    "labctl.note": "not the image of this name: busybox, because no registry can be reached from here",
}
HELLO = "\nHello from Docker!\n(a stand-in of labctl's sandbox: no registry can be reached from here)\n"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SCRIPTS = {
    "bin/bash": '#!/bin/busybox sh\nexec /bin/busybox sh "$@"\n',
    "usr/bin/apt-get": '#!/bin/sh\necho "stand-in: apt-get $* does nothing in this image"\n',
    "usr/bin/pip": '#!/bin/sh\necho "stand-in: pip $* does nothing in this image"\n',
    "hello": f"#!/bin/sh\ncat <<'END'\n{HELLO}END\n",
    # A web server that ends when it is asked to: busybox's own, as the first process, would not.
    "usr/local/bin/httpd-foreground": """#!/bin/sh
trap 'kill $!; exit 0' TERM INT QUIT WINCH
busybox httpd -f -v -p 80 -h "${1-/usr/local/apache2/htdocs}" &
wait $!
""",
    "usr/sbin/nginx": """#!/bin/sh
exec httpd-foreground /usr/share/nginx/html
""",
    "docker-entrypoint.sh": """#!/bin/sh
exec "$@"
""",
    "usr/sbin/useradd": """#!/bin/sh
for name in "$@"; do :; done
echo "$name:x:1000:1000::/home/$name:/bin/sh" >>/etc/passwd
echo "$name:x:1000:" >>/etc/group
mkdir -p "/home/$name"
chown 1000:1000 "/home/$name"
""",
    "usr/bin/install": """#!/bin/sh
owner=root group=root folders=
while [ $# -gt 1 ]; do
  case $1 in
    -d) folders=yes ;;
    -o) owner=$2; shift ;;
    -g) group=$2; shift ;;
    -m) shift ;;
    *) break ;;
  esac
  shift
done
if [ -n "$folders" ]; then mkdir -p "$@" && chown "$owner:$group" "$@"; else cp "$@"; fi
""",
    "usr/bin/python3": """#!/bin/sh
if [ "$1 $2" = '-m venv' ]; then
  mkdir -p "$3/bin"
  ln -s /usr/bin/pip /usr/bin/python3 /usr/bin/jupyter "$3/bin/"
  exit 0
fi
echo 'stand-in: there is no Python in this image' >&2
exit 127
""",
    "usr/bin/jupyter": """#!/bin/sh
token=$(head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \\n')
site=$(mktemp -d)
echo '{"version": "2.14.0", "stand-in": true}' >"$site/api"
echo 'a stand-in for a notebook' >"$site/tree"
cp "$site/tree" "$site/index.html"
echo "stand-in: http://127.0.0.1:8888/tree?token=$token" >&2
exec busybox httpd -f -p 8888 -h "$site"
""",
}
FOLDERS = ("tmp", "root", "home", "etc", "proc", "sys", "dev", "var/tmp", "usr/local/apache2/htdocs", "opt")
FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/var/www:/bin/false\n",
    "etc/group": "root:x:0:\nwww-data:x:33:\n",
    "etc/os-release": 'ID=stand-in\nPRETTY_NAME="stand-in of labctl\'s sandbox (busybox)"\n',
    "usr/local/apache2/htdocs/index.html": "<html><body><h1>It works!</h1></body></html>\n",
    "usr/share/nginx/html/index.html": "<html><body><h1>Welcome to a stand-in</h1></body></html>\n",
}
SLEEP = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 3600 & wait; done"]
IMAGES: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "library/hello-world": (("latest", "linux"), {"Cmd": ["/hello"]}),
    "library/ubuntu": (("latest", "20.04", "22.04", "24.04", "jammy", "noble"), {"Cmd": ["/bin/bash"]}),
    "library/debian": (("latest", "12", "bookworm", "stable-slim", "bookworm-slim"), {"Cmd": ["/bin/bash"]}),
    "library/alpine": (("latest", "3", "3.20"), {"Cmd": ["/bin/sh"]}),
    "library/busybox": (("latest", "1", "stable"), {"Cmd": ["sh"]}),
    "library/python": (("latest", "3", "3.11", "3.12", "3-slim", "3.12-slim"), {"Cmd": ["python3"]}),
    "library/httpd": (
        ("latest", "2", "2.4", "2.4-alpine", "alpine"),
        {"Cmd": ["httpd-foreground"], "WorkingDir": "/usr/local/apache2"},
    ),
    "library/nginx": (
        ("latest", "1", "stable", "alpine"),
        {"Entrypoint": ["/docker-entrypoint.sh"], "Cmd": ["nginx", "-g", "daemon off;"]},
    ),
    "library/redis": (("latest", "7", "alpine"), {"Cmd": SLEEP}),
    "library/postgres": (("latest", "16", "15"), {"Cmd": SLEEP}),
    "jupyter/base-notebook": (("latest",), {"Cmd": ["jupyter", "notebook"]}),
    "jupyter/minimal-notebook": (("latest",), {"Cmd": ["jupyter", "notebook"]}),
    "jupyter/scipy-notebook": (("latest",), {"Cmd": ["jupyter", "notebook"]}),
}
PORTS = {"library/httpd": "80/tcp", "library/nginx": "80/tcp"}


def _layer() -> bytes:
    program = next(Path("/srv/busybox").rglob("bin/busybox"))
    applets = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:

        def add(name: str, data: bytes | None = None, link: str | None = None, mode: int = 0o755) -> None:
            one = tarfile.TarInfo(name)
            one.mode, one.mtime = mode, 0
            if link is not None:
                one.type, one.linkname = tarfile.SYMTYPE, link
            elif data is None:
                one.type = tarfile.DIRTYPE
            else:
                one.size = len(data)
            archive.addfile(one, io.BytesIO(data) if data is not None else None)

        for folder in ("bin", "usr/bin", "usr/sbin", "sbin", *FOLDERS):
            add(folder, mode=0o1777 if folder.endswith("tmp") else 0o755)
        add("bin/busybox", program.read_bytes())
        for name in applets:
            if f"bin/{name}" not in SCRIPTS and name not in ("busybox", "bash"):
                add(f"bin/{name}", link="/bin/busybox")
        for name, text in SCRIPTS.items():
            add(name, text.encode())
        for name, text in FILES.items():
            add(name, text.encode(), mode=0o644)
    return buffer.getvalue()


def _keep(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _blob(name: str, data: bytes) -> str:
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    _keep(REGISTRY / name / "blobs" / digest, data)
    return digest


def main() -> None:
    """Writes the registry."""
    plain = _layer()
    packed = gzip.compress(plain, mtime=0)
    layer_id = "sha256:" + hashlib.sha256(plain).hexdigest()
    arch = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    for name, (tags, settings) in IMAGES.items():
        exposed: dict[str, Any] = {PORTS[name]: {}} if name in PORTS else {}
        config = json.dumps(
            {
                "architecture": arch,
                "os": "linux",
                "created": "2025-01-01T00:00:00Z",
                "config": {"Env": [PATH], "Labels": LABELS, **settings, "ExposedPorts": exposed},
                "rootfs": {"type": "layers", "diff_ids": [layer_id]},
                "history": [{"created": "2025-01-01T00:00:00Z", "created_by": "labctl sandbox stand-in"}],
            }
        ).encode()
        document = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": {
                "mediaType": "application/vnd.docker.container.image.v1+json",
                "size": len(config),
                "digest": _blob(name, config),
            },
            "layers": [
                {
                    "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
                    "size": len(packed),
                    "digest": _blob(name, packed),
                }
            ],
        }
        manifest = json.dumps(document).encode()
        for tag in (*tags, "sha256:" + hashlib.sha256(manifest).hexdigest()):
            _keep(REGISTRY / name / "manifests" / tag, manifest)
    _keep(REGISTRY / "index.html", b"{}")


main()
