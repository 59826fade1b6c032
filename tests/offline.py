"""Programs that reach this machine alone: what the tests start without a network."""

import os
from pathlib import Path

# Python reads this file at every start, also in the notebook's kernel: any connection that leaves the machine fails.
NO_NETWORK = """
import socket
def refuse(*args, **kwargs):
    raise OSError("the test forbids the network")
connect = socket.socket.connect
def local_only(self, address):
    host = address[0] if isinstance(address, tuple) else "localhost"
    return connect(self, address) if host in ("127.0.0.1", "::1", "localhost") else refuse()
socket.socket.connect = local_only
socket.getaddrinfo = refuse
"""


def offline(folder: Path) -> dict[str, str]:
    """The environment of a program without a network; `folder` is for a file that its Python reads first."""
    (folder / "sitecustomize.py").write_text(NO_NETWORK)
    return os.environ | {"PYTHONPATH": str(folder)}
