"""A Slurm cluster of two nodes on one machine, for tests: without systemd or cgroups, and all in one folder.

    python -m tests.cluster.slurm install           install Slurm where it is missing (Debian or Ubuntu, as root)
    python -m tests.cluster.slurm start FOLDER      the same, and start a cluster
    python -m tests.cluster.slurm stop FOLDER       end what was started

Nothing of the machine's own Slurm is touched, if it has one: keys, ports, state and configuration are those of the
folder. After `start`, `SLURM_CONF=FOLDER/slurm.conf` in the environment leads squeue, sbatch and the others there.

A real cluster keeps a job within its memory by cgroups. Here Slurm looks at all processes of a job every second, and
ends it if together they take more than was asked for.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil

PROGRAMS = ("munged", "mungekey", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol")
NODES = ("node1", "node2")
SYSTEM_PATH = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
# Slurm keeps these in files; the first is for all of it, the others for one node each.
DAEMONS = ("munged", "slurmctld", *(f"slurmd.{node}" for node in NODES))
CONFIGURATION = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,batch_sched_delay=0,sched_min_interval=0,bf_interval=1
ReturnToService=2
SlurmdTimeout=10
KillWait=2
MinJobAge=600
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherParams=OverMemoryKill,UsePss
JobAcctGatherFrequency=task=1
{nodes}
PartitionName=tests Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> list[str]:
    """Return the programs of Slurm that are not installed."""
    return [program for program in PROGRAMS if not shutil.which(program, path=SYSTEM_PATH)]


def install() -> None:
    """Install Slurm from the packages of Debian or Ubuntu, if it is missing."""
    if missing():
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for arguments in (["update"], ["install", "--yes", "--no-install-recommends", "slurm-wlm", "munge"]):
            subprocess.run(["apt-get", "--quiet", "--quiet", *arguments], check=True, env=environment)


def start(folder: Path, memory_mb: int = 8000) -> None:
    """Start a cluster of two nodes in a new folder, and wait until both take jobs.

    Args:
        folder: where all of it lives. Its path has to be short: a socket is in it.
        memory_mb: what each node is said to have.
    """
    folder.mkdir(parents=True)
    for name in ("munge", "state", "bin"):
        (folder / name).mkdir(mode=0o700)
    (folder / "munge").chmod(0o711)
    (folder / "slurm.conf").write_text(configuration(folder, memory_mb))
    write_srun(folder)
    munge = folder / "munge"
    run(folder, "mungekey", "--create", f"--keyfile={munge / 'key'}")
    run(
        folder, "munged", "--force", f"--key-file={munge / 'key'}", f"--socket={munge / 'socket'}",
        f"--log-file={munge / 'log'}", f"--pid-file={folder / 'munged.pid'}", f"--seed-file={munge / 'seed'}",
    )  # fmt: skip
    run(folder, "slurmctld")
    for node in NODES:
        start_node(folder, node)
    wait_for(lambda: states(folder) == dict.fromkeys(NODES, "idle"), f"idle nodes; see the logs in {folder}")


def write_srun(folder: Path) -> None:
    """Write the `srun` that jobs find: Snakemake's plugin takes `SLURM_CONF` out of the environment of its call."""
    real = shutil.which("srun", path=SYSTEM_PATH)
    program = folder / "bin" / "srun"
    program.write_text(f'#!/bin/sh\nSLURM_CONF={folder.absolute()}/slurm.conf exec {real} "$@"\n')
    program.chmod(0o755)


def configuration(folder: Path, memory_mb: int) -> str:
    """Return what Slurm reads: the ports are free ones, the two nodes share the processors of this machine."""
    ports = free_ports(1 + len(NODES))
    processors = os.cpu_count() or 1
    nodes = "\n".join(
        f"NodeName={node} NodeHostname={platform.node()} NodeAddr=127.0.0.1 Port={port} CPUs={processors} "
        f"RealMemory={memory_mb} State=UNKNOWN"
        for node, port in zip(NODES, ports[1:], strict=True)
    )
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    return CONFIGURATION.format(folder=folder.absolute(), host=platform.node(), user=user, ports=ports, nodes=nodes)


def start_node(folder: Path, node: str) -> None:
    run(folder, "slurmd", "-N", node)


def kill_node(folder: Path, node: str) -> None:
    """Let a node die with all that runs on it, as if its power were cut; Slurm notices after `SlurmdTimeout`."""
    jobs = run(folder, "squeue", "--noheader", "--format", "%A", "--nodelist", node).split()
    os.kill(int((folder / f"slurmd.{node}.pid").read_text()), signal.SIGKILL)
    own = {"SLURM_CONF": environment(folder)["SLURM_CONF"], "SLURMD_NODENAME": node}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            title = " ".join(process.cmdline())
            is_step = any(title.startswith(f"slurmstepd: [{job}.") for job in jobs) and has_open(process, folder)
            if is_step or own.items() <= process.environ().items():
                process.kill()


def has_open(process: psutil.Process, folder: Path) -> bool:
    """Return whether a process has a file of this cluster open: another one may have jobs of the same number."""
    return any(file.path.startswith(f"{folder.absolute()}{os.sep}") for file in process.open_files())


def stop(folder: Path) -> None:
    """End all jobs and all daemons of a cluster."""
    subprocess.run(["scancel", "--quiet", "--user", str(os.getuid())], env=environment(folder), check=False)
    for name in reversed(DAEMONS):
        path = folder / f"{name}.pid"
        if path.exists():
            pid = int(path.read_text())
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            wait_for(lambda pid=pid: not Path(f"/proc/{pid}").exists(), f"the end of {name}")


def environment(folder: Path) -> dict[str, str]:
    """Return the environment in which the commands of Slurm speak to a cluster."""
    path = os.pathsep.join([str(folder.absolute() / "bin"), SYSTEM_PATH])
    return {**os.environ, "PATH": path, "SLURM_CONF": str(folder.absolute() / "slurm.conf")}


def run(folder: Path, *command: str) -> str:
    """Run a program of Slurm, and return what it prints."""
    done = subprocess.run(command, env=environment(folder), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout


def states(folder: Path) -> dict[str, str]:
    """Return the state of each node, as `idle`."""
    done = subprocess.run(
        ["sinfo", "--noheader", "--Node", "--format", "%N %T"],
        env=environment(folder), capture_output=True, text=True, check=False,
    )  # fmt: skip
    return dict(line.split() for line in done.stdout.splitlines())


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def wait_for(condition, what: str, seconds: float = 60) -> None:
    """Wait until something is so, or fail."""
    end_of_patience = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end_of_patience:
            raise TimeoutError(f"waited in vain for {what}")
        time.sleep(0.1)


def main() -> None:
    """Do what the command line says."""
    match sys.argv[1:]:
        case ["install"]:
            install()
        case ["start", folder]:
            install()
            start(Path(folder))
            place = Path(folder).absolute()
            print(f"Two nodes are up. Say to your shell: export SLURM_CONF={place}/slurm.conf PATH={place}/bin:$PATH")
        case ["stop", folder]:
            stop(Path(folder))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
