#!/usr/bin/env bash
# Puts the native libraries that deckle loads at run time into .deckle/lib: ONNX Runtime with its OpenVINO provider
# (which finds its parts beside itself), PDFium, and libheif with its decoder of HEVC. Needs .deckle/venv.
set -euo pipefail
cd "$(dirname "$0")/../.."

pins=deploy/setup/libraries.txt
lib=.deckle/lib
if cmp -s "$pins" "$lib/libraries.txt"; then exit 0; fi

if [ "$(uname -s) $(uname -m)" != "Linux x86_64" ]; then
    echo "only Linux on x86-64 is set up (this is $(uname -s) on $(uname -m))." >&2
    echo "Elsewhere put libonnxruntime.so 1.20 or later and libpdfium.so build 8125 or later into $lib yourself (and" >&2
    echo "libheif.so.1, without which HEIC photographs are refused)," >&2
    echo "then: cp $pins $lib/" >&2
    exit 1
fi

mkdir -p .deckle/cache
.deckle/venv/bin/python -m pip download --quiet --disable-pip-version-check --dest .deckle/cache \
    --no-deps --require-hashes --only-binary=:all: --python-version 3.11 --implementation cp --abi cp311 --abi none \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux_2_17_x86_64 --requirement "$pins"

rm -rf "$lib"
.deckle/venv/bin/python - "$lib" <<'PYTHON'
import ctypes, pathlib, sys, zipfile

lib, cache = pathlib.Path(sys.argv[1]), pathlib.Path(".deckle/cache")
# What the OpenVINO provider needs on a CPU; the wheel also holds GPU and NPU plug-ins and every library three times.
onnxruntime = {
    "libonnxruntime.so.1.24.1": "libonnxruntime.so",
    "libonnxruntime_providers_shared.so": None,
    "libonnxruntime_providers_openvino.so": None,
    "libopenvino.so.2541": None,
    "libopenvino_intel_cpu_plugin.so": None,
    "libopenvino_onnx_frontend.so.2541": None,
    "libtbb.so.12": None,
}
# Decoders only: the wheel that can also encode holds libx265, which is GPL. libde265 keeps the
# name that the wheel's builder gave it, because libheif asks for it by that.
libheif = {"libheif-7a3e919c.so.1.23.0": "libheif.so.1", "libde265-90fb0ce1.so.0.2.0": None}
wheels = [
    ("onnxruntime_openvino-1.24.1-*.whl", "onnxruntime/capi/", onnxruntime, "onnxruntime/LICENSE"),
    ("pypdfium2-5.15.2-*.whl", "pypdfium2_raw/", {"libpdfium.so": None}, "pypdfium2-5.15.2.dist-info/licenses/BUILD_LICENSES/"),
    ("pi_heif-1.4.0-*.whl", "pi_heif.libs/", libheif, "pi_heif-1.4.0.dist-info/licenses/"),
]
for pattern, folder, files, licence in wheels:
    (path,) = cache.glob(pattern)
    with zipfile.ZipFile(path) as wheel:
        for name, new_name in files.items():
            target = lib / (new_name or name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(wheel.read(folder + name))
            target.chmod(0o755)
        for member in wheel.namelist():
            if member.startswith(licence) and not member.endswith("/"):
                target = lib / "licences" / path.name.split("-")[0] / pathlib.Path(member).name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(wheel.read(member))


class ApiBase(ctypes.Structure):
    _fields_ = [("get_api", ctypes.c_void_p), ("get_version", ctypes.CFUNCTYPE(ctypes.c_char_p))]


runtime = ctypes.CDLL(str((lib / "libonnxruntime.so").resolve()))
runtime.OrtGetApiBase.restype = ctypes.POINTER(ApiBase)
assert runtime.OrtGetApiBase().contents.get_version() == b"1.24.1"
ctypes.CDLL(str((lib / "libopenvino_intel_cpu_plugin.so").resolve()))
ctypes.CDLL(str((lib / "libpdfium.so").resolve())).FPDF_InitLibrary()
ctypes.CDLL(str((lib / "libde265-90fb0ce1.so.0.2.0").resolve())) # as deckle does it
heif = ctypes.CDLL(str((lib / "libheif.so.1").resolve()))
heif.heif_get_version.restype = ctypes.c_char_p
assert heif.heif_get_version() == b"1.23.0"
PYTHON
cp LICENSE "$lib/licences/onnxruntime_openvino/OpenVINO-Apache-2.0.txt" # the wheel leaves its text out
# libheif and libde265 are LGPL-3.0-or-later. They are loaded at run time, unchanged: who has them in another build puts
# it in their place, or names its folder as decode.heif. The texts come with Debian and Ubuntu.
for licence in GPL-3 LGPL-3; do
    if [ -f "/usr/share/common-licenses/$licence" ]; then
        cp "/usr/share/common-licenses/$licence" "$lib/licences/pi_heif/$licence.txt"
    fi
done
cat >"$lib/licences/pi_heif/NOTICE.txt" <<'NOTICE'
libheif.so.1 (libheif 1.23.0) and libde265 are taken unchanged from PyPI's wheel pi-heif 1.4.0 and are under the
GNU Lesser General Public License, version 3 or later (LGPL-3.txt, which adds to GPL-3.txt). Sources:
https://github.com/strukturag/libheif and https://github.com/strukturag/libde265. deckle loads them at run time and
links nothing of them: any libheif.so.1 with the same interface may take their place.
NOTICE
cp "$pins" "$lib/libraries.txt" # last: marks the folder as whole
