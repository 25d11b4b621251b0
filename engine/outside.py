"""What loading a playbook may ask of the world, asked only when a playbook uses it."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import LabctlError, Unreachable
from engine.refs import Unknown
from engine.uses import used_lab

if TYPE_CHECKING:
    from engine.lab import Target, UsedLab
    from engine.ledger import Ledger
    from engine.target import Access

_SECONDS = 10.0


Ask = Callable[["Ledger", str, str], Any]
"""Asks a lab of a ledger for the value of a sensitive output."""


class Offline:
    """For commands that must work without a network: what needs one stays unknown."""

    def used_lab(self, ledger: str, name: str) -> UsedLab | Unknown:
        """What a ledger remembers of another lab; Unknown where it was not applied yet."""
        if not Path(ledger).is_file():
            return Unknown()
        return used_lab(_opened(ledger), name) or Unknown()

    def my_ip(self) -> str | Unknown:
        """Unknown: nobody is asked."""
        return Unknown(text="my_ip")

    def environment(self) -> Mapping[str, str]:
        """The process's environment."""
        return os.environ

    def secret(self, source: Mapping[str, str]) -> str | Unknown:
        """Unknown: nobody is asked."""
        return Unknown()


class Online:
    """Asks the network that the target belongs to; `access` is called when something is needed of it.

    `ledger` opens the ledger at a path, `ask` tells the sensitive outputs of other labs.
    """

    def __init__(
        self,
        access: Callable[[], Access],
        *,
        ledger: Callable[[str], Ledger] | None = None,
        ask: Ask | None = None,
    ) -> None:
        self._access = access
        self._ledger = ledger or _opened
        self._ask = ask

    def used_lab(self, ledger: str, name: str) -> UsedLab | None:
        """What a ledger remembers of another lab; None where it was never applied."""
        if not Path(ledger).is_file():
            return None
        return used_lab(self._ledger(ledger), name, self._ask)

    def my_ip(self) -> str | Unknown:
        """The caller's public address as `203.0.113.7/32`, as checkip.amazonaws.com sees it, asked once.

        Raises Unreachable where nobody answers.
        """
        return self._my_ip

    def address(self) -> str | None:
        """The caller's public address, `203.0.113.7`; None where it cannot be told."""
        try:
            return self._my_ip.partition("/")[0]
        except LabctlError:
            return None

    @cached_property
    def _my_ip(self) -> str:
        from engine.checks import Sent, fetch

        proxy = self._access().proxy
        # A proxy stands for the network that the target belongs to, which has no certificates of its own.
        url = "http://checkip.amazonaws.com/" if proxy else "https://checkip.amazonaws.com/"
        try:
            answer = fetch(Sent(url), proxy=proxy, timeout=_SECONDS)
            address = ipaddress.ip_address(answer.body.decode("ascii").strip())
        except (OSError, ValueError) as error:
            raise Unreachable(
                f"Your own address (my_ip) could not be found out: {url} did not tell it ({error}).",
                "Give the variable that uses my_ip a value yourself: -e NAME=203.0.113.7/32.",
            ) from error
        return f"{address}/{address.max_prefixlen}"

    def environment(self) -> Mapping[str, str]:
        """The process's environment."""
        return os.environ

    def secret(self, source: Mapping[str, str]) -> str | Unknown:
        """A secret's value from SSM's parameter store (GetParameter) or Secrets Manager (GetSecretValue).

        Raises AwsError or Unreachable with the store's own words.
        """
        aws = self._access().aws
        if "ssm" in source:
            answer = aws.call("ssm", "get_parameter", Name=source["ssm"], WithDecryption=True)
            return str(answer["Parameter"]["Value"])
        if "secretsmanager" in source:
            answer = aws.call("secretsmanager", "get_secret_value", SecretId=source["secretsmanager"])
            return str(answer["SecretString"])
        raise LabctlError(f"A secret cannot come from {', '.join(source)}.", "Use ssm: or secretsmanager:.")


def _opened(place: str) -> Ledger:
    from engine.ledger.sqlite import SqliteLedger

    return SqliteLedger(Path(place))


def target_of(inventory: Path) -> Target:
    """Where an inventory acts, read before it is checked: what is wrong in it is for loading to tell.

    Raises Invalid where it cannot be read at all.
    """
    from engine.language.inventory import read_inventory
    from engine.language.problems import Problems

    return read_inventory(inventory, Problems()).target
