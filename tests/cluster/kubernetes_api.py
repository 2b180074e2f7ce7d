"""A stand-in for a Kubernetes cluster: of its API what Snakemake's plugin calls, and pods that are processes here.

What it shows: what is submitted, and that the command of a pod does its work in an empty folder with nothing but the
environment, the storage and the sources that it is given. What it does not: images, limits, placing, nodes.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Cluster:
    """The state of the cluster: secrets, submitted jobs by name, the processes and folders of their pods."""

    def __init__(self, environment: dict[str, str]):
        self.environment = environment  # that of the image
        self.secrets: dict[str, dict[str, str]] = {}
        self.jobs: dict[str, dict] = {}
        self.pods: dict[str, tuple[subprocess.Popen, Path]] = {}

    def submit(self, job: dict) -> None:
        name, container = job["metadata"]["name"], job["spec"]["template"]["spec"]["containers"][0]
        folder = Path(tempfile.mkdtemp(prefix="pod-"))
        given = {each["name"]: self.secret(each["valueFrom"]["secretKeyRef"]) for each in container.get("env") or ()}
        with (folder / ".log").open("wb") as log:
            process = subprocess.Popen(
                [*container["command"], *container["args"]], cwd=folder, env=self.environment | given,
                stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self.jobs[name], self.pods[name] = job, (process, folder)

    def secret(self, reference: dict[str, str]) -> str:
        return base64.b64decode(self.secrets[reference["name"]][reference["key"]]).decode()

    def exit_code(self, name: str) -> int | None:
        return self.pods[name][0].poll()

    def log(self, name: str) -> str:
        return (self.pods[name][1] / ".log").read_text()

    def describe_pod(self, name: str) -> dict:
        code = self.exit_code(name)
        state = {"running": {}} if code is None else {"terminated": {"exitCode": code}}
        status = {"name": "snakemake", "state": state, "image": "", "imageID": "", "ready": True, "restartCount": 0}
        return {"metadata": {"name": name}, "status": {"containerStatuses": [status]}}

    def describe_job(self, name: str) -> dict:
        code = self.exit_code(name)
        status = {} if code is None else {"succeeded": 1} if code == 0 else {"failed": 1}
        return {"metadata": {"name": name}, "status": status}

    def answer(self, method: str, path: str, body: dict) -> dict | str | None:
        """Return what the API answers to a request; None for what is not there."""
        parts, _, query = path.partition("?")
        kind, *rest = parts.split("/namespaces/default/")[-1].split("/")
        if method == "DELETE":
            return {}
        if method == "POST" and kind == "secrets":
            self.secrets[body["metadata"]["name"]] = body["data"]
            return body
        if method == "POST" and kind == "jobs":
            self.submit(body)
            return body
        name = rest[0] if rest else query.rpartition("job-name%3D")[2].partition("&")[0]
        if name not in self.pods:
            return None
        if kind == "jobs":
            return self.describe_job(name)
        return self.log(name) if rest[1:] == ["log"] else {"items": [self.describe_pod(name)]}


@contextmanager
def cluster(environment: dict[str, str], folder: Path) -> Iterator[tuple[Cluster, Path]]:
    """Run a stand-in; give it, and the file that `KUBECONFIG` names to reach it."""
    state = Cluster(environment)

    class Handler(BaseHTTPRequestHandler):
        def respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = state.answer(self.command, self.path, json.loads(body or b"{}"))
            text = answer if isinstance(answer, str) else json.dumps(answer or {})
            self.send_response(404 if answer is None else 200)
            self.send_header("Content-Type", "text/plain" if isinstance(answer, str) else "application/json")
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST = do_DELETE = respond  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    configuration = {
        "apiVersion": "v1", "kind": "Config", "current-context": "tests", "preferences": {},
        "clusters": [{"name": "tests", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "users": [{"name": "tests", "user": {}}],
        "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests"}}],
    }  # fmt: skip
    path = folder / "kubeconfig"
    path.write_text(json.dumps(configuration))
    try:
        yield state, path
    finally:
        server.shutdown()
        for process, _ in state.pods.values():
            if process.poll() is None:
                process.kill()


def image(folder: Path, program: Path) -> dict[str, str]:
    """Return the environment of an image: `python` and nothing of the user's; `pip` has nothing left to install."""
    programs = folder / "image"
    programs.mkdir()
    (programs / "pip").write_text("#!/bin/sh\n")
    (programs / "pip").chmod(0o755)
    path = os.pathsep.join(map(str, [programs, program.parent, "/usr/bin", "/bin"]))
    return {"PATH": path, "HOME": str(folder / "image"), "LANG": "C.UTF-8"}
