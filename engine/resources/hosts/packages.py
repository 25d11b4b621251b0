"""Packages of a host's distribution: `apt`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, Field, model_validator

from engine.by_hand import word
from engine.on_host import OnHost, told
from engine.refs import Unknown, holds_unknown
from engine.resource import Values
from engine.resources.hosts._apt import APT, IS_INSTALLED, explain_apt
from engine.resources.hosts._shell import FAIL, Texts, listed, quote, words

_RECORD = """\
record=$labctl_record/apt
missing=
begin() {
  mkdir -p -- "$labctl_record"
  printf 'owner %s\\n' "$labctl_lab" >"$record.new"
  [ ! -f "$record" ] || grep '^installed ' "$record" >>"$record.new" || :
  mv -f -- "$record.new" "$record"
}
is_missing() {
  missing="$missing $2"
  [ -z "$(version_of "$1")" ] || return 0
  grep -qxF -e "installed $1" "$record" || printf 'installed %s\\n' "$1" >>"$record"
}
drop_unwanted() {
  gone= kept=
  for name in $(sed -n 's/^installed //p' "$record"); do
    if grep -qxF -e "wants $name" "$record"; then kept="$kept $name"; continue; fi
    other=$(grep -lxF -e "wants $name" /var/lib/labctl/*/apt 2>/dev/null | head -n 1)
    if [ -n "$other" ]; then printf 'installed %s\\n' "$name" >>"$other"; continue; fi
    [ -z "$(version_of "$name")" ] || gone="$gone $name"
  done
  [ -z "$gone" ] || apt_do purge $gone
  grep -v '^installed ' "$record" >"$record.new" || :
  for name in $kept; do printf 'installed %s\\n' "$name" >>"$record.new"; done
  mv -f -- "$record.new" "$record"
}
"""
"""The record of one resource: `owner LAB`, `wants NAME` for what it asks for, `installed NAME` for what was
not there before. Written before anything is installed, so that a run that is killed forgets nothing."""

_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]*(:[a-z0-9]+)?(=[A-Za-z0-9.+:~*?-]+)?")


def _packages(names: list[str]) -> list[str]:
    for name in names:
        if not isinstance(name, Unknown) and not _PACKAGE.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a package (as in `curl` or `nginx=1.18*`)")
    if not names:
        raise ValueError("name at least one package")
    return list(dict.fromkeys(names))


def _bare(name: str) -> str:
    return name.split("=", 1)[0]


def _check(name: str, yes: str, no: str) -> str:
    """A shell command that does `yes` where a package is installed in the version asked for, else `no`."""
    # The characters of names and versions mean nothing to a shell but for the * and ? of a pattern.
    version = name.partition("=")[2] or "?*"
    return f"case $(version_of {quote(_bare(name))}) in {version}) {yes} ;; *) {no} ;; esac\n"


class Apt(OnHost):
    """Packages installed on a Debian or Ubuntu host.

    Which of them labctl installed is noted on the host below /var/lib/labctl, so that removing takes away
    these and leaves what was there before, or what another resource of a lab still wants.
    """

    kind: ClassVar[str] = "apt"
    # What others installed is simply there; only the record tells that this resource has been applied.
    adoptable: ClassVar[bool] = False

    name: Annotated[Texts, AfterValidator(_packages)] = Field(
        description="package names, with a version where it matters: `curl`, `nginx=1.18*`"
    )
    update_cache: bool = Field(default=False, description="read apt's lists anew before installing")
    cache_valid_time: int = Field(
        default=86400, ge=0, description="seconds for which the lists that are there are good enough"
    )
    lock_timeout: int = Field(
        default=300, ge=0, description="seconds to wait while another program installs packages there"
    )
    install_recommends: bool = Field(default=True, description="install what the packages recommend, too")

    @model_validator(mode="after")
    def _one_version(self) -> Self:
        if not holds_unknown(self.name) and len({_bare(name) for name in self.name}) < len(self.name):
            raise ValueError("a package is named twice with different versions")
        return self

    def wanted(self, also: Sequence[str] = ()) -> Values:
        """Only the packages can be compared; the rest says how to install them."""
        return {"name": super().wanted(("name",))["name"]}

    def natural_id(self) -> str:
        """The packages it was made with."""
        texts = [name.text or "?" if isinstance(name, Unknown) else _bare(name) for name in listed(self.name)]
        return " ".join(sorted(texts))

    @classmethod
    def look(cls, id: str, wanted: Self | None) -> str:
        """Prints `owner LAB`, `ok NAME` for what is as wanted, `extra NAME` for what is wanted no longer."""
        names = [name for name in listed(wanted.name) if isinstance(name, str)] if wanted else []
        checks = "".join(_check(name, f"printf 'ok %s\\n' {quote(name)}", ":") for name in names)
        wanted_names = "|".join(quote(_bare(name)) for name in names) or "''"
        return (
            '[ -f "$labctl_record/apt" ] || exit 0\n'
            f"{IS_INSTALLED}"
            'grep "^owner " "$labctl_record/apt"\n'
            f"{checks}"
            "for name in $(sed -n 's/^installed //p' \"$labctl_record/apt\"); do\n"
            f"  case $name in {wanted_names}) continue ;; esac\n"
            '  [ -z "$(version_of "$name")" ] || printf "extra %s\\n" "$name"\ndone\n'
        )

    @classmethod
    def parse(cls, id: str, status: int, output: bytes) -> Values | None:
        """The packages that are installed as wanted, then those installed for this and wanted no longer."""
        lines = [line.partition(" ") for line in output.decode(errors="replace").splitlines()]
        owners = [text for word, _, text in lines if word == "owner"]
        if not owners:
            return None
        return {"owner": owners[0], "name": [text for word, _, text in lines if word in ("ok", "extra")]}

    def commands(self, there: Values | None, changed: frozenset[str]) -> str:
        """Records what is missing, installs it, takes away what is wanted no longer."""
        age = (
            0
            if self.update_cache and "cache_valid_time" not in self.model_fields_set
            else self.cache_valid_time
        )
        flags = "" if self.install_recommends else "--no-install-recommends "
        if any("=" in name for name in self.name):
            flags += "--allow-downgrades "
        return (
            f"{FAIL}{APT}{IS_INSTALLED}{_RECORD}labctl_lock_seconds={self.lock_timeout}\nhave_apt\nbegin\n"
            + "".join(f"printf 'wants %s\\n' {quote(_bare(name))} >>\"$record\"\n" for name in self.name)
            + "".join(_check(name, ":", f"is_missing {words(_bare(name), name)}") for name in self.name)
            + 'if [ -n "$missing" ]; then\n'
            + f"  if lists_older_than {age}; then apt_update; fi\n"
            # The words are split on purpose; a * in a version is for apt.
            + f"  set -f\n  apt_install {flags}$missing\n  set +f\nfi\ndrop_unwanted\n"
        )

    @classmethod
    def removal(cls, id: str, there: Values | None) -> str:
        """Purges what labctl installed for this, but for what another resource wants."""
        return (
            '[ -f "$labctl_record/apt" ] || exit 0\n'
            f"{FAIL}{APT}{IS_INSTALLED}{_RECORD}"
            'grep -v "^wants " "$record" >"$record.new" || :\nmv -f -- "$record.new" "$record"\n'
            "drop_unwanted\n"
            'rm -f -- "$labctl_record/apt"\nrmdir -- "$labctl_record" 2>/dev/null || :\n'
        )

    @classmethod
    def explain_failure(cls, status: int, stderr: str) -> tuple[str, str] | None:
        """apt's errors in words."""
        return told(stderr) or explain_apt(stderr)

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`apt-get install`, or `purge`."""
        if action == "delete":
            return [f"sudo apt-get purge -y {words(*(id or '').split())}"]
        names = " ".join(word(name) for name in listed(self.name))
        flags = "" if self.install_recommends else "--no-install-recommends "
        return ["sudo apt-get update", f"sudo apt-get install -y {flags}{names}"]
