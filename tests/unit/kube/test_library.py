"""The library is there without its generated classes, and they are not in anybody's way."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
from provider.kube.library import Configuration, kube_config
assert callable(Configuration) and callable(kube_config.load_kube_config)
assert not [name for name in sys.modules if name.startswith("kubernetes_asyncio.client.models")]
from kubernetes_asyncio.client import ApiClient, V1Pod
try:
    V1Pod()
except TypeError as error:
    print(error)
from kubernetes_asyncio.client import models
print(models.V1Pod().kind)
"""


def test_generated_classes_are_not_loaded_say_so_and_can_be_had_by_their_own_names() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "kubernetes_asyncio's generated classes are not loaded here: see provider/kube/library.py",
        "None",
    ]
