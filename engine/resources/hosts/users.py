"""Accounts on hosts: `user`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, Field

from engine.by_hand import word
from engine.on_host import OnHost, Upload, told
from engine.refs import Unknown
from engine.resource import Fixed, Output, Secret, Values
from engine.resources.hosts._shell import FAIL, Account, HostPath, known, listed, quote

_BEGIN, _END = "# labctl begin", "# labctl end"
_HOW = ("append", "create_home", "system")
"""Fields that say how to make it and cannot be read back."""


def _keys(keys: list[str]) -> list[str]:
    for key in keys:
        if isinstance(key, str) and not re.fullmatch(
            r"(\S.* )?(ssh-|ecdsa-|sk-)\S+ [A-Za-z0-9+/=]+( .*)?", key.strip()
        ):
            raise ValueError("a public key is one line, such as `ssh-ed25519 AAAA… name`")
    return [key.strip() for key in keys]


def _password(value: str) -> str:
    if not re.fullmatch(r"[!*]|\$[A-Za-z0-9./=,$-]+|_[A-Za-z0-9./]+", value):
        raise ValueError(
            "must be a password's hash, as `mkpasswd --method=yescrypt` prints it, not the password"
        )
    return value


class User(OnHost):
    """A user account on a host, with its groups and the keys that may log in."""

    kind: ClassVar[str] = "user"
    outputs: ClassVar[Mapping[str, Output]] = {
        "uid": Output("its number"),
        "gid": Output("the number of its own group"),
        "home": Output("its home folder"),
    }

    name: Fixed[Account] = Field(description="its login name")
    groups: list[Account] | None = Field(default=None, description="groups it is in besides its own")
    append: bool = Field(
        default=True, description="leave it in other groups that it is in; `false` takes it out of them"
    )
    shell: HostPath | None = Field(default=None, description="its login shell")
    home: HostPath | None = Field(default=None, description="its home folder; files move when it changes")
    create_home: bool = Field(default=True, description="make the home folder")
    system: bool = Field(default=False, description="an account for a service: a low number, no expiry")
    uid: int | None = Field(default=None, ge=1, description="its number")
    comment: str | None = Field(default=None, pattern=r"^[^:\n]*$", description="its full name")
    password: Secret[Annotated[str, AfterValidator(_password)] | None] = Field(
        default=None, description="the hash of its password; without one, only keys log in"
    )
    ssh_authorized_keys: Annotated[list[str], AfterValidator(_keys)] | None = Field(
        default=None, description="public keys that may log in, besides those that others put there"
    )

    def natural_id(self) -> str:
        """Its login name."""
        return self.name

    def wanted(self, also: Sequence[str] = ()) -> Values:
        """Groups are a set."""
        values = {name: value for name, value in super().wanted(also).items() if name not in _HOW}
        if known(self.groups):
            values["groups"] = sorted(set(self.groups or ()))
        return values

    @classmethod
    def look(cls, id: str, wanted: Self | None) -> str:
        """Prints its line of passwd, its groups, and the keys in labctl's part of authorized_keys."""
        name = quote(id)
        only = ""
        if wanted and wanted.append and known(wanted.groups):
            only = f"only {' '.join(wanted.groups or ())}"
        return (
            f"getent passwd -- {name} || exit 0\n"
            f'echo "groups $(id -Gn -- {name})"\necho "own $(id -gn -- {name})"\necho {quote(only)}\n'
            f"home=$(getent passwd -- {name} | cut -d: -f6)\n"
            f'[ ! -f "$home/.ssh/authorized_keys" ] || '
            f"sed -n '/^{_BEGIN}$/,/^{_END}$/p' \"$home/.ssh/authorized_keys\"\n"
        )

    @classmethod
    def parse(cls, id: str, status: int, output: bytes) -> Values | None:
        """Number, home, shell, comment, groups and keys; groups that do not matter are left out."""
        lines = output.decode(errors="replace").splitlines()
        entry = lines[0].split(":") if lines else []
        if len(entry) != 7:
            return None
        _, _, uid, gid, comment, home, shell = entry
        groups = set(lines[1].split()[1:]) - set(lines[2].split()[1:])
        if lines[3].startswith("only"):
            groups &= set(lines[3].split()[1:])
        keys = [line for line in lines[4:] if line not in (_BEGIN, _END)]
        return {
            "name": id,
            "uid": int(uid),
            "gid": int(gid),
            "comment": comment,
            "home": home,
            "shell": shell,
            "groups": sorted(groups),
            "ssh_authorized_keys": keys,
        }

    def commands(self, there: Values | None, changed: frozenset[str]) -> str:
        """`useradd`, or `usermod` for what differs; then the password and the keys."""
        name = quote(self.name)
        fields = changed if there is not None else frozenset(self.model_fields_set)
        lines = [
            f"if getent passwd -- {name} >/dev/null; then\n{self._modify(fields)}else\n{self._add()}fi\n"
        ]
        number = 1
        if self.password is not None:
            if "password" in fields:
                lines.append(f'chpasswd -e <"$labctl_upload_{number}"\n')
            number += 1
        if self.ssh_authorized_keys is not None and "ssh_authorized_keys" in fields:
            lines.append(_write_keys(name, number))
        return FAIL + "".join(lines)

    def _options(self, fields: frozenset[str]) -> str:
        options = {"uid": "-u", "shell": "-s", "home": "-d", "comment": "-c"}
        set_ = [(flag, getattr(self, name)) for name, flag in options.items() if name in fields]
        return "".join(f" {flag} {quote(value)}" for flag, value in set_ if value is not None)

    def _add(self) -> str:
        options = self._options(frozenset(type(self).model_fields))
        options += " -m" if self.create_home else " -M"
        options += " -r" if self.system else ""
        options += f" -G {quote(','.join(self.groups))}" if self.groups else ""
        name = quote(self.name)
        # A group of that name that is there already becomes its own group.
        return f"  if getent group -- {name} >/dev/null; then useradd{options} -g {name} -- {name}\n" + (
            f"  else useradd{options} -- {name}; fi\n"
        )

    def _modify(self, fields: frozenset[str]) -> str:
        options = self._options(fields)
        options += " -m" if "home" in fields and self.home and self.create_home else ""
        if "groups" in fields and self.groups is not None:
            options += f" {'-a ' if self.append else ''}-G {quote(','.join(self.groups))}"
        return f"  usermod{options} -- {quote(self.name)}\n" if options else "  :\n"

    @classmethod
    def regroups(cls, id: str, login: str) -> bool:
        """Its own groups."""
        return id == login

    def uploads(self) -> Sequence[Upload]:
        """The password's hash for chpasswd; the keys."""
        files = []
        if self.password is not None:
            files.append(Upload(f"{self.name}:{self.password}\n".encode()))
        if self.ssh_authorized_keys is not None:
            files.append(Upload("".join(f"{key}\n" for key in self.ssh_authorized_keys).encode()))
        return files

    @classmethod
    def removal(cls, id: str, there: Values | None) -> str:
        """Ends its processes, removes it and its home folder."""
        return (
            f"getent passwd -- {quote(id)} >/dev/null || exit 0\n"
            f"pkill -KILL -u {quote(id)} || :\nuserdel -r -- {quote(id)}\n"
        )

    @classmethod
    def explain_failure(cls, status: int, stderr: str) -> tuple[str, str] | None:
        """useradd's and usermod's errors in words."""
        if found := re.search(r"group '([^']+)' does not exist", stderr):
            return (
                f"there is no group {found[1]} on the host",
                "if the lab makes it (docker_engine makes docker), add what does so to `depends_on`",
            )
        if found := re.search(r"UID '?(\d+)'? (?:is not unique|already exists)", stderr):
            return (
                f"the number {found[1]} belongs to another user of the host",
                "choose another `uid`, or none",
            )
        if found := re.search(r"user (\S+) is currently used by process (\d+)", stderr):
            return (
                f"{found[1]} is logged in on the host (process {found[2]})",
                "log out there, and run this again",
            )
        return told(stderr)

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`useradd`, `usermod` or `userdel`."""
        if action == "delete":
            return [f"sudo userdel -r {word(id)}"]
        name = word(self.name)
        groups = "" if self.groups is None else word(_joined(self.groups))
        if action == "update":
            return [f"sudo usermod -aG {groups} {name}"] if "groups" in changed else [f"sudo usermod {name}"]
        options = [
            (flag, getattr(self, field)) for field, flag in (("shell", "-s"), ("home", "-d"), ("uid", "-u"))
        ]
        typed = "".join(f" {flag} {word(value)}" for flag, value in options if value is not None)
        return [f"sudo useradd -m{typed}{f' -G {groups}' if groups else ''} {name}"] + [
            f"echo {word(key)} | sudo tee -a ~{self.name}/.ssh/authorized_keys"
            for key in listed(self.ssh_authorized_keys)
        ]


def _joined(names: Any) -> Any:
    unknown = [name for name in listed(names) if isinstance(name, Unknown)]
    return unknown[0] if unknown else ",".join(names)


def _write_keys(name: str, number: int) -> str:
    return (
        f"home=$(getent passwd -- {name} | cut -d: -f6)\ngroup=$(id -gn -- {name})\n"
        f'install -d -m 0700 -o {name} -g "$group" "$home/.ssh"\n'
        'keys=$home/.ssh/authorized_keys\nnew=$(mktemp "$home/.ssh/.authorized_keys.XXXXXX")\n'
        f'{{ [ ! -f "$keys" ] || sed -e \'/^{_BEGIN}$/,/^{_END}$/d\' "$keys"\n'
        f'  echo {quote(_BEGIN)}; cat "$labctl_upload_{number}"; echo {quote(_END)}; }} >"$new"\n'
        f'chown {name}:"$group" "$new"\nchmod 0600 "$new"\nmv -fT -- "$new" "$keys"\n'
    )
