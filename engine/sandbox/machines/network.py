"""The network as a machine's commands see it: curl, wget, nc, ping, ip, iptables, sysctl."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from engine.sandbox.machines import http
from engine.sandbox.machines.command import Call, Command, Failed, Handler, options
from engine.sandbox.machines.place import Place

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter

_KEY = """-----BEGIN PGP PUBLIC KEY BLOCK-----

mQINBFit2ioBEADhWpZ8/wvZ6hUTiXOwQHXMAlaFHcPH9hAtr4F1y2+OYdbtMuth
lqqwp028AqyY+PRfVMtSYMbjuQuu5byyKR01BbqYhuS3jtqQmljZ/bJvXqnmiVXh
=sandbox
-----END PGP PUBLIC KEY BLOCK-----
"""

_SITES: Mapping[str, Mapping[str, str]] = {
    "download.docker.com": {
        "/linux/ubuntu/gpg": _KEY,
        "/linux/debian/gpg": _KEY,
        "/": "<h1>download.docker.com</h1>\n",
    },
    "example.com": {"/": "<!doctype html><title>Example Domain</title><h1>Example Domain</h1>\n"},
    "registry-1.docker.io": {"/v2/": '{"errors":[{"code":"UNAUTHORIZED"}]}\n'},
}
"""What of the internet there is besides the lab's own network."""


@dataclass(frozen=True)
class Answer:
    """What an HTTP request got."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def connected(handler: Handler) -> tuple[StreamReader, StreamWriter, asyncio.Task[None]]:
    """The client's end of a connection that `handler` serves, and the task that serves it."""
    ours, theirs = socket.socketpair()
    served = await asyncio.open_connection(sock=theirs)

    async def serve() -> None:
        await handler(*served)

    task = asyncio.ensure_future(serve())
    reader, writer = await asyncio.open_connection(sock=ours)
    return reader, writer, task


async def _greet(reader: StreamReader, writer: StreamWriter) -> None:
    """What connects from the machine itself sees that sshd is there; logins come through the sandbox."""
    writer.write(b"SSH-2.0-OpenSSH_8.9p1\r\n")
    await writer.drain()


def served(place: Place) -> dict[int, Handler]:
    """Ports on which the machine's own services answer; containers apart."""
    services = place.services
    found: dict[int, Handler] = {}
    if services is not None:
        if services.is_active("ssh"):
            found[22] = _greet
        for name in ("nginx", "apache2"):
            if services.is_active(name):
                found[80] = http.folder(
                    lambda: place.disk,
                    "/var/www/html",
                    name,
                    ("index.html", "index.htm", "index.nginx-debian.html"),
                )
    return found


async def _open(place: Place, host: str, port: int) -> tuple[StreamReader, StreamWriter]:
    """A connection from the place. Raises ConnectionRefusedError, TimeoutError, OSError (name unknown)."""
    if host in ("localhost", "::1", place.hostname, *place.addresses):
        handler = place.listening().get(port)
        if handler is None:
            raise ConnectionRefusedError
        reader, writer, _ = await connected(handler)
        return reader, writer
    found = await place.network.connect(host, port)
    if found is None:
        raise TimeoutError
    return found


async def fetch(
    place: Place,
    url: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
) -> Answer:
    """Request `url` from the place; https is answered by what the internet has, never encrypted.

    Raises Failed with curl's words and status.
    """
    parts = urlsplit(url if "://" in url else f"http://{url}")
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if host in _SITES:
        if not place.network.internet():
            raise Failed(
                f"curl: (28) Failed to connect to {host} port {port} after 130012 ms: Connection timed out",
                28,
            )
        text = _SITES[host].get(parts.path or "/")
        return Answer(200 if text else 404, {"content-type": "text/plain"}, (text or "Not Found\n").encode())
    try:
        async with asyncio.timeout(10):
            reader, writer = await _open(place, host, port)
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            lines = [
                f"{method} {path} HTTP/1.1",
                f"Host: {parts.netloc}",
                "Connection: close",
                "User-Agent: curl/7.81.0",
            ]
            lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
            if body:
                lines.append(f"Content-Length: {len(body)}")
            writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            data = await reader.read()
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
    except ConnectionRefusedError as error:
        raise Failed(
            f"curl: (7) Failed to connect to {host} port {port} after 1 ms: Connection refused", 7
        ) from error
    except TimeoutError as error:
        raise Failed(
            f"curl: (28) Failed to connect to {host} port {port} after 130012 ms: Connection timed out", 28
        ) from error
    except OSError as error:
        raise Failed(f"curl: (6) Could not resolve host: {host}", 6) from error
    return _answer(data)


def _answer(data: bytes) -> Answer:
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode(errors="replace").split("\r\n")
    match = re.match(r"HTTP/\d\.\d (\d+)", lines[0])
    if not match:
        raise Failed("curl: (52) Empty reply from server", 52)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return Answer(int(match[1]), headers, body)


_CURL_VALUES = {
    "-o",
    "-w",
    "-X",
    "-d",
    "-H",
    "-m",
    "-A",
    "-u",
    "--connect-timeout",
    "--retry",
    "--retry-delay",
    "-x",
    "--proto",
    "--cacert",
    "--retry-max-time",
    "-e",
    "-b",
    "-c",
    "--interface",
    "--resolve",
}
_CURL_SAME = {
    "--output": "-o",
    "--write-out": "-w",
    "--request": "-X",
    "--data": "-d",
    "--header": "-H",
    "--max-time": "-m",
    "--fail": "-f",
    "--silent": "-s",
    "--show-error": "-S",
    "--location": "-L",
    "--head": "-I",
    "--include": "-i",
    "--insecure": "-k",
    "--remote-name": "-O",
    "--user": "-u",
    "--proxy": "-x",
    "--data-raw": "-d",
    "--user-agent": "-A",
}


async def curl(call: Call) -> int:
    """curl [-f] [-s] [-S] [-L] [-I] [-i] [-o FILE] [-O] [-w FORMAT] [-X METHOD] [-d DATA] [-H HEADER] URL."""
    given = options(call.args, values=_CURL_VALUES, same=_CURL_SAME)
    if "--version" in given or "-V" in given:
        call.say("curl 7.81.0 (x86_64-pc-linux-gnu) libcurl/7.81.0")
        return 0
    if not given.rest:
        return call.complain("curl: try 'curl --help' or 'curl --manual' for more information", 2)
    method = given.last("-X") or ("HEAD" if "-I" in given else "POST" if "-d" in given else "GET")
    headers = dict(header.partition(": ")[::2] for header in given.every("-H"))
    try:
        answer = await _follow(
            call, given.rest[0], method, headers, "&".join(given.every("-d")).encode(), "-L" in given
        )
    except Failed as failure:
        if "-w" in given:
            call.say(_write_out(given.last("-w"), Answer(0, {}, b"")), end="")
        return (
            failure.status
            if "-s" in given and "-S" not in given
            else call.complain(failure.message, failure.status)
        )
    if "-f" in given and answer.status >= 400:
        message = f"curl: (22) The requested URL returned error: {answer.status}"
        return 22 if "-s" in given and "-S" not in given else call.complain(message, 22)
    _deliver(
        call,
        given.last("-o") or (given.rest[0].rsplit("/", 1)[-1] if "-O" in given else ""),
        answer,
        "-I" in given or "-i" in given,
    )
    if "-w" in given:
        call.say(_write_out(given.last("-w"), answer), end="")
    return 0


async def _follow(
    call: Call, url: str, method: str, headers: Mapping[str, str], body: bytes, follow: bool
) -> Answer:
    answer = await fetch(call.place, url, method=method, headers=headers, body=body)
    for _ in range(10):
        target = answer.headers.get("location", "")
        if not follow or not target or answer.status not in (301, 302, 303, 307, 308):
            break
        parts = urlsplit(url if "://" in url else f"http://{url}")
        url = target if "://" in target else f"{parts.scheme}://{parts.netloc}{target}"
        answer = await fetch(call.place, url, headers=headers)
    return answer


def _deliver(call: Call, file: str, answer: Answer, with_head: bool) -> None:
    data = answer.body
    if with_head:
        head = [f"HTTP/1.1 {answer.status} {http.REASONS.get(answer.status, 'OK')}"]
        head += [f"{name.title()}: {value}" for name, value in answer.headers.items()]
        data = "\r\n".join([*head, "", ""]).encode() + data
    if not file or file == "-":
        call.out.extend(data)
    elif file != "/dev/null":
        path = call.path(file)
        if not call.place.disk.is_dir(call.place.disk.real(path.rsplit("/", 1)[0] or "/")):
            raise Failed(
                (
                    f"curl: (23) Failure writing output to destination\nWarning: Failed to "
                    f"open the file {file}: No such file or directory"
                ),
                23,
            )
        call.place.disk.write(call.place.disk.real(path), data)


def _write_out(form: str, answer: Answer) -> str:
    text = form.replace("%{http_code}", f"{answer.status:03}").replace(
        "%{response_code}", f"{answer.status:03}"
    )
    text = text.replace("%{size_download}", str(len(answer.body)))
    text = text.replace("%{content_type}", answer.headers.get("content-type", ""))
    return text.replace("\\n", "\n").replace("\\t", "\t")


async def wget(call: Call) -> int:
    """wget [-q] [-O FILE] [-S] [--spider] URL."""
    given = options(
        call.args,
        values={"-O", "-T", "-t"},
        same={"--output-document": "-O", "--quiet": "-q", "--timeout": "-T", "--tries": "-t"},
    )
    if not given.rest:
        return call.complain("wget: missing URL", 1)
    try:
        answer = await _follow(call, given.rest[0], "GET", {}, b"", True)
    except Failed as failure:
        return 4 if "-q" in given else call.complain(failure.message.replace("curl: ", "wget: "), 4)
    if answer.status >= 400:
        return (
            8
            if "-q" in given
            else call.complain(f"ERROR {answer.status}: {http.REASONS.get(answer.status, '')}.", 8)
        )
    if "--spider" not in given:
        _deliver(
            call,
            given.last("-O") or given.rest[0].rstrip("/").rsplit("/", 1)[-1] or "index.html",
            answer,
            False,
        )
    return 0


async def nc(call: Call) -> int:
    """nc [-z] [-v] [-w SECONDS] HOST PORT: whether something answers."""
    given = options(call.args, values={"-w", "-p", "-s"})
    if len(given.rest) < 2:
        return call.complain("usage: nc [-46CDdFhklNnrStUuvZz] [-w timeout] [destination] [port]")
    host, port = given.rest[0], int(given.rest[1])
    try:
        async with asyncio.timeout(float(given.last("-w", "10"))):
            _, writer = await _open(call.place, host, port)
    except ConnectionRefusedError:
        return (
            call.complain(f"nc: connect to {host} port {port} (tcp) failed: Connection refused")
            if "-v" in given
            else 1
        )
    except TimeoutError:
        return (
            call.complain(f"nc: connect to {host} port {port} (tcp) timed out: Operation now in progress")
            if "-v" in given
            else 1
        )
    except OSError:
        return call.complain(f'nc: getaddrinfo for host "{host}" port {port}: Name or service not known')
    writer.close()
    if "-v" in given:
        call.complain(f"Connection to {host} {port} port [tcp/*] succeeded!")
    return 0


async def ping(call: Call) -> int:
    """ping [-c COUNT] HOST: the internet answers where there is a way out."""
    given = options(call.args, values={"-c", "-W", "-w", "-i", "-s"})
    host, count = (given.rest or [""])[0], int(given.last("-c", "4"))
    good = host in ("localhost", *call.place.addresses) or call.place.network.internet()
    call.say(f"PING {host} ({host}) 56(84) bytes of data.")
    for number in range(1, count + 1 if good else 0):
        call.say(f"64 bytes from {host}: icmp_seq={number} ttl=58 time=1.{number:02} ms")
    call.say(
        f"\n--- {host} ping statistics ---\n{count} packets transmitted, "
        f"{count if good else 0} received, {0 if good else 100}% packet loss"
    )
    return 0 if good else 1


async def ip(call: Call) -> int:
    """ip addr, ip route, ip link: one interface."""
    address = call.place.addresses[0]
    given = options(call.args, values={"-f"}, same={"-br": "-brief"})
    what = (given.rest or ["addr"])[0]
    gateway = address.rsplit(".", 1)[0] + ".1"
    if "route".startswith(what):
        if given.rest[1:2] == ["get"]:
            call.say(f"{given.rest[2]} via {gateway} dev eth0 src {address} uid {call.login.uid}")
        else:
            call.say(f"default via {gateway} dev eth0 proto dhcp src {address} metric 100")
        return 0
    call.say("1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000")
    call.say("    inet 127.0.0.1/8 scope host lo")
    call.say(
        "2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 9001 qdisc fq_codel state UP group default qlen 1000"
    )
    call.say(f"    inet {address}/20 metric 100 brd {address} scope global dynamic eth0")
    return 0


async def iptables(call: Call) -> int:
    """iptables [-t TABLE] -A|-I|-D|-C|-F|-S|-L|-N|-P CHAIN [RULE…]: kept, in order; gone at reboot."""
    if not call.login.is_root:
        return call.complain(f"{call.name}/1.8.7 Failed to initialize nft: Permission denied", 4)
    words = [word for word in call.args if word not in ("-w", "--wait")]
    table = "filter"
    if "-t" in words:
        position = words.index("-t")
        table = words[position + 1]
        del words[position : position + 2]
    if not words:
        return call.complain("iptables v1.8.7 (nf_tables): no command specified", 2)
    verb = {
        "--append": "-A",
        "--insert": "-I",
        "--delete": "-D",
        "--check": "-C",
        "--flush": "-F",
        "--list-rules": "-S",
        "--list": "-L",
        "--policy": "-P",
        "--new-chain": "-N",
    }.get(words[0], words[0])
    chains: dict[str, list[str]] = call.place.state.setdefault("iptables", {}).setdefault(table, {})
    chain = words[1] if len(words) > 1 and not words[1].startswith("-") else ""
    return _rule(call, chains, verb, chain, words[2:])


def _rule(call: Call, chains: dict[str, list[str]], verb: str, chain: str, words: list[str]) -> int:
    if verb in ("-S", "-L", "-F", "-P", "-N"):
        for name in [chain] if chain else sorted(chains):
            _whole_chain(call, chains, verb, name)
        return 0
    if verb == "-I" and words and words[0].isdigit():
        words = words[1:]
    rules, rule = chains.setdefault(chain, []), " ".join(words)
    if verb == "-A":
        rules.append(rule)
    elif verb == "-I":
        rules.insert(0, rule)
    elif rule not in rules:
        return call.complain("iptables: Bad rule (does a matching rule exist in that chain?)")
    elif verb == "-D":
        rules.remove(rule)
    return 0


def _whole_chain(call: Call, chains: dict[str, list[str]], verb: str, name: str) -> None:
    if verb in ("-S", "-L"):
        for rule in chains.get(name, []):
            call.say(f"-A {name} {rule}")
    elif verb == "-F":
        chains.pop(name, None)


async def sysctl(call: Call) -> int:
    """sysctl [-q] [-n] [-w] NAME[=VALUE]…, -p [FILE], --system."""
    given = options(call.args, same={"--values": "-n", "--quiet": "-q", "--write": "-w", "--load": "-p"})
    kept: dict[str, str] = call.place.state.setdefault("sysctl", {})
    words = list(given.rest)
    if "-p" in given or "--system" in given:
        files = words or ["/etc/sysctl.conf"]
        if "--system" in given:
            files += [f"/etc/sysctl.d/{name}" for name in call.place.disk.entries("/etc/sysctl.d")]
        lines = [line for file in files for line in call.place.disk.text(file).splitlines()]
        words = [
            re.sub(r"\s*=\s*", "=", line.strip())
            for line in lines
            if "=" in line and not line.strip().startswith(("#", ";"))
        ]
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            value = kept.get(name, "0")
            call.say(value if "-n" in given else f"{name} = {value}")
            continue
        if not call.login.is_root:
            return call.complain(f'sysctl: permission denied on key "{name}"', 255)
        kept[name] = value.strip()
        if name == "net.ipv4.ip_forward":
            call.place.disk.write("/proc/sys/net/ipv4/ip_forward", f"{value.strip()}\n")
        if "-q" not in given:
            call.say(f"{name} = {value.strip()}")
    return 0


async def ss(call: Call) -> int:
    """ss -tln, netstat: the ports that answer."""
    call.say("State  Recv-Q Send-Q Local Address:Port Peer Address:Port Process")
    for port in sorted(call.place.listening()):
        call.say(f"LISTEN 0      4096   0.0.0.0:{port}         0.0.0.0:*")
    return 0


COMMANDS: Mapping[str, Command] = {
    "curl": curl,
    "wget": wget,
    "nc": nc,
    "netcat": nc,
    "ping": ping,
    "ip": ip,
    "iptables": iptables,
    "sysctl": sysctl,
    "ip6tables": iptables,
    "ss": ss,
    "netstat": ss,
}
