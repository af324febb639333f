"""Versions of the table `features` that registered models name, and how the files of all others are removed.

The lake's own compaction never touches this table: a model that was trained months ago can be trained again on the same rows, to
the last bit, as long as the registry knows it.
"""

from __future__ import annotations

from ml.data.feature_table.columns import TABLE
from ml.serving.registry import Registry
from quantstream.lake import partition_files
from quantstream.lake.store import Lake
from quantstream.settings import Settings

TAG = "features_version"


def pinned(settings: Settings) -> list[int]:
    """Return the versions that a registered model of this lake was trained on. Raises: Unavailable."""
    lake = Lake(settings.lake_url)
    table = f"{lake.url}/{TABLE}"
    named = [tags for tags in Registry(settings.mlflow_url).all_tags() if tags.get("features_table") == table]
    return sorted({int(tags[TAG]) for tags in named if tags.get(TAG, "").isdecimal()})


def prune(settings: Settings, hours: int, dry_run: bool = False) -> str:
    """Delete the files that neither a pinned version nor the newest needs and that left it `hours` ago; say what was done.

    Raises: Unavailable, and then nothing was deleted: without the registry nobody knows what is pinned.
    """
    versions = pinned(settings)
    gone = partition_files.vacuum(Lake(settings.lake_url), TABLE, versions, hours, dry_run)
    kept = ", ".join(map(str, versions)) or "none"
    return f"{len(gone)} files {'would be ' if dry_run else ''}deleted; versions that registered models name: {kept}"
