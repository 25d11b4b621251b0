"""Outputs and checks: what a playbook ends with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal

from engine.addresses import around, joined
from engine.lab import Check, Declared, Lab
from engine.language import reading
from engine.language.document import Node, content
from engine.language.jinja import Use, compiled
from engine.language.outputs import WrittenOutput, read_outputs
from engine.language.playbook import Playbook
from engine.language.problems import Problems
from engine.language.static import KnownNames, when_template
from engine.language.views import UsedOutputs
from engine.language.words import did_you_mean, sort_of
from engine.refs import Ref, Template, holds_unknown
from engine.resource import SECRET
from engine.templating import Filling, Scope, templates

_CHECK_KEYS: Final = (
    "name",
    "http",
    "tcp",
    "command",
    "aws",
    "host",
    "status",
    "method",
    "headers",
    "body",
    "json",
    "params",
    "error",
    "contains",
    "expect",
    "timeout",
    "when",
)
_SORTS: Final[tuple[Literal["http", "tcp", "command", "aws"], ...]] = ("http", "tcp", "command", "aws")
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_LOOKS: Final = re.compile(
    r"(get|list|describe|head|batch_get|search|lookup)_\w+|query|scan|invoke(_endpoint)?"
)
"""Operations of AWS that a check may ask for: it looks and changes nothing."""
_ONLY_FOR: Final = {
    "status": ("http",),
    "contains": ("http", "command", "aws"),
    "method": ("http",),
    "headers": ("http",),
    "body": ("http",),
    "json": ("http",),
    "params": ("aws",),
    "error": ("aws",),
    "expect": ("tcp",),
    "host": ("command",),
}


class Closing:
    """Reads a playbook's outputs and checks for one lab."""

    def __init__(self, playbook: Playbook, lab: Lab, scope: Scope, problems: Problems) -> None:
        self._playbook = playbook
        self._lab = lab
        self._scope = scope
        self._path = scope.space
        self._problems = problems
        self._names = KnownNames(playbook)

    def _fits(self, value: Any) -> bool:
        """Whether the templates in `value` are right, as far as can be told now."""
        wrong = [problem for template in templates(value) for problem in self._names.check(template)]
        self._problems.extend(wrong)
        if not wrong:
            filling = Filling(self._scope)
            filling.of(value)
            wrong = filling.problems
            self._problems.extend_elsewhere(wrong)
        return not wrong

    def _filled(self, value: Any) -> tuple[Any, frozenset[Ref]]:
        filling = Filling(self._scope)
        filled = filling.of(value)
        self._problems.extend_elsewhere(filling.problems)
        return filled, frozenset(filling.touched)

    # -- outputs -------------------------------------------------------------------------------------------

    def outputs(self) -> tuple[dict[str, Any], frozenset[str]]:
        """The outputs with their templates, and the names of those that are sensitive."""
        found: dict[str, Any] = {}
        sensitive = set()
        for output in read_outputs(self._playbook.outputs, self._problems):
            if self._fits(output.value):
                found[output.name] = output.value
                if self._is_sensitive(output):
                    sensitive.add(output.name)
        return found, frozenset(sensitive)

    def _is_sensitive(self, output: WrittenOutput) -> bool:
        if output.sensitive:
            return True
        secrets = {name for name, variable in self._playbook.variables.items() if variable.type == "secret"}
        if any(use.name in secrets for each in templates(output.value) for use in _uses(each)):
            return True
        if any(self._is_kept_from_us(use) for each in templates(output.value) for use in _uses(each)):
            return True
        filling = Filling(self._scope)
        filling.of(output.value)
        return filling.sensitive or any(_tells_secret(ref, self._lab.resources) for ref in filling.touched)

    def _is_kept_from_us(self, use: Use) -> bool:
        """Whether it is a sensitive output of another lab."""
        lab = self._lab.space(self._path).names.get(use.name)
        return isinstance(lab, UsedOutputs) and bool(use.steps) and lab.is_sensitive(str(use.steps[0]))

    # -- checks --------------------------------------------------------------------------------------------

    def checks(self) -> tuple[Check, ...]:
        """The checks of this lab; those whose `when` is false are left out."""
        node = self._playbook.checks
        if node is None or node.value is None:
            return ()
        if not node.is_list:
            words = f"`checks` must be a list, not {sort_of(content(node))}"
            self._problems.add(node.where, words, "write one entry for each, beginning with `- name:`")
            return ()
        found = (self._check(item) for item in node.value)
        return tuple(check for check in found if check is not None)

    def _check(self, node: Node) -> Check | None:
        if reading.mapping(node, "a check", self._problems) is None:
            return None
        before = len(self._problems)
        reading.known_keys(node, _CHECK_KEYS, "a check", self._problems)
        sorts = [sort for sort in _SORTS if sort in node.value]
        name = reading.text(node.get("name"), "`name`", self._problems)
        if len(sorts) != 1:
            self._problems.add(
                node.where, "a check has one of `http`, `tcp`, `command` and `aws`", "write one of them"
            )
            return None
        if not self._wanted(node):
            return None
        sort = sorts[0]
        target = content(node.value[sort])
        self._check_target(sort, node, target)
        name = name or str(target.text if isinstance(target, Template) else target)
        check = Check(
            name=f"{self._path}: {name}" if self._path else name,
            sort=sort,
            target=target,
            host=self._host(node) if sort == "command" else None,
            status=self._status(node),
            contains=self._contains(node),
            expect=self._expect(node),
            method=self._method(node),
            headers=self._named_values(node, "headers"),
            body=self._body(node),
            is_json="json" in node.value,
            params=self._named_values(node, "params"),
            error=reading.text(node.get("error"), "`error`", self._problems),
            timeout=self._timeout(node),
            where=node.where,
            space=self._path,
        )
        self._check_keys(sort, node)
        return check if len(self._problems) == before else None

    def _wanted(self, node: Node) -> bool:
        when = node.get("when")
        if when is None or isinstance(when.value, bool):
            return when is None or bool(when.value)
        template = when_template(when)
        problems = list(self._names.check_early(template, "`when`"))
        self._problems.extend(problems)
        value = None if problems else self._filled(template)[0]
        if problems or value is None:
            return False
        if not isinstance(value, bool) or holds_unknown(value):
            self._problems.add(when.where, f"`when` must be true or false, not {sort_of(value)}")
            return False
        return value

    def _check_target(self, sort: str, node: Node, target: Any) -> None:
        where = node.value[sort].where
        if not isinstance(target, str | Template) or not target:
            self._problems.add(where, f"`{sort}` must be text, not {sort_of(target)}")
        elif not self._fits(target) or isinstance(target, Template):
            return
        elif sort == "http" and not re.match(r"https?://[^\s/]", target):
            self._problems.add(
                where, f"`{target}` is not a web address", "it begins with http:// or https://"
            )
        elif sort == "tcp" and not re.fullmatch(r"\S+:\d{1,5}", target):
            self._problems.add(where, f"`{target}` names no port", "write `ADDRESS:PORT`")
        elif sort == "aws":
            self._check_operation(node.value[sort], target)

    def _check_operation(self, item: Node, target: str) -> None:
        service, _, operation = target.partition(".")
        if not re.fullmatch(r"[a-z0-9-]+\.[a-z0-9_]+", target):
            words = "write SERVICE.OPERATION as boto3 names them, `s3.head_object`"
            self._problems.add(item.where, f"`{target}` names no operation of AWS", words)
        elif not _LOOKS.fullmatch(operation):
            words = "a check looks and changes nothing: get_…, list_…, describe_…, head_…, invoke …"
            self._problems.add(item.where, f"`{operation}` of {service} is not for a check", words)

    def _method(self, node: Node) -> str:
        item = node.get("method")
        if item is None:
            return "POST" if "json" in node.value or "body" in node.value else "GET"
        if item.value not in _METHODS:
            words = f"`method` must be one of {', '.join(_METHODS)}, not `{content(item)}`"
            self._problems.add(item.where, words)
        return str(item.value)

    def _named_values(self, node: Node, key: str) -> dict[str, Any]:
        item = node.get(key)
        value = content(item) if item is not None else {}
        if item is not None and not isinstance(value, dict):
            words = f"`{key}` must be names with their values, not {sort_of(value)}"
            self._problems.add(item.where, words, f"write `{key}: {{Name: value}}`")
            return {}
        return value if self._fits(value) else {}

    def _body(self, node: Node) -> Any:
        if "json" in node.value and "body" in node.value:
            self._problems.add(node.keys["body"], "a check sends `json` or `body`, not both")
        item = node.get("json") or node.get("body")
        value = content(item) if item is not None else None
        if "body" in node.value and not isinstance(value, str | Template):
            self._problems.add(
                node.value["body"].where, f"`body` must be text, not {sort_of(value)}", "or write `json`"
            )
        return value if self._fits(value) else None

    def _check_keys(self, sort: str, node: Node) -> None:
        for key, sorts in _ONLY_FOR.items():
            if key in node.value and sort not in sorts:
                self._problems.add(
                    node.keys[key], f"a `{sort}` check has no `{key}`", f"it goes with {' or '.join(sorts)}"
                )

    def _host(self, node: Node) -> str | None:
        item = node.get("host")
        name = reading.text(item, "`host`", self._problems)
        if item is None or name is None:
            self._problems.add(node.where, "a `command` check needs `host`", "the host to run it on")
            return None
        address = joined(self._path, name)
        declared = self._lab.resources.get(address)
        if any(each in self._lab.skipped for each in around(address)):
            words = f"`{name}` is skipped: its `when` is false"
            self._problems.add(item.where, words, "give the check the same `when`")
        elif (declared is None or declared.ssh is None) and name not in self._lab.space(self._path).names:
            start = joined(self._path, "")
            there = [each.address for each in self._lab.resources.values() if each.ssh is not None]
            hosts = [each.removeprefix(start) for each in there if each.startswith(start)]
            self._problems.add(
                item.where, f"there is no host `{name}`", did_you_mean(name, hosts, "hosts are")
            )
        return address

    def _status(self, node: Node) -> int | None:
        item = node.get("status")
        if item is None:
            return None
        if isinstance(item.value, int) and 100 <= item.value <= 599:
            return item.value
        self._problems.add(item.where, f"`status` must be a number such as 200, not {sort_of(content(item))}")
        return None

    def _contains(self, node: Node) -> str | Template | None:
        item = node.get("contains")
        value = content(item) if item is not None else None
        if item is not None and not isinstance(value, str | Template):
            self._problems.add(item.where, f"`contains` must be text, not {sort_of(value)}")
            return None
        return value if self._fits(value) else None

    def _expect(self, node: Node) -> Literal["reachable", "unreachable"]:
        item = node.get("expect")
        if item is None or item.value in ("reachable", "unreachable"):
            return "unreachable" if item is not None and item.value == "unreachable" else "reachable"
        words = f"`expect` must be `reachable` or `unreachable`, not {sort_of(content(item))}"
        self._problems.add(item.where, words)
        return "reachable"

    def _timeout(self, node: Node) -> float:
        item = node.get("timeout")
        try:
            return 10.0 if item is None else reading.seconds(item.value)
        except ValueError as error:
            assert item is not None
            self._problems.add(item.where, f"`timeout` {error}")
            return 10.0


def _uses(template: Template) -> tuple[Use, ...]:
    return compiled(template.text).uses


def _tells_secret(ref: Ref, resources: Mapping[str, Declared]) -> bool:
    declared = resources.get(ref.address)
    if declared is None or ref.output is None:
        return False
    output = declared.kind.outputs.get(ref.output)
    info = declared.kind.model_fields.get(ref.output)
    hidden = (output is not None and output.sensitive) or (info is not None and SECRET in info.metadata)
    return hidden or (declared.no_log and output is not None)
