"""Asks a node one question in CQL: enough of the protocol to see that a server is ready, without a driver."""
import socket, struct

REQUEST, RESPONSE = 0x04, 0x84  # version 4, and its direction
STARTUP, READY, QUERY, RESULT = 0x01, 0x02, 0x07, 0x08
WITHOUT_COLUMN_NAMES = 0x02
ROWS = 2
# Far longer than an idle node takes; a node that is still starting may say nothing at all.
SECONDS = 5


class Unanswered(Exception):
    """The node is not there, not ready, or refuses; the message is the node's own where it has one."""


def ask(address: tuple[str, int], query: str, nodes: int = 1) -> list[list[bytes | None]]:
    """The rows that this node answers after as many nodes (1, 2 or 3) have answered it."""
    text = query.encode()
    try:
        with socket.create_connection(address, timeout=SECONDS) as connection, connection.makefile("rwb") as stream:
            exchange(stream, STARTUP, struct.pack(">HH11sH5s", 1, 11, b"CQL_VERSION", 5, b"3.0.0"), READY)
            # The consistency levels ONE, TWO and THREE have their own numbers in the protocol.
            body = struct.pack(f">I{len(text)}sHB", len(text), text, nodes, WITHOUT_COLUMN_NAMES)
            return rows(exchange(stream, QUERY, body, RESULT))
    except OSError as error:
        raise Unanswered(str(error)) from error


def exchange(stream, opcode: int, body: bytes, wanted: int) -> bytes:
    """Sends one request and returns the body of its response."""
    stream.write(struct.pack(">BBHBI", REQUEST, 0, 0, opcode, len(body)) + body)
    stream.flush()
    header = stream.read(9)
    if len(header) < 9:
        raise Unanswered("it hung up")
    version, _flags, _stream, answered, length = struct.unpack(">BBHBI", header)
    body = stream.read(length)
    if len(body) < length:
        raise Unanswered("it hung up")
    if version != RESPONSE or answered != wanted:
        raise Unanswered(f"response {answered} of version {version:#x}: {body[6:].decode(errors='replace')}")
    return body


def rows(body: bytes) -> list[list[bytes | None]]:
    kind, _flags, columns, count = struct.unpack_from(">IIII", body)
    if kind != ROWS:
        raise Unanswered(f"a result of kind {kind} where rows were asked for")
    at = 16

    def value() -> bytes | None:
        nonlocal at
        (length,) = struct.unpack_from(">i", body, at)
        start, at = at + 4, at + 4 + max(length, 0)
        return body[start:at] if length >= 0 else None

    return [[value() for _ in range(columns)] for _ in range(count)]
