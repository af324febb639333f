"""Tables on object storage that a writer keeps open between its commits and advances: to open one of many files anew costs more.

A commit there goes by Delta's protocol, and so by the version that its progress was compared at. So a table is one commit's alone
until that has been made; another one that comes meanwhile opens its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

log = logging.getLogger(__name__)


class OpenTables:
    """Tables by name; another process that is told of them has none."""

    def __init__(self) -> None:
        self._tables: dict[str, DeltaTable] = {}

    def __reduce__(self) -> tuple[type[OpenTables], tuple[()]]:
        return OpenTables, ()

    def take(self, name: str, open_anew: Callable[[str], DeltaTable]) -> DeltaTable:
        """Return a table at its newest version; one that is not here, or cannot go on from where it was, is opened anew."""
        table = self._tables.pop(name, None)
        try:
            if table is not None:
                table.update_incremental()
                return table
        except (DeltaError, OSError) as error:
            log.info("a table is opened anew", extra={"table": name, "reason": str(error)})
        return open_anew(name)

    def put_back(self, name: str, table: DeltaTable) -> None:
        """Keep a table that a commit has been made to."""
        self._tables[name] = table
