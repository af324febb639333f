"""A list of a thousand pods: five stages' over and over, the last one (with `sick`: all) in a crash loop."""

import json
import sys
from pathlib import Path

folder, sick = Path(sys.argv[1]), sys.argv[2:] == ["sick"]
well = [
    json.loads((folder / f"{stage}.json").read_text()) for stage in ("ingest", "aggregate", "detect", "sink", "score")
]
ill = json.loads((folder / "score-crashloop.json").read_text())
items = []
for number in range(1000):
    pod = ill if sick or number == 999 else well[number % len(well)]
    name = f"{pod['metadata']['generateName']}{number:05}"
    items.append(pod | {"metadata": pod["metadata"] | {"name": name}})
json.dump(
    {"apiVersion": "v1", "items": items, "kind": "List", "metadata": {"resourceVersion": ""}}, sys.stdout, indent=4
)
