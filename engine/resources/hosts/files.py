"""Files and folders on hosts: `file`, `copy`, `template`."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from engine.by_hand import word
from engine.local_files import LocalFile, TemplateFile
from engine.on_host import OnHost, Upload
from engine.refs import Unknown
from engine.resource import Fixed, Output, Values
from engine.resources.hosts._shell import FAIL, Account, HostPath, Mode, quote, text_hash

_TYPES: Mapping[str, str] = {"directory": "directory", "symbolic link": "link"}


class _Placed(OnHost):
    """What has a place in a host's file system, an owner, a group and a mode."""

    mode: Mode | None = Field(default=None, description='permissions in quotes, such as "0644"')
    owner: Account | None = Field(default=None, description="the user it belongs to")
    group: Account | None = Field(default=None, description="the group it belongs to")

    @classmethod
    def _stat(cls, path: str, wanted: Self | None, *, follow: bool) -> str:
        # A number is compared with a number, a name with a name.
        owner, group = (wanted.owner, wanted.group) if wanted else (None, None)
        form = f"%F|%a|{_account_form(owner, '%u', '%U')}|{_account_form(group, '%g', '%G')}"
        return f"stat {'-L ' if follow else ''}-c {quote(form)} -- {quote(path)} 2>/dev/null || exit 0\n"

    def _permissions(self, path: str, *, link: bool = False) -> str:
        """Commands that set owner, group and mode as asked for, in an order that keeps set-id bits."""
        owner = _owner_words(self.owner, self.group)
        lines = []
        if owner:
            lines.append(f"chown {'-h ' if link else ''}{quote(owner)} {path}")
        if self.mode and not link:
            # With five digits chmod also takes the set-group-id bit off a folder.
            lines.append(f"chmod 0{self.mode} {path}")
        return "".join(line + "\n" for line in lines)

    def _permissions_by_hand(self, path: str) -> list[str]:
        lines = []
        if self.owner or self.group:
            lines.append(f"sudo chown {word(_owner_words(self.owner, self.group))} {path}")
        if self.mode is not None:
            lines.append(f"sudo chmod {word(self.mode)} {path}")
        return lines


def _record(path: str) -> str:
    """The file on the host that holds the name of the lab that made what is at `path`."""
    return f"/var/lib/labctl/owner-{hashlib.sha256(path.encode()).hexdigest()[:24]}"


def _claim(path: str) -> str:
    """Commands that end in words where another lab made what is there, and else note who makes it now.

    What was there before any lab bears no record: it is forgotten and not removed when a lab goes.
    """
    there, record = quote(path), _record(path)
    remedy = f"let one lab alone manage it; if that lab is gone: sudo rm {record} on the host"
    return (
        f"{FAIL}if [ -e {there} ] || [ -L {there} ]; then\n"
        f"  whose=$(cat {record} 2>/dev/null) || whose=$labctl_lab\n"
        f'  [ "$whose" = "$labctl_lab" ] || '
        f'fail {quote(f"{path} was made by another lab: ")}"$whose" {quote(remedy)}\n'
        "else\n"
        f"  mkdir -p -- {posixpath.dirname(record)}\n"
        f"  printf '%s\\n' \"$labctl_lab\" >{record}\n"
        "fi\n"
    )


def _unless_claimed(path: str, remove: str) -> str:
    """The line `remove`, left out where another lab has made what is there since."""
    record = _record(path)
    return (
        f"whose=$(cat {record} 2>/dev/null) || whose=$labctl_lab\n"
        f'if [ "$whose" = "$labctl_lab" ]; then\n  {remove}\n  rm -f -- {record}\nfi\n'
    )


def _account_form(account: Any, number: str, name: str) -> str:
    return number if isinstance(account, str) and account.isdigit() else name


def _owner_words(owner: Any, group: Any) -> Any:
    """What `chown` is given; the first of the two that is not known yet stands for both."""
    for part in (owner, group):
        if isinstance(part, Unknown):
            return part
    return f"{owner or ''}{':' + group if group else ''}"


def _read(output: bytes) -> tuple[Values, str | None] | None:
    """Type, mode, owner and group out of the first line of a look, and its second line; None for nothing."""
    first, *more = output.decode(errors="replace").splitlines() or [""]
    parts = first.split("|")
    if len(parts) != 4:
        return None
    what, mode, owner, group = parts
    values = {"type": _TYPES.get(what, "file"), "mode": mode.zfill(4), "owner": owner, "group": group}
    return values, more[0] if more else None


class File(_Placed):
    """A folder, a symbolic link or an empty file on a host, with its owner and permissions."""

    kind: ClassVar[str] = "file"
    outputs: ClassVar[Mapping[str, Output]] = {"path": Output("where it is on its host")}

    path: Fixed[HostPath] = Field(description="where it is to be")
    type: Fixed[Literal["directory", "file", "link"]] = Field(
        default="file", description="a folder, a file (made empty if it is not there) or a symbolic link"
    )
    src: str | None = Field(default=None, description="for a link: what it points to")

    @model_validator(mode="after")
    def _links_point(self) -> Self:
        if self.type == "link" and self.src is None:
            raise ValueError("a link needs `src`, the path it points to")
        if self.type != "link" and self.src is not None and not isinstance(self.type, Unknown):
            raise ValueError("only a link (type: link) has `src`; the kind `copy` writes a file's content")
        if self.type == "link" and self.mode is not None:
            raise ValueError("a link has no mode of its own; leave `mode` out")
        return self

    def natural_id(self) -> str:
        """Its path."""
        return self.path

    @classmethod
    def look(cls, id: str, wanted: Self | None) -> str:
        """Prints `type|mode|owner|group`, then what a link points to."""
        return cls._stat(id, wanted, follow=False) + f"readlink -- {quote(id)} || :\n"

    @classmethod
    def parse(cls, id: str, status: int, output: bytes) -> Values | None:
        """Type, mode, owner, group and a link's target."""
        read = _read(output)
        if read is None:
            return None
        values, target = read
        return {"path": id, **values, **({"src": target} if values["type"] == "link" else {})}

    def commands(self, there: Values | None, changed: frozenset[str]) -> str:
        """Makes what is missing, then sets owner and mode."""
        path, folder = quote(self.path), f"mkdir -p -- {quote(posixpath.dirname(self.path))}\n"
        test, what, make = {
            "directory": ("-d", "folder", f"mkdir -p -- {path}\n"),
            "file": ("-f", "file", f"{folder}[ -e {path} ] || : >{path}\n"),
            "link": ("-L", "link", f"{folder}ln -sfn -- {quote(self.src or '')} {path}\n"),
        }[self.type]
        refuse = f"fail {quote(f'{self.path} is there already and is no {what}')}"
        make = f"[ {test} {path} ] || [ ! -e {path} ] || {refuse}\n{make}"
        return _claim(self.path) + make + self._permissions(path, link=self.type == "link")

    @classmethod
    def removal(cls, id: str, there: Values | None) -> str:
        """Removes it; a folder goes with what is in it."""
        return _unless_claimed(id, f"rm -rf --one-file-system -- {quote(id)}")

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`mkdir`, `touch` or `ln`, then `chown` and `chmod`."""
        if action == "delete":
            return [f"sudo rm -r {word(id)}"]
        path = word(self.path)
        make = {"directory": f"sudo mkdir -p {path}", "link": f"sudo ln -sfn {word(self.src)} {path}"}
        first = [make.get(self.type, f"sudo touch {path}")] if action == "create" or "src" in changed else []
        return first + self._permissions_by_hand(path)


class _Content(_Placed):
    """A file on a host whose whole content the playbook gives."""

    dest: Fixed[HostPath] = Field(description="the whole path of the file on the host")

    outputs: ClassVar[Mapping[str, Output]] = {
        "path": Output("where it is on its host"),
        "sha256": Output(
            "hash of its content; as a trigger of a service, it restarts it when the file changes"
        ),
    }

    _holds: ClassVar[tuple[str, ...]] = ()
    """The fields that give the content."""

    def natural_id(self) -> str:
        """Its path."""
        return self.dest

    @classmethod
    def unsettles(cls, changed: frozenset[str]) -> frozenset[str]:
        """New content has another hash."""
        return frozenset({"sha256"}) if changed & set(cls._holds) else frozenset()

    @classmethod
    def describe_difference(cls, name: str, wanted: Any, there: Any) -> str | None:
        """Hashes say little: the content differs."""
        return "its content differs" if name in cls._holds else None

    @classmethod
    def look(cls, id: str, wanted: Self | None) -> str:
        """Prints `type|mode|owner|group`, then the hash of the content."""
        return cls._stat(id, wanted, follow=True) + f"[ ! -f {quote(id)} ] || sha256sum -- {quote(id)}\n"

    @classmethod
    def parse(cls, id: str, status: int, output: bytes) -> Values | None:
        """Mode, owner, group; the content's hash stands for the fields that give it."""
        read = _read(output)
        if read is None:
            return None
        values, line = read
        del values["type"]
        # sha256sum begins the line with a backslash where it had to escape the file's name.
        digest = line.lstrip("\\").split(" ", 1)[0] if line else None
        content = f"sha256:{digest}" if digest else None
        return {"dest": id, "path": id, "sha256": digest, **dict.fromkeys(cls._holds, content), **values}

    def commands(self, there: Values | None, changed: frozenset[str]) -> str:
        """Writes beside the file and moves into its place, so that nobody sees half a file."""
        dest = quote(self.dest)
        if there is not None and not changed & set(self._holds):
            return _claim(self.dest) + self._permissions(dest)
        folder, name = posixpath.split(self.dest)
        mode = self.mode or '"$mode"'
        permissions = self.model_copy(update={"mode": None})._permissions('"$new"')
        return (
            f"{_claim(self.dest)}"
            f"[ ! -d {dest} ] || fail {quote(f'{self.dest} is a folder on the host, not a file')}\n"
            f"mkdir -p -- {quote(folder)}\n"
            f"mode=0644 owner=0:0\n"
            f"if [ -e {dest} ]; then\n"
            f"  mode=$(stat -L -c %a -- {dest})\n  owner=$(stat -L -c %u:%g -- {dest})\nfi\n"
            f"new=$(mktemp {quote(posixpath.join(folder, f'.{name}.labctl.XXXXXX'))})\n"
            f'cat -- "$labctl_upload_1" >"$new" || {{ rm -f -- "$new"; exit 1; }}\n'
            f'chown "$owner" "$new"\n'
            f"{permissions}"
            f'chmod {mode} "$new"\n'
            f'mv -fT -- "$new" {dest}\n'
        )

    @classmethod
    def removal(cls, id: str, there: Values | None) -> str:
        """Removes the file."""
        return _unless_claimed(id, f"rm -f -- {quote(id)}")

    def _write_by_hand(self, dest: str) -> list[str]:
        raise NotImplementedError(type(self).kind)

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """Writes the file, then `chown` and `chmod`."""
        if action == "delete":
            return [f"sudo rm {word(id)}"]
        dest = word(self.dest)
        write = action == "create" or bool(changed & set(self._holds))
        return (self._write_by_hand(dest) if write else []) + self._permissions_by_hand(dest)


def _typed(text: str | Unknown, dest: str) -> list[str]:
    """Commands that a person types to write `text` to `dest`."""
    shown = f"({text})" if isinstance(text, Unknown) else text
    folder = posixpath.dirname(dest.strip("'")) or "/"
    end = "" if shown.endswith("\n") else "\n"
    return [f"sudo mkdir -p {quote(folder)}", f"sudo tee {dest} >/dev/null <<'END'\n{shown}{end}END"]


class Copy(_Content):
    """A file on a host with the content of a file beside the playbook, or with a text."""

    kind: ClassVar[str] = "copy"
    any_text: ClassVar[frozenset[str]] = frozenset({"content"})
    _holds: ClassVar[tuple[str, ...]] = ("src", "content")

    src: LocalFile | None = Field(default=None, description="a file beside the playbook or in templates/")
    content: str | None = Field(default=None, description="the text itself")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.src is None) == (self.content is None):
            raise ValueError("needs either `src`, a file, or `content`, a text")
        return self

    def wanted(self, also: Sequence[str] = ()) -> Values:
        """The content is compared by its hash."""
        values = super().wanted(also)
        if self.src is not None:
            values["src"] = self.src if isinstance(self.src, Unknown) else f"sha256:{self.src.sha256}"
        if self.content is not None:
            values["content"] = self.content if isinstance(self.content, Unknown) else text_hash(self.content)
        return values

    def in_full(self) -> Values:
        """The text behind its hash."""
        if self.src is None:
            return {"content": self.content, "sha256": self.content}
        if isinstance(self.src, Unknown):
            return {}
        text = self.src.text()
        return {"src": text, "sha256": text}

    def uploads(self) -> Sequence[Upload]:
        """The file, or the text."""
        if self.src is not None:
            return (Upload(self.src.path),)
        return (Upload((self.content or "").encode()),)

    def _write_by_hand(self, dest: str) -> list[str]:
        if self.content is not None:
            return _typed(self.content, dest)
        if self.src is None or isinstance(self.src, Unknown):
            return []
        name = self.src.path.name
        return [
            f"# before that, from your machine: scp {quote(self.src.path)} HOST:/tmp/{quote(name)}",
            f"sudo install -D {quote('/tmp/' + name)} {dest}",
        ]


class Template(_Content):
    """A file on a host made from a Jinja2 template beside the playbook."""

    kind: ClassVar[str] = "template"
    _holds: ClassVar[tuple[str, ...]] = ("src",)

    src: TemplateFile = Field(description="the template, a file beside the playbook or in templates/")

    def wanted(self, also: Sequence[str] = ()) -> Values:
        """The content is compared by its hash."""
        text = self.src if isinstance(self.src, Unknown) else self.src.text
        return {**super().wanted(also), "src": text if isinstance(text, Unknown) else text_hash(text)}

    def in_full(self) -> Values:
        """The text behind its hash."""
        return {} if isinstance(self.src, Unknown) else dict.fromkeys(("src", "sha256"), self.src.text)

    def uploads(self) -> Sequence[Upload]:
        """The filled-in text."""
        return (Upload(str(self.src.text).encode()),)

    def _write_by_hand(self, dest: str) -> list[str]:
        return [] if isinstance(self.src, Unknown) else _typed(self.src.text, dest)
