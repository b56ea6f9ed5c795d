"""A loopback server that answers as the Hugging Face hub does when a public data set or model is read.

Run code against it in a subprocess with `HubStandIn.environment(home)`: the hub's client reads its address on
import.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from urllib.parse import unquote, urlsplit

REPO = "org/name"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubStandIn:
    """Serves `files` (path: content) as the data set, or the model, `org/name` at one commit, within a `with` block.

    It hangs up on whoever asks for the content of a file in `unreachable`.
    """

    def __init__(self, files: dict[str, bytes], commit: str = COMMIT, kind: str = "datasets"):
        self.files = files
        self.api = f"/api/{kind}/{REPO}"
        self.resolve = f"/{REPO}/resolve/" if kind == "models" else f"/{kind}/{REPO}/resolve/"
        self.commit = commit
        self.requests: list[str] = []
        self.unreachable: set[str] = set()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.endpoint = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> HubStandIn:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.server.shutdown()
        self.server.server_close()

    def environment(self, home: Path) -> dict[str, str]:
        """The variables a subprocess needs, with every cache under `home`."""
        return client_environment(self.endpoint, home)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer()

            def do_HEAD(self) -> None:
                self._answer()

            def do_POST(self) -> None:
                self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}"))

            def _answer(self, body: dict[str, list[str]] | None = None) -> None:
                path = unquote(urlsplit(self.path).path)
                hub.requests.append(f"{self.command} {path}")
                if self.command == "GET" and path.rpartition("/")[2] in hub.unreachable:
                    self.close_connection = True
                    return
                status, headers, content = hub.respond(path, body)
                start, end = self._range(len(content))
                if status == 200 and (start, end) != (0, len(content)):
                    status = 206
                    headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(content)}"
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(end - start)}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content[start:end])

            def _range(self, size: int) -> tuple[int, int]:
                asked = self.headers.get("Range", "bytes=0-").removeprefix("bytes=")
                first, _, last = asked.partition("-")
                return int(first), min(int(last) + 1, size) if last else size

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler

    def respond(self, path: str, body: dict[str, list[str]] | None) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and content for a request."""
        for prefix, answer in (
            (f"{self.api}/tree/", self._tree),
            (f"{self.api}/paths-info/", self._paths_info),
            (f"{self.api}/revision/", self._info),
            (self.resolve, self._file),
        ):
            if path.startswith(prefix):
                revision, _, rest = path.removeprefix(prefix).partition("/")
                if revision not in ("main", self.commit):
                    return _missing("RevisionNotFound", f"Invalid rev id: {revision}")
                return answer(rest, body or {})
        if path == self.api:
            return self._info("", {})
        return _missing("RepoNotFound", "Repository not found")

    def _info(self, _: str, body: dict[str, list[str]]) -> tuple[int, dict[str, str], bytes]:
        siblings = [{"rfilename": name} for name in self.files]
        info = {
            "id": REPO,
            "sha": self.commit,
            "private": False,
            "gated": False,
            "tags": [],
            "siblings": siblings,
        }
        return _json(info)

    def _tree(self, folder: str, body: dict[str, list[str]]) -> tuple[int, dict[str, str], bytes]:
        inside = [name for name in self.files if not folder or name.startswith(folder + "/")]
        if folder and not inside:
            return _missing("EntryNotFound", "Entry not found")
        return _json([self._entry(name) for name in inside])

    def _paths_info(self, _: str, body: dict[str, list[str]]) -> tuple[int, dict[str, str], bytes]:
        return _json([self._entry(name) for name in body["paths"] if name in self.files])

    def _entry(self, name: str) -> dict[str, object]:
        content = self.files[name]
        return {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}

    def _file(self, name: str, body: dict[str, list[str]]) -> tuple[int, dict[str, str], bytes]:
        if name not in self.files:
            return _missing("EntryNotFound", "Entry not found")
        content = self.files[name]
        headers = {
            "ETag": f'"{hashlib.sha1(content).hexdigest()}"',
            "X-Repo-Commit": self.commit,
            "Accept-Ranges": "bytes",
        }
        return 200, headers, content


def client_environment(endpoint: str, home: Path) -> dict[str, str]:
    """The variables that point the hub's client to `endpoint` and every cache into `home`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return inherited | {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home / "hf"),
        "ACTBENCH_CACHE": str(home / "cache"),
    }


def _json(content: object) -> tuple[int, dict[str, str], bytes]:
    return 200, {"Content-Type": "application/json"}, json.dumps(content).encode()


def _missing(code: str, message: str) -> tuple[int, dict[str, str], bytes]:
    headers = {"X-Error-Code": code, "X-Error-Message": message}
    return 404, headers, json.dumps({"error": message}).encode()
