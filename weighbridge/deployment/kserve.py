"""The package for KServe: a ServingRuntime that speaks protocol v2, and an InferenceService on it.

The package is in the image, so nothing is fetched at start and no storage is named. TLS ends at KServe's gateway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from weighbridge.deployment import kubernetes as manifests

if TYPE_CHECKING:
    from weighbridge.deployment.kubernetes import Cluster

CONTAINER = "kserve-container"  # the name by which KServe knows the one that answers
PREDICTOR = "-predictor"


def serving_runtime(cluster: Cluster) -> dict[str, Any]:
    """Return the ServingRuntime (serving.kserve.io/v1alpha1)."""
    container = manifests.container(cluster, CONTAINER, tls=False)
    names = [f"{host[: len(cluster.name)]}{PREDICTOR}{host[len(cluster.name) :]}" for host in cluster.hosts]
    container["command"] += [word for name in names for word in ("--host-name", name)]
    del container["lifecycle"]  # Knative drains by itself, and takes no hooks
    del container["startupProbe"]
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ServingRuntime",
        "metadata": manifests.metadata(cluster),
        "spec": {
            "annotations": {"prometheus.kserve.io/port": str(manifests.PORT), "prometheus.kserve.io/path": "/metrics"},
            "supportedModelFormats": [{"name": "weighbridge", "version": "1", "autoSelect": False}],
            "protocolVersions": ["v2"],
            "containers": [container],
            "volumes": manifests.volumes(cluster, tls=False),
        },
    }


def inference_service(cluster: Cluster) -> dict[str, Any]:
    """Return the InferenceService (serving.kserve.io/v1beta1)."""
    pod = manifests.pod(cluster)
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": manifests.metadata(cluster),
        "spec": {
            "predictor": {
                **pod,
                "minReplicas": cluster.least,
                "maxReplicas": cluster.most,
                "scaleMetric": "cpu",
                "scaleTarget": 70,
                "model": {"modelFormat": {"name": "weighbridge", "version": "1"}, "protocolVersion": "v2", "runtime": cluster.name},
            }
        },
    }
