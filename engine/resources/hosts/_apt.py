"""What the kinds that install packages share: apt as shell functions, and apt's errors in words."""

from __future__ import annotations

import re
from typing import Final

from engine.resources.hosts._shell import TELL

APT: Final = (
    TELL
    + """\
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 LC_ALL=C
labctl_lock_seconds=300
have_apt() {
  command -v apt-get >/dev/null 2>&1 ||
    fail 'this host has no apt-get' 'use an Ubuntu or Debian image for hosts with packages'
}
holder_of() {
  [ -e "$1" ] && [ -r /proc/locks ] || return 0
  inode=$(stat -c %i "$1")
  form="^[0-9]*: POSIX  *[A-Z]*  *WRITE  *\\([0-9]*\\) [0-9a-f]*:[0-9a-f]*:$inode .*"
  holder=$(sed -n "s/$form/\\1/p" /proc/locks | head -n 1)
  [ -n "$holder" ] || return 0
  program=$(cat "/proc/$holder/comm" 2>/dev/null) || program='another program'
  case $program in unattended-upgr*) program=unattended-upgrades ;; esac
  printf '%s (process %s)' "$program" "$holder"
}
apt_turn() {
  # apt waits, too, but without a word.
  until=$(($(date +%s) + labctl_lock_seconds)) told=
  while :; do
    who=$(holder_of /var/lib/dpkg/lock-frontend)
    [ -n "$who" ] || who=$(holder_of "${1:-/var/lib/dpkg/lock}")
    [ -n "$who" ] || return 0
    if [ "$(date +%s)" -ge "$until" ]; then
      pid=${who##* }
      fail "$who has held apt's lock on the host for $labctl_lock_seconds s" \\
        "see there what it is doing: ps -fp ${pid%)}; wait until it is done, then run this again"
    fi
    [ "$who" = "$told" ] || { told=$who; tell_user "waiting for apt's lock, which $who holds"; }
    sleep 0.5
  done
}
apt_do() {
  apt_turn
  apt-get -q -y -o "DPkg::Lock::Timeout=$labctl_lock_seconds" \\
    -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@"
}
apt_update() {
  # apt waits for dpkg's lock by itself, but not for the one on its lists.
  apt_turn /var/lib/apt/lists/lock
  tries=0
  until apt_said=$(apt-get -q -o "DPkg::Lock::Timeout=$labctl_lock_seconds" update 2>&1); do
    tries=$((tries + 1))
    case $apt_said in
      *'Could not get lock'*) [ "$tries" -ge 150 ] || { sleep 2; continue; } ;;
    esac
    printf '%s\\n' "$apt_said" >&2
    return 1
  done
  printf '%s\\n' "$apt_said" >&2
}
lists_older_than() {
  set -- "$1" /var/lib/apt/lists/*Packages*
  [ -e "$2" ] || return 0
  age=$(($(date +%s) - $(stat -c %Y /var/lib/apt/lists)))
  [ "$age" -gt "$1" ]
}
apt_install() {
  apt_do install "$@" && return 0
  # A run that was killed leaves dpkg half-way; lists that have aged name packages that are gone.
  dpkg --configure -a
  apt_update
  apt_do install "$@"
}
"""
)
"""Shell functions that need `FAIL` before them; `lists_older_than` also holds where there are no lists."""

IS_INSTALLED: Final = """\
version_of() {
  dpkg-query -W -f='${db:Status-Status} ${Version}\\n' "$1" 2>/dev/null |
    while read -r state version; do
      if [ "$state" = installed ]; then printf '%s\\n' "$version"; break; fi
    done
}
"""
"""A shell function that prints the installed version of a package, nothing where it is not installed."""

_NO_INTERNET = re.compile(
    r"Temporary failure resolving|Could not resolve|Network is unreachable|Cannot initiate the connection"
    r"|Connection timed out|Could not connect to|Unable to connect to|Failed to connect to",
    re.IGNORECASE,
)

_SAYINGS: Final = (
    (
        re.compile(r"Version '(?P<what>[^']+)' for '(?P<package>[^']+)' was not found"),
        "apt knows no version {what} of the package {package}",
        "see the versions there are with: apt-cache madison {package}",
    ),
    (
        re.compile(
            r"Unable to locate package (?P<what>\S+)|Couldn't find any package by .* '(?P<package>[^']+)'"
        ),
        "apt knows no package {what}",
        "look for the name of the package: apt-cache search …, or https://packages.ubuntu.com",
    ),
    (
        re.compile(r"Package '?(?P<what>[\w.+-]+)'? has no installation candidate"),
        "the package {what} cannot be installed on this release of the distribution",
        "choose another package, or another image for the host",
    ),
    (re.compile(r"No space left on device"), "the host's disk is full", "give the host a larger volume"),
    (
        re.compile(r"Could not get lock \S+ It is held by process (?P<what>\d+) \((?P<package>[^)]+)\)"),
        "{package} (process {what}) holds apt's lock on the host, and does not come to an end",
        "see there what it is doing: ps -fp {what}; wait until it is done, then run this again",
    ),
    (
        re.compile(r"Could not get lock (?P<what>\S+?)\.? "),
        "another program on the host is installing packages and does not come to an end",
        "see what it is: sudo lsof /var/lib/dpkg/lock-frontend; then run this again",
    ),
    (
        re.compile(r"You don't have enough free space in (?P<what>\S+?)\.?$", re.MULTILINE),
        "the host's disk is full: no room in {what}",
        "make room there (df -h tells where), or give the host a larger volume",
    ),
    (
        re.compile(r"The following packages have unmet dependencies:\s+(?P<what>\S+)"),
        "{what} cannot be installed: it needs packages that do not fit with those on the host",
        "see what apt says with: apt-get -s install …",
    ),
    (
        re.compile(r"(?P<what>\S+) Hash Sum mismatch|Hash Sum mismatch"),
        "a package mirror is being renewed and gave a wrong file",
        "run this again in a few minutes",
    ),
)


def no_internet(text: str) -> bool:
    """Whether a program's errors say that the host has no way to the internet."""
    return _NO_INTERNET.search(text) is not None


NO_INTERNET: Final = (
    "the host has no way to the internet",
    "give it a public address and a route to an internet gateway, or its subnet a NAT gateway or NAT host",
)


def explain_apt(stderr: str) -> tuple[str, str] | None:
    """What apt's errors mean, and what to do; None where they are none that are known."""
    if no_internet(stderr):
        return NO_INTERNET
    for pattern, message, remedy in _SAYINGS:
        if found := pattern.search(stderr):
            names = {name: value or "" for name, value in found.groupdict().items()}
            names["what"] = names.get("what") or names.get("package", "")
            return message.format_map(names), remedy.format_map(names)
    return None
