"""Damages small models at random for some minutes and puts them through every reader: `make fuzz MINUTES=15`.

Each file follows from its seed. What went wrong is printed once for each place in the code, with the seed, by which
`python -m tests.coreml.fuzz --seed N FILE` makes the file again.
"""

import argparse
import os
import pickle
import shutil
import sys
import tempfile
import time
from pathlib import Path
from random import Random

from tests.coreml.examination import examine, limit_this_process
from tests.coreml.mutations import damaged_model, sound_models

BATCH = 100


def file_of(seed):
    """Return the name of the model, and the suffix and bytes of the damaged file that a seed stands for."""
    random = Random(seed)
    name = random.choice(sorted(sound_models()))
    return name, *damaged_model(name, random)


def examined(seeds, folder, log, foreseen):
    """Examine the files of seeds in a process of its own, which may end as it will; what is found goes to a log."""
    process = os.fork()
    if process == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # ONNX Runtime writes there what it raises
        limit_this_process()
        with log.open("ab", buffering=0) as stream:
            for seed in seeds:
                name, suffix, data = file_of(seed)
                stream.write(pickle.dumps((seed, name, None)))
                inside = folder / "inside"
                inside.mkdir()
                path = inside / f"m{suffix}"
                path.write_bytes(data)
                found = examine(path, inside, foreseen)
                shutil.rmtree(inside)
                if list(folder.iterdir()) != [log]:
                    found.append(("any", "something was written outside of the folder", str(list(folder.iterdir()))))
                stream.write(pickle.dumps((seed, name, found)))
        os._exit(0)
    _, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status)


def read(log):
    entries = []
    with log.open("rb") as stream:
        while True:
            try:
                entries.append(pickle.load(stream))
            except EOFError:
                return entries


def fuzz(minutes, seed, foreseen):
    """Examine files until the time is over; return how many there were, and what was found by its place."""
    sound_models()
    known, count, end = {}, 0, time.monotonic() + 60 * minutes
    while time.monotonic() < end:
        with tempfile.TemporaryDirectory() as name:
            folder, log = Path(name), Path(name) / "log"
            status = examined(range(seed, seed + BATCH), folder, log, foreseen)
            entries = read(log)
        if status:
            last = entries[-1]
            entries[-1] = (last[0], last[1], [("any", f"the process ended with {status}", "")])
            seed = last[0] + 1
        else:
            seed += BATCH
        for number, model, found in entries:
            count += found is not None
            for way, error, place in found or ():
                key = (way, error.split(":")[0], place)
                if key not in known:
                    print(f"seed {number} ({model}), {way}: {error}\n    {place}", flush=True)
                known[key] = known.get(key, 0) + 1
    return count, known


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--seed", type=int, default=0, help="where to begin; with FILE, of the one to write")
    parser.add_argument("--foreseen", action="store_true", help="find what only the last line of defence tells, too")
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE")
    options = parser.parse_args()
    if options.file:
        name, suffix, data = file_of(options.seed)
        path = options.file.with_name(options.file.name + suffix)
        path.write_bytes(data)
        print(f"{path}, from the model {name!r}")
        return 0
    count, known = fuzz(options.minutes, options.seed, options.foreseen)
    print(f"{count:,} files, {len(known)} places where something went wrong")
    return bool(known)


if __name__ == "__main__":
    sys.exit(main())
