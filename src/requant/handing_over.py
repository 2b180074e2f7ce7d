"""What runs in the place of Python for the scripts of a local run: it lets the warm process do the work of a script.

It is run as a file by a Python without its site packages, which starts in a few milliseconds, so it imports nothing but
a little of the standard library. Whatever it is not made for, it leaves to Python (`requant.warm`).
"""

import json
import os
import signal
import socket
import sys


def hand_over(address: str, main: int, script: str) -> int | None:
    """Let the warm process run a script, and return the status with which it ended; nothing if there is none to do it.

    Args:
        address: of the socket where the warm process listens.
        main: the main process of the run, without which no work is done any more.
        script: the file.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(address)
            work = {"script": os.path.realpath(script), "folder": os.getcwd(), "environment": dict(os.environ)}  # noqa: PTH109
            socket.send_fds(connection, [b"+"], [1, 2])
            connection.sendall(json.dumps(work).encode() + b"\n")
            status = connection.recv(16)
        except OSError:
            return None
    if status:
        return int(status)
    return None if _lives(main) else 1  # the warm process alone has died, or all of them


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


if __name__ == "__main__":
    python, place, number, *arguments = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    is_script = len(arguments) == 1 and arguments[0].endswith(".py")
    found = hand_over(place, int(number), arguments[0]) if is_script else None
    if found is not None:
        os._exit(found)
    os.execv(python, [python, *arguments])
