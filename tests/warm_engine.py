"""Engines that need no seconds to import torch: each is forked from one process that has it.

``python warm_engine.py SOCKET`` is an engine as `napari_salt.engine._serve` is one: it hands its standard
input and output to a fork of the process behind the socket, lives as long as that, and takes it along when
killed.
"""

import json
import os
import socket
import subprocess
import sys
import threading
from importlib import import_module
from pathlib import Path

MOST_BYTES = 2**20
LOADED = (
    "core.bases.vit",
    "core.train.training",
    "core.train.forest",
    "core.segment.stack",
    "core.segment.prompts",
)


def command(address):
    """How to start an engine, for `EngineProcess`."""
    return [sys.executable, "-I", "-S", __file__, address]


def start(address):
    """Start the process that engines are forked from."""
    return subprocess.Popen([sys.executable, __file__, "--serve", address])


def serve(address):
    """Fork an engine for whoever connects, for ever."""
    import signal

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        for name in LOADED:
            import_module(f"napari_salt.{name}")
        from napari_salt.engine import _serve

        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
        while True:
            connection, _ = listening.accept()
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                listening.close()
                become_engine(connection, _serve.main)


def become_engine(connection, main):
    """Be the engine of the one who connected, and end with it."""
    about, given, _, _ = socket.recv_fds(connection, MOST_BYTES, 2)
    environment, folder = json.loads(about)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for target, fd in enumerate(given):
        os.dup2(fd, target)
        os.close(fd)
    sys.stdin, sys.stdout = os.fdopen(0, "r", closefd=False), os.fdopen(1, "w", closefd=False)

    def watch():
        connection.recv(1)  # nothing is ever sent: it returns when the other end is gone
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    try:
        main()
    finally:
        os._exit(0)


def relay(address):
    """Hand over standard input and output, and wait for the end."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        socket.send_fds(connection, [json.dumps([dict(os.environ), str(Path.cwd())]).encode()], [0, 1])
        os.close(0)
        os.close(1)
        connection.recv(1)


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        serve(sys.argv[2])
    else:
        relay(sys.argv[1])
