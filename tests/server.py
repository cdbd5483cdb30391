"""A server of one file on this machine, that misbehaves as it is told."""

import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Serves `content`; misbehaves as told by `script`, one word per request, then behaves.

    `pause` is how many seconds it waits after each twentieth of the content.
    """

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), Handler)
        self.script = []
        self.asked = []
        self.content = content
        self.pause = 0.0
        self.release = threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/weights.pth"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def do_GET(self):
        word = self.server.script.pop(0) if self.server.script else "well"
        start = int((self.headers["Range"] or "bytes=0-")[6:-1])
        self.server.asked.append((self.path, start))
        if word in ("404", "503"):
            self.send_error(int(word))
            return
        if word == "redirect":
            self.send_response(302)
            self.send_header("Location", "/moved")
            self.end_headers()
            return
        if word.startswith("to "):
            self.send_response(302)
            self.send_header("Location", word[3:])
            self.end_headers()
            return
        if start >= len(self.server.content):
            self.send_error(416)
            return
        if word == "no ranges":
            start = 0
        self.send_response(206 if start else 200)
        rest = self.server.content[start:]
        if word != "no length":
            self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if word == "cut off":
            rest = rest[: len(rest) // 2]
        if word == "corrupted":
            rest = rest[:-1] + b"?"
        if word == "silent":
            self.wfile.write(rest[: len(rest) // 2])
            self.wfile.flush()
            self.server.release.wait(20)
            return
        self.write(rest)

    def write(self, content):
        step = len(self.server.content) // 20 if self.server.pause else len(content)
        for first in range(0, len(content), step):
            try:
                self.wfile.write(content[first : first + step])
            except ConnectionError:  # the client has gone
                return
            time.sleep(self.server.pause)


@contextmanager
def serving(content):
    with Server(content) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.release.set()
        server.shutdown()
        thread.join()
