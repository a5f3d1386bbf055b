"""As much of the Hugging Face Hub's HTTP API as pushing and fetching takes, in a thread of this process: repositories
of models with branches, large files by the LFS protocol, commits of JSON lines. It notes what it is asked."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any
from urllib.parse import unquote, urlsplit

LFS = (".safetensors", ".npy", ".parquet")
"""What `.gitattributes` of a new repository of a model sends to large storage."""


@dataclass
class Repo:
    """Branches, and the files at every commit."""

    private: bool = False
    branches: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def commit(self, branch: str, files: dict[str, bytes], message: str) -> str:
        sha = hashlib.sha1(f"{branch} {len(self.messages)} {sorted(files)}".encode()).hexdigest()
        self.branches[branch], self.commits[sha] = sha, files
        self.messages.append(message)
        return sha

    def sha(self, revision: str) -> str | None:
        return self.branches.get(revision, revision if revision in self.commits else None)

    def files(self, revision: str = "main") -> dict[str, bytes]:
        return self.commits[self.sha(revision) or ""]


@dataclass
class Hub:
    """What the server knows, and what it was asked."""

    repos: dict[str, Repo] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)
    token: str | None = None
    """Whom it lets write, and read what is private; None: everybody."""
    fails: int | None = None
    """The status of every answer."""
    waits: float = 0.0
    url: str = ""

    def make(self, name: str, files: dict[str, bytes] | None = None, private: bool = False) -> Repo:
        repo = self.repos[name] = Repo(private)
        repo.commit("main", {".gitattributes": b"", **(files or {})}, "initial commit")
        return repo


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None: ...

    def answer(self, status: int, content: Any = None, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content or {}).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status: int, code: str) -> None:
        self.answer(status, {"error": code}, X_Error_Code=code, X_Error_Message=code)

    def handle_any(self) -> None:
        hub, path = self.hub, unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        hub.asked.append(f"{self.command} {path}")
        hub.tokens.append(token)
        Event().wait(hub.waits)
        if hub.fails:
            self.answer(hub.fails, {"error": "said by the server"})
        elif path.startswith("/storage/"):
            hub.stored[path.removeprefix("/storage/")] = body
            self.answer(200)
        elif path == "/api/validate-yaml":
            content = json.loads(body)["content"]
            whole = content.startswith("---\n") and "\n---\n" in content
            self.answer(
                200, {"errors": [], "warnings": [] if whole else [{"message": "empty or missing yaml metadata"}]}
            )
        elif path == "/api/repos/create":
            self.create(json.loads(body), token)
        elif path.endswith(".git/info/lfs/objects/batch"):
            objects = [
                {**its, "actions": {"upload": {"href": f"{hub.url}/storage/{its['oid']}"}}}
                for its in json.loads(body)["objects"]
            ]
            self.answer(200, {"objects": objects, "transfer": "basic"})
        elif path.startswith("/api/models/"):
            org, name, *rest = path.removeprefix("/api/models/").split("/")
            self.of_repo(f"{org}/{name}", rest, body, token)
        elif "/resolve/" not in path:
            self.refuse(404, "NotFound")
        else:
            org, name, _, revision, *file = path.strip("/").split("/")
            self.resolve(f"{org}/{name}", revision, "/".join(file), token)

    do_GET = do_HEAD = do_POST = do_PUT = handle_any  # noqa: N815 (as http.server calls them)

    def may(self, token: str | None) -> bool:
        return self.hub.token is None or token == self.hub.token

    def create(self, asked: dict[str, Any], token: str | None) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        if not self.may(token):
            self.refuse(401 if token is None else 403, "NoAccess")
        elif name in self.hub.repos:
            self.answer(409, {"url": f"{self.hub.url}/{name}", "error": "exists"})
        else:
            self.hub.make(name, private=asked.get("visibility") == "private" or asked.get("private") is True)
            self.answer(200, {"url": f"{self.hub.url}/{name}", "id": name})

    def of_repo(self, name: str, rest: list[str], body: bytes, token: str | None) -> None:
        repo = self.hub.repos.get(name)
        if repo is None or (repo.private and not self.may(token)):
            return self.refuse(404, "RepoNotFound")
        action, revision = (*rest, "main")[:2] if rest else ("info", "main")
        if self.command == "POST" and not self.may(token):
            return self.refuse(403, "Forbidden")
        if action == "branch":
            if revision in repo.branches:
                return self.answer(409, {"error": "exists"})
            repo.branches[revision] = repo.branches["main"]
            return self.answer(201)
        sha = repo.sha(revision)
        if sha is None:
            return self.refuse(404, "RevisionNotFound")
        if action == "preupload":
            files = [
                {"path": its["path"], "uploadMode": "lfs" if its["path"].endswith(LFS) else "regular"}
                for its in json.loads(body)["files"]
            ]
            return self.answer(200, {"files": [{**its, "shouldIgnore": False} for its in files]})
        if action == "commit":
            return self.commit(name, repo, revision, [json.loads(line) for line in body.splitlines()])
        info = {
            "_id": "1",
            "id": name,
            "modelId": name,
            "sha": sha,
            "private": repo.private,
            "tags": [],
            "downloads": 0,
        }
        return self.answer(200, {**info, "siblings": [{"rfilename": file} for file in repo.commits[sha]]})

    def commit(self, name: str, repo: Repo, branch: str, lines: list[dict[str, Any]]) -> None:
        header, *operations = lines
        parent = header["value"].get("parentCommit")
        if parent is not None and parent != repo.branches[branch]:
            return self.refuse(412, "PreconditionFailed")
        files = dict(repo.files(branch))
        for operation in operations:
            its = operation["value"]
            if operation["key"] == "file":
                files[its["path"]] = base64.b64decode(its["content"])
            else:
                assert operation["key"] == "lfsFile" and its["algo"] == "sha256"
                content = files[its["path"]] = self.hub.stored[its["oid"]]
                assert hashlib.sha256(content).hexdigest() == its["oid"] and len(content) == its["size"]
        sha = repo.commit(branch, files, header["value"]["summary"])
        return self.answer(200, {"commitUrl": f"{self.hub.url}/{name}/commit/{sha}", "commitOid": sha, "success": True})

    def resolve(self, name: str, revision: str, file: str, token: str | None) -> None:
        repo = self.hub.repos.get(name)
        if repo is None or (repo.private and not self.may(token)):
            return self.refuse(401, "RepoNotFound")
        sha = repo.sha(revision)
        if sha is None:
            return self.refuse(404, "RevisionNotFound")
        if file not in repo.commits[sha]:
            return self.refuse(404, "EntryNotFound")
        content = repo.commits[sha][file]
        return self.answer(200, content, ETag=f'"{hashlib.sha1(content).hexdigest()}"', X_Repo_Commit=sha)


@contextmanager
def fake_hub() -> Iterator[Hub]:
    """A hub that answers as long as this is open."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
