"""Bytes of deckle's records: one Avro datum behind one of two headers. The first byte tells which.

    C3 01  fingerprint (8 bytes)   Avro single-object encoding: needs no registry, only the schema files
    00     id (4 bytes)            Confluent framing: the schema lies in a schema registry
"""
import functools, io, json, pathlib, struct, urllib.request

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form

# Where deckle keeps its schemas: one file for each topic, those of earlier releases in a folder below.
SCHEMAS = pathlib.Path(__file__).resolve().parents[3] / "schemas"


def crc(schema) -> bytes:
    """The schema's CRC-64-AVRO, little-endian, as single-object encoding wants it."""
    return bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))


class Files:
    """Schemas from deckle's own files: for topics without a registry."""

    def __init__(self, folder: pathlib.Path = SCHEMAS):
        self.folder = folder
        # Not the parts that several share, which are written out in each.
        paths = [path for path in folder.rglob("*.avsc") if path.parent.name != "common"]
        schemas = [json.loads(path.read_text()) for path in paths]
        self.known = {crc(schema): fastavro.parse_schema(schema) for schema in schemas}

    def encode(self, topic: str, record: dict) -> bytes:
        schema = json.loads((self.folder / f"{topic}.avsc").read_text())
        return b"\xc3\x01" + crc(schema) + datum(fastavro.parse_schema(schema), record)

    def decode(self, value: bytes) -> dict:
        if value[:2] != b"\xc3\x01":
            raise ValueError("not Avro single-object encoding: is there a schema registry?")
        return fastavro.schemaless_reader(io.BytesIO(value[10:]), self.known[value[2:10]], None)


class Registry:
    """Schemas from a registry, by Confluent's API. Deckle registers each under `<topic>-value`."""

    def __init__(self, url: str):
        self.url = url.rstrip("/")

    @functools.cache
    def get(self, path: str) -> dict:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=10) as answer:
            found = json.load(answer)
        return found | {"schema": fastavro.parse_schema(json.loads(found["schema"]))}

    def encode(self, topic: str, record: dict) -> bytes:
        latest = self.get(f"/subjects/{topic}-value/versions/latest")
        return struct.pack(">bI", 0, latest["id"]) + datum(latest["schema"], record)

    def decode(self, value: bytes) -> dict:
        magic, schema_id = struct.unpack(">bI", value[:5])
        if magic != 0:
            raise ValueError("not framed for a schema registry: leave --registry out")
        return fastavro.schemaless_reader(io.BytesIO(value[5:]), self.get(f"/schemas/ids/{schema_id}")["schema"], None)


def datum(schema, record: dict) -> bytes:
    """Fields that the record leaves out take the schema's defaults."""
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, schema, record)
    return buffer.getvalue()
