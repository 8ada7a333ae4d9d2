"""What every pod with a package's image has, whoever makes the pod: names, the container, its probes, rights, memory and volumes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import weighbridge
from weighbridge.deployment.container import PORT, PYTHON, STATE, TLS, TRUST, USER, key_files, serve_command, tls_arguments

if TYPE_CHECKING:
    from weighbridge.deployment.footprint import Footprint
    from weighbridge.runtime import PackageInfo

DRAIN_S, SPREAD_S = 30, 5  # limits.drain_s; until every node has heard that a pod ends
GRACE_S = DRAIN_S + SPREAD_S + 10
KEYS = "/keys"
LINK = f"import os; os.path.lexists('{STATE}/keys.json') or os.symlink('{KEYS}/keys.json', '{STATE}/keys.json')"
Manifest = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Where and how large. `least`, `most`: pods; `workers`: processes of a pod, one core each; `tls`: the pod itself ends TLS.

    `trust`: public keys, of which one must have signed whatever a pod serves; none: any package is.
    """

    package: PackageInfo
    name: str
    image: str
    footprint: Footprint
    namespace: str = "default"
    workers: int = 1
    least: int = 2
    most: int = 8
    tls: bool = True
    trust: frozenset[bytes] = frozenset()

    @property
    def labels(self) -> dict[str, str]:
        return {"app.kubernetes.io/name": self.name, "app.kubernetes.io/managed-by": "weighbridge"}

    @property
    def selector(self) -> dict[str, str]:
        return {"app.kubernetes.io/name": self.name}

    @property
    def hosts(self) -> list[str]:
        """The names by which a cluster's clients call the Service."""
        named = f"{self.name}.{self.namespace}"
        return [self.name, named, f"{named}.svc", f"{named}.svc.cluster.local"]


def metadata(cluster: Cluster, name: str | None = None) -> Manifest:
    return {
        "name": name or cluster.name,
        "namespace": cluster.namespace,
        "labels": {**cluster.labels, "app.kubernetes.io/version": cluster.package.package_sha256[:12]},
        "annotations": {
            "weighbridge.io/model": "".join(mark if mark.isprintable() else " " for mark in cluster.package.name)[:200],
            "weighbridge.io/model-sha256": cluster.package.model_sha256,
            "weighbridge.io/package-sha256": cluster.package.package_sha256,
            "weighbridge.io/version": weighbridge.__version__,
        },
    }


def pod(cluster: Cluster) -> Manifest:
    """Return what holds for all containers of a pod."""
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_S,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "initContainers": [
            {  # a link, so that a key that is revoked in the Secret opens nothing within a minute, without a new pod
                "name": "keys",
                "image": cluster.image,
                "command": [PYTHON, "-c", LINK],
                "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}},
                "securityContext": confined(),
                "volumeMounts": [{"name": "state", "mountPath": STATE}],
            }
        ],
    }


def confined() -> Manifest:
    return {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


def container(cluster: Cluster, name: str, *, tls: bool) -> Manifest:
    memory = f"{cluster.footprint.pod_bytes(cluster.workers) >> 20}Mi"
    mounts = [("state", STATE, False), ("tmp", "/tmp", False), ("keys", KEYS, True), *([("tls", TLS, True)] if tls else [])]
    mounts += [("trust", TRUST, True)] if cluster.trust else []
    command = [
        *serve_command(cluster.name, cluster.trust),
        "--workers",
        str(cluster.workers),
        *(tls_arguments() if tls else ["--insecure-bind"]),
    ]
    return {
        "name": name,
        "image": cluster.image,
        "command": [*command, *(word for host in cluster.hosts for word in ("--host-name", host))],
        "env": [
            {"name": "WEIGHBRIDGE_KEY",
             "valueFrom": {"secretKeyRef": {"name": f"{cluster.name}-vault", "key": "key", "optional": True}}}
        ],
        "ports": [{"name": "https" if tls else "http", "containerPort": PORT}],
        "startupProbe": {**probe("live", tls), "periodSeconds": 2, "failureThreshold": 90},
        "livenessProbe": {**probe("live", tls), "periodSeconds": 10, "failureThreshold": 3},
        "readinessProbe": {**probe("ready", tls), "periodSeconds": 2, "failureThreshold": 3},
        "lifecycle": {"preStop": {"sleep": {"seconds": SPREAD_S}}},
        # No limit of processor time: it would stop a worker in the middle of an answer. Memory: measured, and half as much again.
        "resources": {"requests": {"cpu": str(cluster.workers), "memory": memory}, "limits": {"memory": memory}},
        "securityContext": confined(),
        "volumeMounts": [{"name": one, "mountPath": path, **({"readOnly": True} if fixed else {})} for one, path, fixed in mounts],
    }  # fmt: skip


def probe(what: str, tls: bool) -> Manifest:
    return {"httpGet": {"path": f"/v2/health/{what}", "port": PORT, "scheme": "HTTPS" if tls else "HTTP"}, "timeoutSeconds": 3}


def volumes(cluster: Cluster, *, tls: bool) -> list[Manifest]:
    secrets = ["keys", *(["tls"] if tls else [])]
    return [
        {"name": "state", "emptyDir": {"sizeLimit": "1Gi"}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}},
        *({"name": one, "secret": {"secretName": f"{cluster.name}-{one}", "defaultMode": 0o440}} for one in secrets),
        *([{"name": "trust", "configMap": {"name": f"{cluster.name}-trust"}}] if cluster.trust else []),
    ]


def trust_map(cluster: Cluster) -> Manifest:
    """Return the ConfigMap with the public keys, which are no secret: who changes it, or the command, says whose packages are served."""
    about = metadata(cluster, f"{cluster.name}-trust")
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": key_files(cluster.trust)}
