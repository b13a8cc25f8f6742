#!/usr/bin/env python3
"""Pins packages: writes a requirements file with the hash of every wheel that Python 3.11 to 3.13 on x86-64 Linux may pick.

    python3 deploy/setup/pin.py deploy/setup/requirements.txt onnx==1.23.2 numpy==2.4.6

Lines of the old file that start with '#' stay at its head. Dependencies are resolved per Python version and must come
out the same for all, because one file serves all: give a version that has wheels for each where they differ.
"""
import hashlib, pathlib, subprocess, sys, tempfile

PYTHONS = ["3.11", "3.12", "3.13"]
PLATFORMS = ["manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux2014_x86_64", "manylinux_2_17_x86_64",
             "manylinux_2_12_x86_64", "manylinux2010_x86_64", "manylinux_2_5_x86_64", "manylinux1_x86_64"]


def main(target: pathlib.Path, packages: list[str]) -> None:
    pins: dict[str, set[str]] = {}
    for python in PYTHONS:
        with tempfile.TemporaryDirectory() as folder:
            platforms = [word for name in PLATFORMS for word in ("--platform", name)]
            subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--only-binary=:all:", "--python-version",
                            python, *platforms, "-d", folder, *packages], check=True)
            for wheel in pathlib.Path(folder).glob("*.whl"):
                name, version = wheel.name.split("-")[:2]
                digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
                pins.setdefault(f"{name.lower().replace('_', '-')}=={version}", set()).add(digest)
    names = [pin.split("==")[0] for pin in pins]
    if twice := {name for name in names if names.count(name) > 1}:
        sys.exit(f"different versions on different Pythons, pin one: {sorted(pin for pin in pins if pin.split('==')[0] in twice)}")
    head = [line for line in target.read_text().splitlines() if line.startswith("#")] if target.exists() else []
    lines = [" \\\n    ".join([pin, *(f"--hash=sha256:{digest}" for digest in sorted(pins[pin]))]) for pin in sorted(pins)]
    target.write_text("\n".join(head + lines) + "\n")


main(pathlib.Path(sys.argv[1]), sys.argv[2:])
