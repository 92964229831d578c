"""Starts a program as a container would: as process 1 and as the image's user, with nothing that it may write to."""

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

# The last line hands over to the program, which is process 1 from then on.
_SCRIPT = """
set -e
mount --bind "$1" "$1"
mount -o remount,bind,ro "$1"
mount -o remount,bind,ro /
mount -t proc proc /proc
user=$2; shift 2
exec setpriv --reuid "${user%:*}" --regid "${user#*:}" --clear-groups --no-new-privs --bounding-set=-all -- "$@"
"""


@cache
def is_possible() -> bool:
    """Return whether this machine lets us: root, and allowed to make namespaces."""
    if os.geteuid() != 0 or not (shutil.which("unshare") and shutil.which("setpriv")):
        return False
    tried = ["unshare", "--mount", "--pid", "--fork", "sh", "-c", "mount -o remount,bind,ro /"]
    return subprocess.run(tried, capture_output=True, check=False).returncode == 0  # noqa: S603 - our own


def start(command: Sequence[str], root: Path, user: str, environment: Mapping[str, str]) -> "subprocess.Popen[str]":
    """Start ``command`` as ``user``, ``root`` and the machine's own root read-only; as it is where that cannot be."""
    if is_possible():
        namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", _SCRIPT, "sh"]
        command = [*namespaces, str(root), user, *command]
    return subprocess.Popen(  # noqa: S603 - the image's own command
        command, env=dict(environment), cwd=root / "opt/gateway", stdout=subprocess.PIPE, stderr=None, text=True
    )


def terminate(process: "subprocess.Popen[str]", patience: float = 60) -> int:
    """Send SIGTERM to the program itself, and return its exit status."""
    inner = process.pid
    if process.poll() is None and is_possible():
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        inner = int(children[0])
    if process.poll() is None:
        os.kill(inner, signal.SIGTERM)
    return process.wait(patience)
