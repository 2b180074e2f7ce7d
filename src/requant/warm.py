"""A process that has imported what jobs need, and forks for each of them: a run has hundreds of short jobs.

A job of the workflow is a script in a Python process of its own, and most of a short one's time would go into importing
Snakemake, NumPy, ONNX Runtime and SciPy. So the main process of a local run starts one warm process beside itself, and
has `requant.handing_over` started in the place of Python from then on. That hands the script to the warm process, which
forks; the child runs the very script with the output, the folder and the environment of its caller, and the caller ends
with the child's status. Where there is no warm process, as on a cluster, Python runs the script.

Nothing waits for what is dead: if the caller is killed, so is the child; if the main process ends, however it does, all
of them end.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import runpy
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

from requant import handing_over

PYTHON = sys.executable  # as long as it is not replaced below
# What most jobs import, without any framework that an original comes from.
MODULES = (
    "snakemake.iocontainers", "snakemake.logging", "onnx", "onnxruntime", "scipy.special",
    "requant.quantize.variant", "requant.runtime.program", "requant.runtime.network", "requant.runtime.onnx_runner",
    "requant.evaluate.comparison", "requant.evaluate.data.pictures", "requant.evaluate.data.arrays",
)  # fmt: skip
_CHUNK = 65536


def start(modules: Iterable[str] = MODULES) -> None:
    """Start the warm process of this run, for the scripts that this process starts; it ends when this process does.

    `sys.executable`, with which Snakemake starts scripts, hands them over from then on; for all else, it is Python.
    """
    folder = Path(tempfile.mkdtemp(prefix="requant-"))
    address, launcher = folder / "socket", folder / "python"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(address))
        listener.listen(256)
        # The pipe's end in this process is never written to: that it closes is what tells the other one to end.
        process = subprocess.Popen(
            [PYTHON, "-m", "requant.warm", str(listener.fileno()), str(folder), *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=[listener.fileno()],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
    _started.append(process)
    command = [PYTHON, "-IS", handing_over.__file__, PYTHON, str(address), str(os.getpid())]
    launcher.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    launcher.chmod(0o700)
    # Snakemake does not quote it; and the folder may be on a disk from which nothing is run.
    if os.access(launcher, os.X_OK) and shlex.quote(str(launcher)) == str(launcher):
        sys.executable = str(launcher)


_started: list[subprocess.Popen[bytes]] = []  # held, so that the pipe stays open as long as this process lives


def serve(listener: socket.socket, parent: int, folder: Path, modules: Iterable[str]) -> None:
    """Fork for each script that is handed over, until the process at the other end of a pipe is gone.

    Args:
        listener: where scripts are handed over.
        parent: the descriptor of the pipe.
        folder: to be removed at the end.
        modules: to be imported before the first job.
    """
    from requant.frameworks import only

    logging.disable(logging.CRITICAL)
    with only():
        for module in modules:
            with contextlib.suppress(ImportError):
                import_module(module)
    logging.disable(logging.NOTSET)
    callers: dict[int, socket.socket] = {}  # by the process that works for them
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process tells when it is over
    try:
        while True:
            watched: list[Any] = [listener, parent, wake, *callers.values()]
            readable, _, _ = select.select(watched, [], [])
            if parent in readable:
                return
            if wake in readable:
                os.read(wake, _CHUNK)
                _reap(callers)
            for pid, caller in callers.items():
                if caller in readable:  # its caller says nothing more, so that it can only be gone
                    _kill(pid)
            if listener in readable:
                _fork(listener, callers)
    finally:
        for pid in callers:
            _kill(pid)
        shutil.rmtree(folder, ignore_errors=True)


def _reap(callers: dict[int, socket.socket]) -> None:
    """Tell the callers of all processes that have ended their status."""
    for pid in list(callers):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            with callers.pop(pid) as caller, contextlib.suppress(OSError):
                code = os.waitstatus_to_exitcode(status)
                caller.sendall(str(code if code >= 0 else 128 - code).encode())


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _fork(listener: socket.socket, callers: dict[int, socket.socket]) -> None:
    connection, _ = listener.accept()
    try:
        _, outputs, _, _ = socket.recv_fds(connection, 1, 2)
        with connection.makefile("rb") as stream:
            work = json.loads(stream.readline())
    except (OSError, ValueError):
        connection.close()
        return
    pid = os.fork()
    if pid == 0:
        for other in (listener, *callers.values()):
            other.close()
        _run(work, outputs)
    with contextlib.suppress(OSError):
        os.setpgid(pid, pid)
    for descriptor in outputs:
        os.close(descriptor)
    callers[pid] = connection


def _run(work: dict[str, Any], outputs: list[int]) -> None:
    """Run a script in this forked process as if it had been started by itself; never return."""
    status = 1
    try:
        os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        for number, descriptor in zip((1, 2), outputs, strict=True):
            os.dup2(descriptor, number)
        os.environ.clear()
        os.environ.update(work["environment"])
        os.chdir(work["folder"])
        sys.argv = [work["script"]]
        runpy.run_path(work["script"], run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _, number, place, *wanted = sys.argv
    serve(socket.socket(fileno=int(number)), sys.stdin.fileno(), Path(place), wanted)
