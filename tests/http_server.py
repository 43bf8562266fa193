"""An archive on 127.0.0.1 that serves files as S3, GCS and the GDC do, and fails on command."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_PIECE = 16384


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one GET (or HEAD, if `head`) of a path.

    `drop_after` closes the connection after that many bytes of the body; `headers` are added to or
    replace those of the answer (None leaves one out); `body` is sent in place of the file.
    """

    status: int | None = None
    headers: dict[str, str | None] = field(default_factory=dict)
    body: bytes | None = None
    drop_after: int | None = None
    ignore_range: bool = False
    chunked: bool = False
    head: bool = False


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]

    @property
    def start(self) -> int:
        """First byte asked for."""
        return int(self.headers.get("range", "bytes=0-").removeprefix("bytes=").split("-")[0])


class Archive:
    """The server.

    `files` by raw path, `faults` by path in the order they strike, `log` of requests; `pace` is the
    pause in seconds after every 16 kB.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.headers: dict[str, dict[str, str]] = {}
        self.faults: dict[str, list[Fault]] = {}
        self.log: list[Request] = []
        self.pace = 0.0
        self._lock = threading.Lock()
        archive = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                archive._answer(self)

            def do_HEAD(self):
                archive._answer(self)

            def log_message(self, *args):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *args):  # a client that is killed is no error here
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Archive:
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def put(self, path: str, content: bytes, **headers: str) -> str:
        """Serve a file and return its address."""
        self.files[path] = content
        self.headers[path] = headers
        return self.url + path

    def fail(self, path: str, *faults: Fault) -> None:
        self.faults.setdefault(path, []).extend(faults)

    def gets(self, path: str) -> list[Request]:
        return [one for one in self.log if one.method == "GET" and urlsplit(one.path).path == path]

    def _next_fault(self, method: str, path: str) -> Fault:
        with self._lock:
            waiting = self.faults.get(path, [])
            for place, fault in enumerate(waiting):
                if fault.head == (method == "HEAD"):
                    return waiting.pop(place)
        return Fault()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = urlsplit(handler.path).path
        headers = {name.lower(): value for name, value in handler.headers.items()}
        self.log.append(Request(handler.command, handler.path, headers))
        fault = self._next_fault(handler.command, path)
        content = self.files.get(path) if fault.body is None else fault.body
        if fault.status is not None or content is None:
            status, content = fault.status or 404, content or b"no such file"
            answer = {"Content-Length": str(len(content))}
        else:
            status, answer, content = self._range(content, headers, fault)
            answer |= self.headers.get(path, {})
        answer |= fault.headers
        if fault.chunked:
            answer |= {"Content-Length": None, "Transfer-Encoding": "chunked"}
        handler.send_response(status)
        for name, value in answer.items():
            if value is not None:
                handler.send_header(name, value)
        if "Content-Length" not in {n for n, v in answer.items() if v} and not fault.chunked:
            handler.close_connection = True
        handler.end_headers()
        if handler.command == "GET":
            self._send(handler, content, fault)

    def _range(self, content, headers, fault):
        etag = f'"{hashlib.sha1(content, usedforsecurity=False).hexdigest()}"'
        answer = {"ETag": etag, "Accept-Ranges": "bytes", "Content-Type": "binary/octet-stream"}
        asked = headers.get("range")
        if asked is None or fault.ignore_range or headers.get("if-range", etag) != etag:
            return 200, answer | {"Content-Length": str(len(content))}, content
        start = int(asked.removeprefix("bytes=").split("-")[0])
        if start >= len(content):
            answer |= {"Content-Range": f"bytes */{len(content)}", "Content-Length": "0"}
            return 416, answer, b""
        rest = content[start:]
        span = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return 206, answer | {"Content-Range": span, "Content-Length": str(len(rest))}, rest

    def _send(self, handler: BaseHTTPRequestHandler, content: bytes, fault: Fault) -> None:
        end = len(content) if fault.drop_after is None else fault.drop_after
        for start in range(0, end, _PIECE):
            piece = content[start : min(end, start + _PIECE)]
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if fault.chunked else piece)
            if self.pace:
                time.sleep(self.pace)
        if fault.drop_after is None:
            handler.wfile.write(b"0\r\n\r\n" if fault.chunked else b"")
            return
        handler.wfile.flush()
        handler.close_connection = True
        handler.connection.shutdown(socket.SHUT_WR)


class Proxy:
    """A forward proxy for plain http: answers with what the archive has, counts its uses."""

    def __init__(self, archive: Archive) -> None:
        self.asked: list[str] = []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                proxy.asked.append(self.path)  # a proxy is asked with the whole address
                content = archive.files[urlsplit(self.path).path]
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def gdc_metadata(uuid: str, content: bytes, **changes: object) -> bytes:
    """Return what ``/files/<uuid>`` answers for a STAR file of one TCGA sample."""
    data = {
        "data_release": "44.0",
        "access": "open",
        "file_id": uuid,
        "file_name": f"{uuid}.rna_seq.augmented_star_gene_counts.tsv",
        "file_size": len(content),
        "md5sum": hashlib.md5(content, usedforsecurity=False).hexdigest(),
        "data_format": "TSV",
        "data_category": "Transcriptome Profiling",
        "data_type": "Gene Expression Quantification",
        "experimental_strategy": "RNA-Seq",
        "analysis": {"workflow_type": "STAR - Counts"},
        "cases": [
            {
                "submitter_id": "TCGA-44-3396",
                "project": {"project_id": "TCGA-LUAD"},
                "samples": [
                    {"submitter_id": "TCGA-44-3396-01A", "sample_type": "Primary Tumor"},
                ],
            }
        ],
    }
    return json.dumps({"data": data | changes, "warnings": {}}).encode()
