"""SSH to the hosts of a lab: one connection a host, one round trip a script; paramiko is imported late."""

from engine.hosts.host import Host
from engine.hosts.hosts import Hosts
from engine.hosts.log import RunLog
from engine.hosts.restarting import Restart
from engine.hosts.spec import HostSpec, Ran

__all__ = ["Host", "HostSpec", "Hosts", "Ran", "Restart", "RunLog"]
