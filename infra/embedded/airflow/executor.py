"""Airflow's LocalExecutor, warm: what tasks import is imported once, before the workers are forked from the scheduler.

Great Expectations and MLflow alone cost 9 s of a core on import; nine mapped tasks would pay that nine times over.
"""

from __future__ import annotations

import logging
from importlib import import_module
from multiprocessing import util

from airflow.executors.local_executor import LocalExecutor

log = logging.getLogger(__name__)
# Third-party only: our own code is read anew by each task, so that an edit counts at once. TensorFlow stays out: its threads
# do not survive a fork.
PRELOADED = (
    "airflow.sdk.execution_time.task_runner",
    "deltalake",
    "great_expectations",
    "mlflow",
    "pandas",
    "pyarrow.dataset",
    "sklearn.ensemble",
    "xgboost",
)


class WarmLocalExecutor(LocalExecutor):  # type: ignore[misc]
    """A LocalExecutor whose workers come to life with the heavy libraries loaded and shared."""

    def start(self) -> None:
        """Import, then fork the workers."""
        util.register_after_fork(self, WarmLocalExecutor.let_go)
        logging.getLogger("great_expectations").setLevel(logging.WARNING)  # hundreds of lines on import otherwise
        for name in PRELOADED:
            import_module(name)
        super().start()

    def let_go(self) -> None:
        """In a new worker: close the sending end of the task queue, which forking gave it too.

        Only so does a worker see the queue end, finish its task and go, when the scheduler was killed.
        """
        self.activity_queue._writer.close()
