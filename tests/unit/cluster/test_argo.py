from __future__ import annotations

import yaml

from provider.cluster.argo import controller_images
from provider.cluster.image_catalog import entrypoints


def test_the_controller_learns_what_every_image_runs_that_upstreams_examples_name() -> None:
    patch = controller_images(entrypoints())
    images = yaml.safe_load(patch["data"]["images"])
    assert images["docker/whalesay"] == {"cmd": ["/usr/bin/cowsay"]}
    assert images["argoproj/argosay:v2"] == {"entrypoint": ["/argosay"]}
    assert patch["metadata"] == {"name": "workflow-controller-configmap", "namespace": "argo"}
