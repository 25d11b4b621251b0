"""Looking at one host's contact stage by stage, without waiting: from its platform to what runs on it."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, Final

from engine.errors import HostUnreachable, LabctlError
from engine.hosts.known_hosts import HostKey
from engine.hosts.waiting import stages
from engine.resource import Approach, Finding

if TYPE_CHECKING:
    from paramiko.transport import Transport

    from engine.hosts.hosts import Hosts
    from engine.hosts.spec import HostSpec

ON_THE_HOST: Final = frozenset({"sudo", "cloud-init", "disk", "Docker"})
"""Stages that matter for working on a host, not for getting through it."""

_SECONDS: Final = 8.0
"""What each stage of the contact may take."""
_ON_THE_HOST: Final = 60.0
"""Seconds for the look around on the host itself."""
_USUAL_USERS: Final = ("ubuntu", "ec2-user", "admin", "debian", "root")
_LITTLE: Final = 200 * 1024
"""Kilobytes on a disk below which nothing can be installed any more."""

_LOOK: Final = r"""
line() { printf '%s %s\n' "$1" "$(printf '%s' "$2" | tr '\n' ' ')"; }
s=
if [ "$(id -u)" = 0 ]; then line sudo root
elif ! command -v sudo >/dev/null 2>&1; then line sudo missing
elif told=$(sudo -n true 2>&1); then line sudo yes; s='sudo -n'
else line sudo "no $told"
fi
if command -v cloud-init >/dev/null 2>&1; then line cloud-init "$(cloud-init status 2>/dev/null)"; fi
for place in / /boot /home /tmp /var /var/lib/docker; do
  [ ! -d "$place" ] || line disk "$(df -Pk "$place" 2>/dev/null | tail -n 1)"
done
if command -v docker >/dev/null 2>&1; then
  if told=$($s docker ps -q 2>&1); then
    version=$($s docker version --format '{{.Server.Version}}' 2>/dev/null)
    line docker "yes $version, containers running: $(printf '%s' "$told" | grep -c .)"
  else line docker "no $(printf '%s' "$told" | tail -n 1)"
  fi
fi
"""


def examine(hosts: Hosts, name: str) -> list[Finding]:
    """What each stage of contacting the host `name` finds, in order, up to the first that stops it.

    The host it is reached through must be reachable.
    """
    spec = hosts.spec(name)
    source = hosts.spec(spec.via).machine.private_address if spec.via else None
    found = spec.machine.examine(Approach(spec.port, source))
    if any(finding.stage == "instance" and finding.well is False for finding in found):
        return found
    try:
        transport = hosts.glance(name, timeout=_SECONDS).transport()
    except HostUnreachable as error:
        return [*found, *_stopped(hosts, spec, error, {finding.stage for finding in found})]
    # Whatever its platform says of the way, it leads there.
    led = [_irrelevant(finding) if finding.well is False else finding for finding in found]
    return [*led, *_contact(spec, transport, {finding.stage for finding in found}), *_inside(hosts, name)]


def _irrelevant(finding: Finding) -> Finding:
    return Finding(finding.stage, None, f"{finding.what}; it answers all the same")


def _stopped(hosts: Hosts, spec: HostSpec, error: HostUnreachable, told: set[str]) -> list[Finding]:
    from engine.hosts.connect import Setback

    setback = error.__cause__
    if not isinstance(setback, Setback):
        # The key file cannot be used: nothing was dialled.
        return [Finding("key", False, error.message.removeprefix(_prefix(spec)), error.remedy)]
    found = [
        Finding(stage, True, words) if mark == "ok" else _failed(hosts, spec, setback)
        for stage, mark, words in stages(spec, setback)
        if mark != "-" and not (mark == "ok" and stage in told | {"instance"})
    ]
    return found


def _prefix(spec: HostSpec) -> str:
    return f"{spec.name} cannot be reached: "


def _failed(hosts: Hosts, spec: HostSpec, setback: Exception) -> Finding:
    from engine.hosts.connect import Setback

    assert isinstance(setback, Setback)
    remedy = setback.remedy
    if setback.stage == "host key":
        known = f"ssh-keygen -R {spec.alias} -f {quote(str(hosts.known_hosts))}"
        remedy = f"if the machine was really made anew: {known}"
    if setback.stage == "login":
        return _refused(hosts, spec, setback.what, remedy)
    return Finding(setback.stage, False, setback.what, remedy or "wait a little, and ask again")


def _refused(hosts: Hosts, spec: HostSpec, what: str, remedy: str) -> Finding:
    """A login that is refused: the user's name or the key, found out by trying the usual names."""
    for user in _USUAL_USERS:
        if user != spec.user and hosts.lets_in(spec, user, timeout=_SECONDS):
            words = f"{what}, and takes the same key for the user {user}"
            return Finding("user", False, words, f"write ssh: {{user: {user}}} in the playbook")
    return Finding("key", False, what, remedy)


def _contact(spec: HostSpec, transport: Transport, told: set[str]) -> list[Finding]:
    shown = transport.get_remote_server_key()
    fingerprint = HostKey(shown.get_name(), shown.get_base64()).fingerprint
    key = spec.key or "your own keys"
    through = f", through {spec.via}" if spec.via else ""
    address = [] if "address" in told else [Finding("address", True, f"{spec.hostname}{through}")]
    return [
        *address,
        Finding("port", True, f"port {spec.port} is open{through}"),
        Finding("SSH", True, str(transport.remote_version)),
        Finding("host key", True, f"{fingerprint} is the known one"),
        Finding("user", True, f"{spec.user} may log in"),
        Finding("key", True, key),
    ]


def _inside(hosts: Hosts, name: str) -> list[Finding]:
    """What is the matter on a host that can be logged in to: one round trip."""
    try:
        ran = hosts.glance(name, timeout=_SECONDS).run(_LOOK, user=None, timeout=_ON_THE_HOST)
    except LabctlError as error:
        return [Finding("shell", False, error.message, error.remedy)]
    told: dict[str, list[str]] = {}
    for line in ran.stdout.decode("utf-8", "replace").splitlines():
        word, _, rest = line.partition(" ")
        told.setdefault(word, []).append(rest.strip())
    return [
        _sudo(name, hosts.spec(name).user, told.get("sudo", [""])[0]),
        _cloud_init(name, told.get("cloud-init", [None])[0]),
        *_disks(name, told.get("disk", [])),
        _docker(name, told.get("docker", [None])[0]),
    ]


def _sudo(name: str, user: str, told: str) -> Finding:
    if told == "root":
        return Finding("sudo", True, "logs in as root")
    if told == "yes":
        return Finding("sudo", True, f"{user} becomes root without a password")
    if told == "missing":
        return Finding("sudo", False, f"{name} has no sudo, and {user} is not root", "log in as root")
    rule = f"echo '{user} ALL=(ALL) NOPASSWD:ALL' | sudo tee /etc/sudoers.d/90-labctl"
    what = told.removeprefix("no ").strip() or "sudo says nothing"
    return Finding("sudo", False, f"{user} may not become root without a password: {what}", f"there: {rule}")


def _cloud_init(name: str, told: str | None) -> Finding:
    if told is None:
        return Finding("cloud-init", None, "not installed")
    state = told.partition("status:")[2].split()[0] if "status:" in told else "not told"
    if state == "running":
        return Finding(
            "cloud-init", False, "it is still being set up", f"labctl ssh {name} cloud-init status --wait"
        )
    if state == "error":
        log = f"labctl ssh {name} sudo tail -n 30 /var/log/cloud-init-output.log"
        return Finding(
            "cloud-init", False, "its user data failed", f"{log}; then labctl apply --replace {name}"
        )
    return Finding("cloud-init", True, state)


def _disks(name: str, lines: list[str]) -> list[Finding]:
    found = {}
    for line in lines:
        cells = line.split()
        if len(cells) >= 6 and cells[1].isdigit() and cells[3].isdigit():
            found[cells[5]] = (int(cells[1]), int(cells[3]))
    if not found:
        return [Finding("disk", None, "its size is not told")]
    return [_disk(name, place, *sizes) for place, sizes in found.items()]


def _disk(name: str, place: str, size: int, free: int) -> Finding:
    words = f"{place} has {free / 1024 / 1024:.1f} of {size / 1024 / 1024:.1f} GB free"
    if free >= min(_LITTLE, size // 20):
        return Finding("disk", True, words)
    remedy = f"labctl ssh {name} sudo apt-get clean, or make its volume bigger and apply"
    return Finding("disk", False, f"{place} is full: {words}", remedy)


def _docker(name: str, told: str | None) -> Finding:
    if told is None:
        return Finding("Docker", None, "not installed")
    if told.startswith("yes"):
        return Finding("Docker", True, told.removeprefix("yes "))
    words = told.removeprefix("no ").strip()
    return Finding(
        "Docker", False, f"it does not answer: {words}", f"labctl ssh {name} sudo systemctl start docker"
    )
