"""Compares the files of deploy/models.toml with a folder of models: check_models.py MODELS.toml FOLDER."""
import hashlib, pathlib, sys, tomllib

wrong = 0
for model in tomllib.loads(pathlib.Path(sys.argv[1]).read_text())["model"]:
    for file in model["files"]:
        path = pathlib.Path(sys.argv[2]) / model["name"] / file["name"]
        if not path.exists():
            print(f"{path} is missing")
        elif (digest := hashlib.sha256(path.read_bytes()).hexdigest()) != file["sha256"]:
            print(f"{path} differs: sha256 {digest}, {path.stat().st_size} bytes; deploy/models.toml says {file['sha256']}, {file['bytes']} bytes")
        else:
            continue
        wrong += 1
sys.exit(wrong > 0)
