"""Runs the gateway in front of the sandbox, both on loopback."""

from gateway.demo.run import CHANGE_PATH, QUERY, Changeable, demo

__all__ = ["CHANGE_PATH", "QUERY", "Changeable", "demo"]
