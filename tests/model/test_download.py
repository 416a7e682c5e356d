"""Tests of downloads, from a server on this machine that can stop before the end."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from psahw.errors import UserError
from psahw.model.download import download

CONTENTS = bytes(range(256)) * 40


class _Handler(BaseHTTPRequestHandler):
    cut = None  # number of bytes after which the connection closes
    ranges = True
    requested: list  # the Range headers

    def do_GET(self):
        header = self.headers.get("Range")
        self.requested.append(header)
        start = int(header.removeprefix("bytes=").rstrip("-")) if header and self.ranges else 0
        if start >= len(CONTENTS):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENTS) - start))
        self.end_headers()
        self.wfile.write(CONTENTS[start : self.cut])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    handler = type("Handler", (_Handler,), {"requested": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        handler.url = f"http://127.0.0.1:{running.server_port}/file"
        yield handler
        running.shutdown()


def test_whole_file(server, tmp_path):
    lines = []
    download(server.url, tmp_path / "new" / "file", lines.append)
    assert (tmp_path / "new" / "file").read_bytes() == CONTENTS
    assert lines[0].startswith(f"downloading {server.url}")


def test_interrupted_download_is_resumed(server, tmp_path):
    server.cut = 1000
    with pytest.raises(OSError):
        download(server.url, tmp_path / "file", lambda line: None)
    assert not (tmp_path / "file").exists()
    server.cut = None
    download(server.url, tmp_path / "file", lambda line: None)
    assert (tmp_path / "file").read_bytes() == CONTENTS
    assert server.requested == [None, "bytes=1000-"]
    assert not (tmp_path / "file.part").exists()


@pytest.mark.parametrize("ranges", [True, False])
def test_useless_partial_file_is_discarded(server, tmp_path, ranges):
    server.ranges = ranges
    (tmp_path / "file.part").write_bytes(b"x" * (len(CONTENTS) if ranges else 10))
    download(server.url, tmp_path / "file", lambda line: None)
    assert (tmp_path / "file").read_bytes() == CONTENTS


@pytest.mark.usefixtures("small_disk")
def test_full_disk(server, tmp_path):
    with pytest.raises(UserError, match=r"^cannot write .*/file: File too large$"):
        download(server.url, tmp_path / "file", lambda line: None)
    assert list(tmp_path.iterdir()) == []
