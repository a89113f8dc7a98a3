#!/usr/bin/env python3
"""Prints the ten files that took longest to compile, from Ninja's log.

    scripts/slowest_files.py [BUILD_FOLDER]
"""

import pathlib
import sys


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "build")
    log = folder / ".ninja_log"
    if not log.exists():
        sys.exit(f"{log} is not there: build with Ninja first, or name the build folder.")
    seconds = {}
    for line in log.read_text().splitlines()[1:]:
        start, end, _, output, _ = line.split("\t")
        if output.endswith((".o", ".gch")):
            seconds[output] = (int(end) - int(start)) / 1000  # the last build of each file counts
    for output, took in sorted(seconds.items(), key=lambda item: -item[1])[:10]:
        print(f"{took:7.1f} s  {output.removesuffix('.o').replace('CMakeFiles/', '')}")
    print(f"{sum(seconds.values()):7.1f} s  in {len(seconds)} files")


if __name__ == "__main__":
    main()
