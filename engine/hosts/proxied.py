"""Connections through a SOCKS5 proxy."""

from __future__ import annotations

import socket


def through(proxy: str, hostname: str, port: int, timeout: float) -> socket.socket:
    """A TCP connection through the proxy `host:port`, which resolves the name (RFC 1928).

    Raises OSError; PySocks's ProxyError, which is one, where the proxy is at fault or says no.
    """
    import socks

    host, _, at = proxy.rpartition(":")
    line: socket.socket = socks.create_connection(
        (hostname, port),
        timeout,
        proxy_type=socks.SOCKS5,
        proxy_addr=host.strip("[]"),
        proxy_port=int(at),
        proxy_rdns=True,
    )
    return line
