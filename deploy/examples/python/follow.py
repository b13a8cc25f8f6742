#!/usr/bin/env python3
"""Follows what deckle publishes: a line for each document, chunk and vector.

    follow.py                                      until Ctrl-C
    follow.py --documents 3                        until three documents and all that belongs to them have come
    follow.py --registry http://localhost:8081     where topics have a schema registry

Chunks and vectors come only where deckle's configuration asks for them: [publish] chunks = true, vectors = true.
"""
import argparse, struct, sys
from collections import defaultdict

from confluent_kafka import Consumer, KafkaException

import wire

DOCUMENTS, CHUNKS, VECTORS = "documents.published", "documents.chunks", "documents.vectors"


class Documents:
    """The newest of every document. A document may be read again (a new run), and a run mended (a new version);
    records of an older one may still arrive, and count for nothing."""

    def __init__(self):
        # By tenant and document: the highest (run, version), and the records that belong to it.
        self.newest = {}
        self.records = defaultdict(dict)

    def add(self, kind: str, record: dict) -> bool:
        """Whether it is news. The same record twice (this program started again) is kept once."""
        envelope = record["envelope"]
        document = envelope["tenant"], envelope["document_id"]
        of = envelope["run"], envelope["version"]
        if of < self.newest.get(document, of):
            return False
        if of > self.newest.get(document, of):
            self.records[document].clear()
        self.newest[document] = of
        self.records[document][kind, record.get("model"), record.get("chunk_no")] = record
        return True

    def complete(self, kinds: list[str]) -> int:
        """Documents that have ended and whose chunks and vectors (of those followed) are all here."""
        def is_complete(records):
            end = records.get((DOCUMENTS, None, None))
            if end is None:
                return False
            results = end["chunk_count"] if end["status"] in ("published", "partial") else 0
            count = lambda kind: sum(1 for found, *_ in records if found == kind)
            return all(count(kind) >= results for kind in kinds if kind != DOCUMENTS)
        return sum(map(is_complete, self.records.values()))


def line(kind: str, record: dict) -> str:
    who = record["envelope"]["document_id"]
    if kind == CHUNKS:
        pages = sorted({place["page_no"] for place in record["prov"] if place["page_no"]})
        on = f" (page {pages[0]})" if pages else ""
        return f"chunk {who} {record['chunk_no'] + 1}/{record['chunk_count']}{on}: {record['text'][:60]!r}"
    if kind == VECTORS:
        vector = struct.unpack(f"<{record['dimension']}f", record["vector"])
        start = ", ".join(f"{value:.3f}" for value in vector[:3])
        return f"vector {who} {record['chunk_no'] + 1}/{record['chunk_count']} {record['model']}: [{start}, …]"
    reasons = "".join(f"; {reason['code']}: {reason['message']}" for reason in record["reasons"][:1])
    counts = f"{record['page_count']} pages, {record['chunk_count']} chunks"
    return f"{record['status']} {who} {record['source']['filename']}: {counts}{reasons}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brokers", default="localhost:9092")
    parser.add_argument("--registry", metavar="URL", help="address of a schema registry with Confluent's API")
    parser.add_argument("--prefix", default="", help="of deckle's topics")
    parser.add_argument("--group", default="follow.py", help="who reads: each group sees everything once")
    parser.add_argument("--only-documents", action="store_true", help="neither chunks nor vectors")
    parser.add_argument("--documents", type=int, help="end after so many documents")
    given = parser.parse_args()

    kinds = [DOCUMENTS] if given.only_documents else [DOCUMENTS, CHUNKS, VECTORS]
    schemas = wire.Registry(given.registry) if given.registry else wire.Files()
    documents = Documents()
    consumer = Consumer({
        "bootstrap.servers": given.brokers,
        "group.id": given.group,
        # All of a document's records become visible together, once deckle's transaction is committed.
        "isolation.level": "read_committed",
        "auto.offset.reset": "earliest",
        # What is known lives in this process alone, so that each start reads from the beginning. A program that keeps
        # it in a database would store the offsets there too.
        "enable.auto.commit": False,
    })
    consumer.subscribe([given.prefix + kind for kind in kinds])
    try:
        while given.documents is None or documents.complete(kinds) < given.documents:
            message = consumer.poll(1.0)
            if message is None:
                continue
            if message.error():
                raise KafkaException(message.error())
            kind = message.topic().removeprefix(given.prefix)
            record = schemas.decode(message.value())
            if documents.add(kind, record):
                print(line(kind, record), flush=True)
    except KeyboardInterrupt:
        pass
    finally:
        consumer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
