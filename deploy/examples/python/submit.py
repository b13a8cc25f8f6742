#!/usr/bin/env python3
"""Gives files to deckle: one record in documents.uploaded for each.

    submit.py letter.pdf notes.md                               small files travel inside the record
    submit.py scan.pdf --at s3://inbox/scan.pdf                 larger ones by reference, which must lie inside one of
                                                                the roots that deckle is configured to read
    submit.py letter.pdf --registry http://localhost:8081       where topics have a schema registry

What becomes of them is told in documents.published: see follow.py.
"""
import argparse, hashlib, mimetypes, pathlib, sys, uuid

from confluent_kafka import Producer

import wire

TOPIC = "documents.uploaded"
# The namespace of the ids that deckle derives from names.
NAMESPACE = uuid.UUID(bytes=b"deckle.documents")
# An event's own part may have 512 KiB; larger files go by reference.
INLINE_BYTES = 256 * 1024


def uploaded(path: pathlib.Path, at: str | None, tenant: str, lane: str) -> dict:
    """The record. What it leaves out takes the schema's defaults."""
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    inline = at is None and len(content) <= INLINE_BYTES
    return {
        "envelope": {
            "event_id": str(uuid.uuid4()),
            "tenant": tenant,
            # Any stable name of yours will do. This one is the same for the same bytes, as the command line makes it.
            "document_id": str(uuid.uuid5(NAMESPACE, f"{tenant}\n{sha256}")),
            # Names this submission. Sent twice (after a crash, say), it is worked on once.
            "upload_id": str(uuid.uuid4()),
            # Deckle takes the run from the time at which the broker appended the record.
            "run": 0,
            "version": 0,
            "lane": lane,
        },
        "source": {
            "uri": "inline:" if inline else at or path.resolve().as_uri(),
            "filename": path.name,
            "media_type": "",
            "declared_media_type": mimetypes.guess_type(path.name)[0],
            "size_bytes": len(content),
            "sha256": sha256,
        },
        "options": {},
        "content": content if inline else None,
    }


def headers(envelope: dict) -> dict:
    """CloudEvents names, and who it is about: all that deckle can go by if the bytes turn out to be unreadable."""
    return {
        "ce_specversion": "1.0",
        "ce_id": envelope["event_id"],
        "ce_type": TOPIC,
        "ce_source": "submit.py",
        "content-type": "application/avro",
        "tenant": envelope["tenant"],
        "document": envelope["document_id"],
        "upload": envelope["upload_id"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=pathlib.Path, metavar="FILE")
    parser.add_argument("--at", metavar="URL", help="where deckle finds the one FILE, whose bytes then stay out of the record")
    parser.add_argument("--brokers", default="localhost:9092")
    parser.add_argument("--registry", metavar="URL", help="address of a schema registry with Confluent's API")
    parser.add_argument("--prefix", default="", help="of deckle's topics")
    parser.add_argument("--tenant", default="default")
    parser.add_argument("--bulk", action="store_true", help="nobody waits for the results")
    parser.add_argument("--out", type=pathlib.Path, help="write the last record's bytes here and send nothing")
    given = parser.parse_args()
    if given.at and len(given.files) > 1:
        parser.error("--at is for one FILE")

    topic = given.prefix + TOPIC
    schemas = wire.Registry(given.registry) if given.registry else wire.Files()
    records = [uploaded(path, given.at, given.tenant, "bulk" if given.bulk else "interactive") for path in given.files]
    # The files know a topic by deckle's name for it, the registry by its own.
    values = [schemas.encode(topic if given.registry else TOPIC, record) for record in records]
    if given.out:
        given.out.write_bytes(values[-1])
        return 0

    producer = Producer({
        "bootstrap.servers": given.brokers,
        # A retry neither doubles nor reorders anything.
        "enable.idempotence": True,
        # As Java's clients and deckle choose it, so that records of one document share a partition.
        "partitioner": "murmur2_random",
    })
    failed = []

    def delivered(error, message):
        if error:
            failed.append(error)
            print(f"not delivered: {error}", file=sys.stderr)

    for record, value in zip(records, values):
        envelope = record["envelope"]
        key = f"{envelope['tenant']}/{envelope['document_id']}"
        producer.produce(topic, value, key, headers=headers(envelope), on_delivery=delivered)
        print(envelope["document_id"], record["source"]["filename"])
    left = producer.flush(60)
    if left:
        print(f"{left} not delivered within a minute", file=sys.stderr)
    return 1 if failed or left else 0


if __name__ == "__main__":
    sys.exit(main())
