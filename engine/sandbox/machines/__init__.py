"""Simulated machines: a virtual bash with accounts, packages, services and Docker, all of it kept on disk."""

from engine.sandbox.machines.command import Handler, Login, Network, Result
from engine.sandbox.machines.machine import AgentPath, SimulatedMachine

__all__ = ["AgentPath", "Handler", "Login", "Network", "Result", "SimulatedMachine"]
