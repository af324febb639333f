"""One function over many items, in this process or on a Dask cluster: what outgrows one machine is written once.

Dask's only door. The function is pure and its items are small, a symbol and a period, say; what it writes lies in the lake, and
only a few facts come back. An item that fails is named and the others go on, here as there. The results are the same wherever
it runs, and come as they are ready: nobody may lean on their order.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from quantstream.core.errors import Misconfigured, Unavailable

if TYPE_CHECKING:
    from distributed import Client, Future

log = logging.getLogger(__name__)
LOCAL = "local"
WORKERS = 2  # processes of a local cluster
WAITING = (
    3  # items that each thread of the cluster has or will have next: enough that none is idle, few that none is memory
)
CONNECT = 30  # seconds until a scheduler that does not answer is given up
PATIENT = {"distributed.comm.timeouts.connect": "300s"}  # a local cluster starts on a machine that may be busy
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Done(Generic[Item, Result]):
    """An item with its result, or with the error that it ended in."""

    item: Item
    result: Result | None = None
    error: Exception | None = None


def spread(work: Callable[[Item], Result], items: Iterable[Item], dask: str = "") -> Iterator[Done[Item, Result]]:
    """Yield each item as it is done; `dask` is the setting: empty, `local`, or a scheduler's address.

    `items` may be endless and lazy: only as many are taken as there are hands, and a few more. On a cluster `work` and its items
    are pickled. Raises: Misconfigured or Unavailable for a cluster that is none.
    """
    if not dask:
        yield from (_tried(work, item) for item in items)
        return
    with _client(dask) as client:
        yield from _submitted(client, work, iter(items))


def each(work: Callable[[Item], Result], items: Iterable[Item], dask: str = "") -> Iterator[tuple[Item, Result]]:
    """Yield each item with its result, as `spread` does, where one that fails ends them all.

    Raises: the error of the first item that fails; what is under way is given up. Misconfigured, Unavailable as `spread`.
    """
    for done in spread(work, items, dask):
        if done.error is not None:
            raise done.error
        yield done.item, cast("Result", done.result)


def _cause(error: BaseException) -> str:
    """Return what is behind an error that only says that something failed."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"


def _tried(work: Callable[[Item], Result], item: Item) -> Done[Item, Result]:
    try:
        return Done(item, work(item))
    except Exception as error:  # noqa: BLE001  whose it is, and what becomes of the rest, is the caller's to say
        log.warning("an item failed", extra={"item": str(item), "reason": str(error)})
        return Done(item, error=error)


def _submitted(client: Client, work: Callable[[Item], Result], items: Iterator[Item]) -> Iterator[Done[Item, Result]]:
    from distributed import as_completed

    of: dict[Future, Item] = {}
    ready = as_completed()

    def submit() -> None:
        """Bring up what is under way to what the workers there now can take; a cluster may grow with its work."""
        most = max(sum(client.nthreads().values()), 1) * WAITING
        for item in islice(items, max(most - len(of), 0)):
            future = client.submit(work, item, pure=False)
            of[future] = item
            ready.add(future)

    submit()
    for future in ready:
        yield _tried(partial(_result_of, future), of.pop(future))
        future.release()
        submit()


def _result_of(future: Future, _: object) -> Any:
    return future.result()


@contextmanager
def _client(dask: str) -> Iterator[Client]:
    try:
        from dask import config
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise Misconfigured(f"QUANTSTREAM_DASK={dask} needs the packages dask and distributed: {error}") from error

    options: dict[str, Any] = {"dashboard_address": None, "silence_logs": logging.ERROR}
    if dask == LOCAL:
        try:
            with config.set(PATIENT):  # the workers read it, too
                cluster = LocalCluster(n_workers=WORKERS, threads_per_worker=1, **options)
        except (OSError, RuntimeError) as error:
            raise Unavailable(f"no Dask cluster could be started on this machine: {_cause(error)}") from error
        with cluster, Client(cluster) as client:
            yield client
        return
    try:
        client = Client(dask, timeout=CONNECT)
    except (OSError, ValueError) as error:
        raise Unavailable(f"the Dask scheduler at {dask} does not answer: {error}") from error
    with client:
        if not client.nthreads():
            log.warning("the Dask cluster has no worker yet; work waits for one", extra={"scheduler": dask})
        yield client
