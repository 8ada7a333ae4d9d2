"""The package for KServe: a ServingRuntime that speaks protocol v2, and an InferenceService on it.

The package is in the image, so nothing is fetched at start and no storage is named. TLS ends at KServe's gateway.
"""

from __future__ import annotations

from weighbridge.deployment.container import PORT
from weighbridge.deployment.pods import Cluster, Manifest, container, metadata, pod, volumes

CONTAINER = "kserve-container"  # the name by which KServe knows the one that answers
PREDICTOR = "-predictor"
# Pods of a Deployment with an autoscaler, not of Knative, which takes neither init containers nor hooks unless it is told to.
PLAIN_PODS = {"serving.kserve.io/deploymentMode": "RawDeployment", "serving.kserve.io/autoscalerClass": "hpa"}


def serving_runtime(cluster: Cluster) -> Manifest:
    """Return the ServingRuntime (serving.kserve.io/v1alpha1)."""
    answering = container(cluster, CONTAINER, tls=False)
    names = [f"{host[: len(cluster.name)]}{PREDICTOR}{host[len(cluster.name) :]}" for host in cluster.hosts]
    answering["command"] += [word for name in names for word in ("--host-name", name)]
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ServingRuntime",
        "metadata": metadata(cluster),
        "spec": {
            "annotations": {"prometheus.kserve.io/port": str(PORT), "prometheus.kserve.io/path": "/metrics"},
            "supportedModelFormats": [{"name": "weighbridge", "version": "1", "autoSelect": False}],
            "protocolVersions": ["v2"],
            "containers": [answering],
            "volumes": volumes(cluster, tls=False),
        },
    }


def inference_service(cluster: Cluster) -> Manifest:
    """Return the InferenceService (serving.kserve.io/v1beta1)."""
    about = metadata(cluster)
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {**about, "annotations": {**about["annotations"], **PLAIN_PODS}},
        "spec": {
            "predictor": {
                **pod(cluster),
                "minReplicas": cluster.least,
                "maxReplicas": cluster.most,
                "scaleMetric": "cpu",
                "scaleTarget": 70,
                "model": {"modelFormat": {"name": "weighbridge", "version": "1"}, "protocolVersion": "v2", "runtime": cluster.name},
            }
        },
    }
