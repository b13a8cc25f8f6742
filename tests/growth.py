"""Builds the rooms whose algorithms are pure so that they count their steps, and runs the tests that hold how work grows.

The compiler's own instrumentation for fuzzing counts (`-C passes=sancov-module`): nothing is timed, and neither the
processor's counters nor a debugger are needed. Only the room under test is built anew; what it builds upon stays.
"""

import json
import subprocess
import sys

ROOMS = ["deckle-contract", "deckle-structure", "deckle-decode"]

FLAGS = [
    "--cfg", "counted",
    # Quick to build; what is counted are branches, which are as many at any level.
    "-C", "opt-level=1", "-C", "debuginfo=0",
    "-C", "passes=sancov-module",
    "-C", "llvm-args=-sanitizer-coverage-level=3",
    "-C", "llvm-args=-sanitizer-coverage-trace-pc",
]  # fmt: skip


def build(room: str) -> str:
    """The path of the room's tests, built to count."""
    command = ["cargo", "rustc", "--quiet", "-p", room, "--lib", "--profile", "test"]
    command += ["--message-format=json-render-diagnostics", "--", *FLAGS]
    built = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    messages = map(json.loads, built.stdout.splitlines())
    executables = [message["executable"] for message in messages if message.get("executable")]
    return executables[-1]


def main() -> int:
    failed = False
    for room in sys.argv[1:] or ROOMS:
        ran = subprocess.run([build(room), "growth::", "--test-threads=1"], stdout=subprocess.PIPE, text=True)
        print(ran.stdout, end="")
        # No test at all would pass, too.
        failed |= ran.returncode != 0 or "running 0 tests" in ran.stdout
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
