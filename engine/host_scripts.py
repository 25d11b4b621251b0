"""Scripts for hosts, put together so that one round trip does one step or looks at everything on a host."""

from __future__ import annotations

import base64
import binascii
import hashlib
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from engine.errors import StepFailed
from engine.hosts.restarting import restart
from engine.hosts.wire import SAY

if TYPE_CHECKING:
    from engine.hosts import Host, Ran
    from engine.on_host import OnHost
    from engine.resource import Values
    from engine.world import World

Answer = tuple[int, bytes]
"""Exit status and output of a look."""

LOOK_SECONDS: Final = 20
"""How long one look may take when a plan reads a host."""
_LOOK_AFTER_SECONDS: Final = 300
_TAIL_LINES: Final = 12

# Each look is a shell of its own with a deadline, and what it prints travels as base64: any bytes survive,
# and no look can disturb another. The last line within is its exit status.
_LOOKER: Final = """\
labctl_look() {
printf '== %s\\n' "$1"
{ timeout "$2" sh -c "$3" </dev/null 2>/dev/null; printf '\\n%s' "$?"; } | base64
}
"""


def prelude(lab: str, address: str, tags: Mapping[str, str]) -> str:
    """The lines that every script of a kind finds before it: who it acts for, as shell variables.

    `$labctl_lab`, `$labctl_address`; `$labctl_record`, a folder on the host for what labctl must remember
    there of this resource (made by who needs it); `$labctl_labels`, the tags as shell-quoted `--label
    key=value` options.
    """
    key = hashlib.sha256(f"{lab}\n{address}".encode()).hexdigest()[:24]
    labels = " ".join(f"--label {shlex.quote(f'{name}={value}')}" for name, value in sorted(tags.items()))
    return (
        f"labctl_lab={shlex.quote(lab)}\n"
        f"labctl_address={shlex.quote(address)}\n"
        f"labctl_record=/var/lib/labctl/{key}\n"
        f"labctl_labels={shlex.quote(labels)}\n"
    )


def look_at(host: Host, looks: Sequence[str], *, quiet: bool = False) -> list[Answer]:
    """Exit status and output of each look (a script with its prelude), all in one round trip.

    Raises StepFailed where the host answers with something else, HostUnreachable where it does not.
    """
    script = _LOOKER + "".join(_call(at, look, LOOK_SECONDS) for at, look in enumerate(looks))
    ran = host.run(script, timeout=(LOOK_SECONDS + 5) * len(looks) + 30, quiet=quiet)
    return _answers(ran, len(looks), host.name)


def change(
    resource: OnHost,
    world: World,
    id: str,
    there: Values | None,
    changed: frozenset[str],
    ahead: str | None = None,
) -> tuple[Values | None, Answer | None]:
    """Bring what is there to what `resource` says and look again, in one round trip; what it reads as then.

    Where it restarts the host, that comes between the two. `ahead` is a look at something else that goes
    along, last; the second thing given is its answer, None where there is none.
    Raises StepFailed with the end of what the commands wrote (or, for `world.job.quiet`, without it).
    """
    job = world.job
    head = prelude(world.lab, job.address, job.tags)
    looks = _call(0, head + resource.look(id, resource), _LOOK_AFTER_SECONDS)
    if ahead is not None:
        looks += _call(1, ahead, LOOK_SECONDS)
    script = _LOOKER + _guarded(head + resource.commands(there, changed)) + looks
    host = _host(world)
    ran = host.run(script, files=resource.uploads(), timeout=job.timeout, quiet=job.quiet, say=job.say)
    _check(type(resource), ran, host.name, quiet=job.quiet)
    how = resource.restart()
    if how is not None:
        restart(world.hosts, host.name, how, say=job.say)
        return look(type(resource), world, [id], resource).get(id), None
    if resource.regroups(id, host.login):
        host.reconnect()
    now, *then = _answers(ran, 1 if ahead is None else 2, host.name)
    return resource.parse(id, *now), then[0] if then else None


def remove(kind: type[OnHost], world: World, id: str, there: Values | None) -> None:
    """Remove the thing from its host; quiet if it is gone already."""
    job = world.job
    script = _guarded(prelude(world.lab, job.address, job.tags) + kind.removal(id, there))
    host = _host(world)
    ran = host.run(script, timeout=job.timeout, quiet=job.quiet, say=job.say)
    _check(kind, ran, host.name, quiet=job.quiet)
    if kind.regroups(id, host.login):
        host.reconnect()


def look(
    kind: type[OnHost], world: World, ids: Sequence[str], wanted: OnHost | None = None
) -> dict[str, Values]:
    """What is there of `ids` on the host of `world.job`, in one round trip."""
    looks = [look_script(kind, world, id, wanted) for id in ids]
    answers = look_at(_host(world), looks, quiet=world.job.quiet) if looks else []
    read = {id: kind.parse(id, *answer) for id, answer in zip(ids, answers, strict=True)}
    return {id: values for id, values in read.items() if values is not None}


def look_script(kind: type[OnHost], world: World, id: str, wanted: OnHost | None) -> str:
    """The look at `id` on the host of `world.job`, with its prelude."""
    return prelude(world.lab, world.job.address, world.job.tags) + kind.look(id, wanted)


def _host(world: World) -> Host:
    job = world.job
    if job.host is None:
        raise StepFailed(f"{job.address} has no host")
    return world.hosts.host(job.host, say=job.say, timeout=job.timeout, stopped=job.stopped)


def _call(at: int, look: str, seconds: int) -> str:
    return f"labctl_look {at} {seconds} {shlex.quote(look)}\n"


def _guarded(commands: str) -> str:
    """`commands` up to the first that fails, then on, or out with its exit status.

    They run in a subshell that is no part of a condition: there `set -e` would not count.
    """
    return (
        f"(\nset -eu\n{commands}\n) </dev/null >&2\n"
        "labctl_status=$?\n"
        '[ "$labctl_status" -eq 0 ] || exit "$labctl_status"\n'
    )


def _answers(ran: Ran, count: int, host: str) -> list[Answer]:
    parts: dict[int, list[bytes]] = {}
    lines: list[bytes] = []
    for line in ran.stdout.splitlines():
        if line.startswith(b"== "):
            lines = parts.setdefault(int(line[3:]), [])
        else:
            lines.append(line)
    try:
        return [_answer(b"".join(parts[at])) for at in range(count)]
    except (KeyError, ValueError, binascii.Error):
        raise StepFailed(
            f"{host} answers with something else than what was asked: {_tail(ran.stderr) or 'nothing'}",
            f"see what `labctl ssh {host} true` prints: login scripts must be quiet",
        ) from None


def _answer(encoded: bytes) -> Answer:
    output, _, status = base64.b64decode(encoded, validate=True).rpartition(b"\n")
    return int(status), output


def _check(kind: type[OnHost], ran: Ran, host: str, *, quiet: bool) -> None:
    if ran.status == 0:
        return
    if quiet:
        raise StepFailed(
            f"the commands on {host} ended with exit status {ran.status} (no_log: output withheld)"
        )
    stderr = _without_asides(ran.stderr)
    explained = kind.explain_failure(ran.status, stderr.decode(errors="replace"))
    if explained is not None:
        raise StepFailed(*explained)
    tail = _tail(stderr)
    if b"No space left on device" in stderr:
        raise StepFailed(
            f"the disk of {host} is full:\n{tail}",
            f"see where: labctl ssh {host} df -h; make room there, or give it a larger volume",
        )
    raise StepFailed(
        f"the commands on {host} ended with exit status {ran.status}" + (f":\n{tail}" if tail else "")
    )


def _without_asides(stderr: bytes) -> bytes:
    """What a script wrote, without the lines that the user has heard already."""
    aside = SAY.encode()
    return b"".join(line for line in stderr.splitlines(keepends=True) if not line.startswith(aside))


def _tail(output: bytes) -> str:
    lines = [line.rstrip() for line in output.decode(errors="replace").splitlines() if line.strip()]
    return "\n".join(lines[-_TAIL_LINES:])
