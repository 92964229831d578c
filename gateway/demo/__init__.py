"""Runs the gateway in front of the sandbox, which its GraphiQL page can control."""

from gateway.demo.controls import SANDBOX_PATH, SandboxControls
from gateway.demo.run import QUERY, demo

__all__ = ["QUERY", "SANDBOX_PATH", "SandboxControls", "demo"]
