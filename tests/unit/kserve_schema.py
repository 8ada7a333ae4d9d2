"""The fields of KServe's custom resources that the manifests use, by hand from its definitions (kserve/kserve, config/crd/full).

Everything else is refused. What is a part of a pod is checked as a Pod by the schemas of Kubernetes.
"""

from __future__ import annotations

from typing import Any

TEXT, WHOLE, ANY = {"type": "string"}, {"type": "integer"}, {}
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
METADATA = {"type": "object", "required": ["name"], "additionalProperties": False,
            "properties": {"name": TEXT, "namespace": TEXT, "labels": TEXTS, "annotations": TEXTS}}  # fmt: skip
POD = ("automountServiceAccountToken", "enableServiceLinks", "terminationGracePeriodSeconds", "securityContext", "initContainers")


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "additionalProperties": False, "properties": properties}


def _resource(version: str, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    about = {"apiVersion": {"const": f"serving.kserve.io/{version}"}, "kind": {"const": kind}, "metadata": METADATA, "spec": spec}
    return _object(list(about), **about)


SERVING_RUNTIME = _resource(
    "v1alpha1",
    "ServingRuntime",
    _object(
        ["containers"],
        annotations=TEXTS,
        supportedModelFormats={"type": "array", "items": _object(["name"], name=TEXT, version=TEXT, autoSelect={"type": "boolean"})},
        protocolVersions={"type": "array", "items": TEXT},
        containers={"type": "array", "items": {"type": "object", "required": ["name"]}, "minItems": 1},
        volumes={"type": "array"},
    ),
)
INFERENCE_SERVICE = _resource(
    "v1beta1",
    "InferenceService",
    _object(
        ["predictor"],
        predictor=_object(
            [],
            minReplicas=WHOLE,
            maxReplicas=WHOLE,
            scaleMetric={"enum": ["cpu", "memory", "concurrency", "rps"]},
            scaleTarget=WHOLE,
            model=_object(["modelFormat"], modelFormat=_object(["name"], name=TEXT, version=TEXT), protocolVersion=TEXT, runtime=TEXT),
            **{name: ANY for name in POD},
        ),
    ),
)
