"""`weigh deploy kubernetes PACKAGE -o FOLDER`: what a cluster needs to run the package's image, as manifests for `kubectl apply -k`.

Secrets are named and never written: keys' hashes in NAME-keys, the certificate in NAME-tls, the vault's key in NAME-vault. Pods run without
rights, with a read-only root, without a service account's token, and reach nothing; only the serving port is open, to its namespace.
"""

from __future__ import annotations

from pathlib import Path

from weighbridge.deployment.container import PORT, check_output, replace_folder
from weighbridge.deployment.footprint import footprint
from weighbridge.deployment.kserve import inference_service, serving_runtime
from weighbridge.deployment.names import check_image, check_label, label_of
from weighbridge.deployment.pods import Cluster, Manifest, container, metadata, pod, trust_map, volumes
from weighbridge.errors import UsageError
from weighbridge.runtime.signature import Trust, read_keys
from weighbridge.storage import fresh_folder, write_json, write_text

MARK = ".weighbridge-kubernetes.json"


def write_kubernetes(
    package: Path, output: Path, *, image: str | None = None, name: str | None = None, namespace: str = "default", workers: int = 1,
    least: int = 2, most: int = 8, tls: bool = True, trust: Trust | None = None,
) -> Path:  # fmt: skip
    """`output` holds the manifests for the package's image; manifests that were written before are replaced whole. Returns it.

    `trust`: public keys that go into a ConfigMap, of which one must have signed whatever the pods serve; None: any package.
    Raises PackageError, UsageError for names, numbers or a folder that will not do, StorageError.
    """
    from weighbridge import runtime

    keys = None if trust is None else read_keys(trust)
    info = runtime.verify(package, trust=keys)
    if not 1 <= workers <= 256 or not 1 <= least <= most <= 1000:
        raise UsageError(f"{workers} workers in {least} to {most} pods", do="give 1 to 256 workers, and 1 to 1000 pods, the fewest first")
    label = label_of(info.name) if name is None else check_label(name, "the name")
    if len(label) > 50:
        raise UsageError(f"the name {label!r} leaves no room for the names made of it", do="give at most 50 characters")
    cluster = Cluster(
        package=info, name=label, image=check_image(image or f"{label_of(info.name)}:{info.package_sha256[:12]}"),
        footprint=footprint(package), namespace=check_label(namespace, "the namespace"), workers=workers, least=least, most=most, tls=tls,
        trust=keys or frozenset(),
    )  # fmt: skip
    check_output(output, MARK)
    building = fresh_folder(output.parent / f".{output.name}.building")
    for file, text in files_of(cluster).items():
        write_text(building / file, text)
    write_json(building / MARK, {"format": 1, "package_sha256": info.package_sha256})
    replace_folder(building, output)
    return output


def files_of(cluster: Cluster) -> dict[str, str]:
    """Return the text of each file by its name."""
    made = {
        "deployment.yaml": deployment(cluster),
        "service.yaml": service(cluster),
        "autoscaler.yaml": autoscaler(cluster),
        "disruption.yaml": disruption(cluster),
        "network.yaml": network(cluster),
        **({"trust.yaml": trust_map(cluster)} if cluster.trust else {}),
    }
    kustomization = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "namespace": cluster.namespace,
                     "resources": sorted(made)}  # fmt: skip
    runtime, answering = serving_runtime(cluster), inference_service(cluster)
    return {
        **{file: text_of(manifest) for file, manifest in made.items()},
        "autoscaler.yaml": text_of(made["autoscaler.yaml"]) + QUEUE_METRIC,
        "kustomization.yaml": text_of(kustomization),
        "kserve/serving-runtime.yaml": text_of(runtime),
        "kserve/inference-service.yaml": text_of(answering),
        **({"kserve/trust.yaml": text_of(made["trust.yaml"])} if cluster.trust else {}),
        "README.md": readme(cluster),
    }


# A custom-metrics adapter (Prometheus Adapter, KEDA) can give what says more than the processor's load: requests that wait.
QUEUE_METRIC = """# With a custom-metrics adapter, add under metrics: requests that wait tell of overload before the processor does.
#  - type: Pods
#    pods:
#      metric:
#        name: weighbridge_queue
#      target:
#        type: AverageValue
#        averageValue: "4"
"""


def text_of(manifest: Manifest) -> str:
    """Return a manifest as YAML."""
    import yaml

    return yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True, width=1000)


def deployment(cluster: Cluster) -> Manifest:
    template = {
        "metadata": {"labels": metadata(cluster)["labels"], "annotations": metadata(cluster)["annotations"]},
        "spec": {
            **pod(cluster),
            "containers": [container(cluster, "model", tls=cluster.tls)],
            "volumes": volumes(cluster, tls=cluster.tls),
            "topologySpreadConstraints": [
                {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
                 "labelSelector": {"matchLabels": cluster.selector}}
            ],
        },
    }  # fmt: skip
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(cluster),
        "spec": {  # no replicas: the autoscaler has them, and another `apply` must not take them back
            "revisionHistoryLimit": 5,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "selector": {"matchLabels": cluster.selector},
            "template": template,
        },
    }


def service(cluster: Cluster) -> Manifest:
    port = {"name": "https" if cluster.tls else "http", "port": 443 if cluster.tls else 80, "targetPort": PORT, "protocol": "TCP"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(cluster),
        "spec": {"type": "ClusterIP", "selector": cluster.selector, "ports": [port]},
    }


def autoscaler(cluster: Cluster) -> Manifest:
    load = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata(cluster),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": cluster.name},
            "minReplicas": cluster.least,
            "maxReplicas": cluster.most,
            "metrics": [load],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 300}},
        },
    }


def disruption(cluster: Cluster) -> Manifest:
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": cluster.selector}}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata(cluster), "spec": spec}


def network(cluster: Cluster) -> Manifest:
    """Return the policy: in on the serving port from the namespace, out to nothing."""
    inward = {"from": [{"podSelector": {}}], "ports": [{"protocol": "TCP", "port": PORT}]}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(cluster),
        "spec": {"podSelector": {"matchLabels": cluster.selector}, "policyTypes": ["Ingress", "Egress"], "ingress": [inward], "egress": []},
    }


def readme(cluster: Cluster) -> str:
    """Return what must be there before, and how it is applied."""
    speed = cluster.footprint.rows_per_s
    measured = f"{cluster.footprint.memory_bytes / 1e6:.0f} MB in a worker" + (f", {speed:,.0f} rows/s" if speed else "")
    certificate = f"kubectl -n {cluster.namespace} create secret tls {cluster.name}-tls --cert=tls.crt --key=tls.key\n"
    return (
        f"Image `{cluster.image}` (`weigh deploy container`), measured where these files were written: {measured}.\n\n"
        "```sh\n"
        "weigh keys add NAME --role predict --state keys   # prints the key once; keys/keys.json holds its hash alone\n"
        f"kubectl -n {cluster.namespace} create secret generic {cluster.name}-keys --from-file=keys/keys.json\n"
        f"{certificate if cluster.tls else ''}"
        "kubectl apply -k .\n"
        "```\n\n"
        f"The vault's key, where inputs and labels are kept encrypted: secret `{cluster.name}-vault`, key `key`.\n"
        "Each pod keeps its audit trail and the usage of quotas in an emptyDir: put a claim in its place, or ship the anchors, where the\n"
        "trail must outlive a pod.\n"
        "KServe instead: `kubectl apply -f kserve/`; its gateway ends TLS, and its host name goes to `--host-name`.\n"
    )
