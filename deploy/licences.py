"""Lists the licence of everything that a copy of deckle carries: the crates in the program, the libraries of the system
that it is linked with, the native libraries that it loads, and the models. `make licences` prints it.

    licences.py [--program PATH]

Crates come from `cargo metadata` (what the program is built of on x86-64 Linux, without tests and build scripts), native
libraries from deploy/setup/libraries.txt, models from deploy/models.toml, and libraries of the system from the program
itself (`ldd`), with the Debian package that each belongs to.
"""

import argparse
import json
import pathlib
import re
import subprocess
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent

# What each wheel of deploy/setup/libraries.txt brings into .deckle/lib, where the texts of the licences lie, too.
NATIVE = {
    "onnxruntime-openvino": ("ONNX Runtime, OpenVINO, oneTBB", "MIT AND Apache-2.0"),
    "pypdfium2": ("PDFium and what is built into it", "Apache-2.0 AND BSD-3-Clause"),
    "pi-heif": ("libheif, libde265 (loaded at run time, replaceable)", "LGPL-3.0-or-later"),
}


def crates():
    """(name, version, licence) of each crate in the program that is not deckle's own."""
    command = ["cargo", "metadata", "--format-version", "1", "--filter-platform", "x86_64-unknown-linux-gnu"]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    needs = {
        node["id"]: [dep["pkg"] for dep in node["deps"] if any(kind["kind"] is None for kind in dep["dep_kinds"])]
        for node in metadata["resolve"]["nodes"]
    }
    waiting = [id for id, package in packages.items() if package["name"] == "deckle"]
    seen = set()
    while waiting:
        id = waiting.pop()
        # A procedural macro works in the compiler: nothing of it is in the program.
        is_macro = any("proc-macro" in target["kind"] for target in packages[id]["targets"])
        if id not in seen and not is_macro:
            seen.add(id)
            waiting.extend(needs[id])
    own = set(metadata["workspace_members"])
    found = [packages[id] for id in seen - own]
    return sorted((package["name"], package["version"], package["license"] or "see its source") for package in found)


def native():
    """(libraries, wheel and version, licence) of each native library that deckle loads."""
    for line in (ROOT / "deploy/setup/libraries.txt").read_text().splitlines():
        wheel = re.match(r"([\w-]+)==([\w.]+)", line)
        if wheel:
            name, licence = NATIVE[wheel[1]]
            yield name, f"{wheel[1]} {wheel[2]}", licence


def models():
    """(model, source, licence) of each model."""
    for model in tomllib.loads((ROOT / "deploy/models.toml").read_text())["model"]:
        yield model["name"], model["source"], model["licence"]


def system(program):
    """(library, Debian package, where its licence is told) of each library that the program is linked with."""
    listing = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    for path in sorted(set(re.findall(r"=> (/\S+)", listing))):
        # dpkg knows the file by the path that it was packed with, which may lack /usr.
        for known in {path, str(pathlib.Path(path).resolve()), str(pathlib.Path(path).resolve()).removeprefix("/usr")}:
            owner = subprocess.run(["dpkg-query", "--search", known], capture_output=True, text=True)
            if owner.returncode == 0:
                package = owner.stdout.split(":")[0]
                yield pathlib.Path(path).name, package, f"/usr/share/doc/{package}/copyright"
                break
        else:
            yield pathlib.Path(path).name, "of no package", "unknown"


def table(title, head, rows):
    """Prints rows under a title, in columns as wide as their longest cell."""
    rows = list(rows)
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    print(f"{title} ({len(rows)})\n")
    for row in [head, tuple("─" * width for width in widths), *rows]:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    print()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--program", type=pathlib.Path, help="the program whose linked libraries are listed, too")
    program = parser.parse_args().program
    table("Crates in the program", ("crate", "version", "licence"), crates())
    table("Native libraries, loaded at run time", ("library", "wheel", "licence"), native())
    table("Models", ("model", "source", "licence"), models())
    if program:
        table("Libraries of the system that the program is linked with", ("library", "package", "licence"), system(program))


if __name__ == "__main__":
    main()
