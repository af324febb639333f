"""The life of one stage's process: wait for the broker, work until told to stop, end when it hangs."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time

from quantstream.core.errors import Misconfigured, Unavailable
from quantstream.kafka import ensure_topics
from quantstream.messages.payloads import EventKind
from quantstream.messages.stages import INGEST
from quantstream.observability.health import STALLED_AFTER, Health, HealthServer, end_when_stalled
from quantstream.observability.metrics import Metrics
from quantstream.settings import Settings
from streaming.wiring import BUILDERS, Turning, ingest, operators_of, tell_of_balance

log = logging.getLogger("streaming")
BROKER_PATIENCE = 120.0  # seconds to wait for a broker that is still starting


def run(stage: str, settings: Settings) -> int:
    """Run one stage until SIGTERM; return the exit code.

    Raises: Misconfigured, Unavailable.
    """
    metrics, health, stop = Metrics(stage), Health(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        server = HealthServer(health, metrics, settings.http_port, settings.http_host)
    except OSError as error:
        raise Misconfigured(
            f"nothing can listen at {settings.http_host}:{settings.http_port} ({error.strerror or error}); "
            "set QUANTSTREAM_HTTP_PORT to a free port and QUANTSTREAM_HTTP_HOST to an address of this machine"
        ) from None
    with server:
        log.info("starting", extra={"http_port": server.port})
        odd = _wait_for_broker(settings, health, stop)
        if stop.is_set():
            return 0
        for text in odd:
            log.warning(text)
            if stage == INGEST.name:  # one of the stages tells it
                operators_of(settings, stage).tell(EventKind.TOPIC_DIFFERS, text)
        if stage == INGEST.name:
            import uvloop

            uvloop.run(ingest(settings, metrics, health, stop, abort))
        else:
            turning = BUILDERS[stage](settings, metrics, health, stop)
            tell_of_balance(settings, stage, turning.balance)
            _turn(turning, health, stop)
    log.info("stopped")
    return 0


def abort() -> None:
    """End at once, without clean-up that would hang as well; the successor repeats whatever was not committed."""
    log.error("stage hangs and is ended", extra={"patience_s": STALLED_AFTER})
    os._exit(1)


def _wait_for_broker(settings: Settings, health: Health, stop: threading.Event) -> list[str]:
    """Return how the broker's topics differ from their declarations, in sentences."""
    deadline = time.monotonic() + BROKER_PATIENCE
    while not stop.is_set():
        try:
            return ensure_topics(settings.kafka, timeout=5)
        except Unavailable as error:
            health.not_ready(str(error))
            health.beat()
            if time.monotonic() > deadline:
                raise
            log.warning("waiting for Kafka", extra={"reason": str(error)})
            stop.wait(1)
    return []


def _turn(stage: Turning, health: Health, stop: threading.Event) -> None:
    health.beat()
    end_when_stalled(health, abort)
    stage.start()
    try:
        while not stop.is_set():
            stage.turn()
    except BaseException:
        stage.reader.close()  # what was not committed, the successor does again
        raise
    stage.stop()
