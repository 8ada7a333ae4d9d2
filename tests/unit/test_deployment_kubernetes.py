"""Law: the manifests are what Kubernetes takes, field by field, for any name; they hold no secret and ask for no right."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.kserve_schema import INFERENCE_SERVICE, POD, SERVING_RUNTIME
from tests.unit.runtime_packages import make_package
from weighbridge import runtime
from weighbridge.deployment.footprint import Footprint, footprint
from weighbridge.deployment.kubernetes import files_of, write_kubernetes
from weighbridge.deployment.names import LABEL, check_image, check_label, label_of
from weighbridge.deployment.pods import Cluster
from weighbridge.errors import PackageError, UsageError
from weighbridge.runtime.signature import key_of_pem

VERSION = "1.37"
HOSTILE = (
    "My Model",
    "模型 一",
    'x"; rm -rf $HOME #',
    "a" * 300,
    "-",
    "1st",
    "tab\tnewline\n- kind: Secret",
    "{{x}}",
    "\u202e!!",
    "*a",
    "null",
)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package") / "tiny"
    make_package(folder, photos=False)
    return folder


@pytest.fixture(scope="module")
def files(package: Path) -> dict[str, str]:
    return files_of(cluster(package))


def cluster(package: Path, *, named: str = "tiny", **more: Any) -> Cluster:
    from dataclasses import replace

    info = replace(runtime.verify(package), name=named)
    return Cluster(package=info, name=label_of(named), image="registry.example/tiny:1", footprint=Footprint(memory_bytes=100 << 20), **more)


def manifests(files: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Give the core manifests."""
    yield from (yaml.safe_load(text) for name, text in files.items() if name.endswith(".yaml") and "/" not in name and "kustom" not in name)


def check_core(manifest: dict[str, Any]) -> None:
    import kubernetes_validate

    kubernetes_validate.validate(manifest, VERSION, strict=True)


def check_kserve(manifest: dict[str, Any], schema: dict[str, Any]) -> None:
    import jsonschema

    jsonschema.validate(manifest, schema)


def pod_of(spec: dict[str, Any], *, containers: list[Any], volumes: list[Any]) -> dict[str, Any]:
    """Return the Pod that KServe would make of a resource's parts."""
    parts = {name: spec[name] for name in POD if name in spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {**parts, "containers": containers, "volumes": volumes}}


def check_all(files: dict[str, str]) -> None:
    found = list(manifests(files))
    assert [one["kind"] for one in found] == ["Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy"]
    for manifest in found:
        check_core(manifest)
    made, answering = (yaml.safe_load(files[f"kserve/{name}.yaml"]) for name in ("serving-runtime", "inference-service"))
    check_kserve(made, SERVING_RUNTIME)
    check_kserve(answering, INFERENCE_SERVICE)
    check_core(pod_of(answering["spec"]["predictor"], containers=made["spec"]["containers"], volumes=made["spec"]["volumes"]))


@pytest.mark.parametrize("tls", [True, False])
def test_every_manifest_is_what_kubernetes_and_kserve_take(package: Path, tls: bool) -> None:
    check_all(files_of(cluster(package, tls=tls, workers=3, namespace="models")))


def test_pods_that_trust_a_key_have_it_from_a_config_map(package: Path) -> None:
    public = bytes(range(32))
    files = files_of(cluster(package, trust=frozenset({public})))
    ((name, text),) = yaml.safe_load(files["trust.yaml"])["data"].items()
    assert key_of_pem(text, name) == public
    assert files["trust.yaml"] == files["kserve/trust.yaml"]
    assert "trust.yaml" in yaml.safe_load(files["kustomization.yaml"])["resources"]
    check_core(yaml.safe_load(files["trust.yaml"]))
    made = yaml.safe_load(files["kserve/serving-runtime.yaml"])
    check_kserve(made, SERVING_RUNTIME)
    for pod in (yaml.safe_load(files["deployment.yaml"])["spec"]["template"]["spec"], made["spec"]):
        (answering,) = pod["containers"]
        assert answering["command"][answering["command"].index("--trust") + 1] == f"/trust/{name}"
        assert {"name": "trust", "mountPath": "/trust", "readOnly": True} in answering["volumeMounts"]
        (volume,) = [one for one in pod["volumes"] if one["name"] == "trust"]
        assert volume["configMap"]["name"] == yaml.safe_load(files["trust.yaml"])["metadata"]["name"]


def test_a_package_that_the_pods_would_not_trust_gets_no_manifests(package: Path, tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="not signed"):
        write_kubernetes(package, tmp_path / "out", trust=[bytes(range(32))])
    assert not (tmp_path / "out").exists()


def shape(value: Any) -> Any:
    """Return a manifest with each text as its type: what names may change, and nothing else."""
    if isinstance(value, dict):
        return {name: shape(part) for name, part in value.items()}
    return [shape(part) for part in value] if isinstance(value, list) else type(value)


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_breaks_a_manifest_or_adds_one(package: Path, files: dict[str, str], name: str) -> None:
    named = files_of(cluster(package, named=name))
    assert named.keys() == files.keys()
    for file in (file for file in files if file.endswith(".yaml")):
        found = list(yaml.safe_load_all(named[file]))
        assert shape(found) == shape([yaml.safe_load(files[file])])
    found = yaml.safe_load(named["deployment.yaml"])
    assert LABEL.fullmatch(found["metadata"]["name"])
    assert all(len(value) <= 63 for value in found["metadata"]["labels"].values())


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("spec", "template", "spec", "containers", 0, "readinessProb"), {}),
        (("spec", "template", "spec", "containers", 0, "resources"), "1Gi"),
        (("spec", "selector"), "tiny"),
    ],
)
def test_the_check_finds_a_planted_mistake(files: dict[str, str], place: tuple[Any, ...], value: Any) -> None:
    import kubernetes_validate

    manifest = yaml.safe_load(files["deployment.yaml"])
    inner = manifest
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    with pytest.raises(kubernetes_validate.ValidationError):
        check_core(manifest)


@pytest.mark.parametrize("place", [("spec", "predictor", "modelUri"), ("spec", "predictor", "model", "framework"), ("spec", "containers")])
def test_the_check_of_kserve_finds_a_field_that_it_does_not_have(files: dict[str, str], place: tuple[str, ...]) -> None:
    import jsonschema

    manifest = yaml.safe_load(files["kserve/inference-service.yaml"])
    inner = manifest
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = "x"
    with pytest.raises(jsonschema.ValidationError):
        check_kserve(manifest, INFERENCE_SERVICE)


def test_a_pod_has_no_right_that_it_does_not_need(files: dict[str, str]) -> None:
    spec = yaml.safe_load(files["deployment.yaml"])["spec"]["template"]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for one in [*spec["containers"], *spec["initContainers"]]:
        assert one["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}
        }  # fmt: skip
        assert one["resources"]["limits"]["memory"]
        assert not any(word.rsplit("/", 1)[-1] == "sh" for word in one["command"])
    network = yaml.safe_load(files["network.yaml"])["spec"]
    assert network["egress"] == []
    assert [part["ports"] for part in network["ingress"]] == [[{"protocol": "TCP", "port": 8000}]]


def test_an_end_has_the_time_that_a_drain_takes(files: dict[str, str]) -> None:
    from weighbridge.serving.limits import Limits

    spec = yaml.safe_load(files["deployment.yaml"])["spec"]["template"]["spec"]
    waits = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert spec["terminationGracePeriodSeconds"] > waits + Limits().drain_s


def test_secrets_are_named_and_never_written(files: dict[str, str]) -> None:
    assert not [name for name, text in files.items() if "kind: Secret" in text or "stringData" in text]
    spec = yaml.safe_load(files["deployment.yaml"])["spec"]["template"]["spec"]
    assert {volume["secret"]["secretName"] for volume in spec["volumes"] if "secret" in volume} == {"tiny-keys", "tiny-tls"}
    assert all("value" not in one for one in spec["containers"][0]["env"])


def test_the_queue_that_a_comment_names_is_one_that_the_server_tells(files: dict[str, str]) -> None:
    from weighbridge.serving import metrics

    assert '"weighbridge_queue"' in Path(metrics.__file__).read_text(encoding="utf-8")
    comment = files["autoscaler.yaml"].split("# With a custom-metrics adapter", 1)[1]
    added = yaml.safe_load("\n".join(line.removeprefix("#") for line in comment.splitlines()[1:]))
    manifest = yaml.safe_load(files["autoscaler.yaml"])
    manifest["spec"]["metrics"] += added
    check_core(manifest)


def test_what_a_pod_starts_is_what_weigh_serve_takes(files: dict[str, str]) -> None:
    import typer

    from weighbridge.cli.app import app

    command = yaml.safe_load(files["deployment.yaml"])["spec"]["template"]["spec"]["containers"][0]["command"]
    assert command[:2] == ["/opt/weighbridge/bin/weigh", "serve"]
    serve = typer.main.get_command(app).commands["serve"]  # type: ignore[attr-defined]
    known = {option for parameter in serve.params for option in parameter.opts}
    assert {word for word in command if word.startswith("--")} <= known


def test_the_same_package_gives_the_same_files_and_other_folders_are_left_alone(package: Path, tmp_path: Path) -> None:
    first, second = (write_kubernetes(package, tmp_path / name) for name in ("a", "b"))
    read = [{path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()} for folder in (first, second)]
    assert read[0] == read[1]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="other files"):
        write_kubernetes(package, tmp_path / "mine")
    assert (tmp_path / "mine" / "notes.txt").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    "more", [{"workers": 0}, {"least": 3, "most": 2}, {"name": "Up"}, {"namespace": "a.b"}, {"image": "x y"}, {"name": "a" * 60}]
)
def test_what_a_cluster_would_refuse_is_refused_before(package: Path, tmp_path: Path, more: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        write_kubernetes(package, tmp_path / "out", **more)
    assert not (tmp_path / "out").exists()


def test_memory_is_measured_and_asked_for_with_room(package: Path) -> None:
    found = footprint(package)
    assert 20 << 20 < found.memory_bytes < 500 << 20
    assert found.pod_bytes(2) > 2 * found.memory_bytes
    assert found.pod_bytes(1) % (64 << 20) == 0


@given(st.text(max_size=300))
def test_every_name_becomes_a_label_and_a_label_stays_itself(name: str) -> None:
    label = label_of(name)
    assert LABEL.fullmatch(label)
    assert len(label) <= 40
    assert label_of(label) == label
    assert check_label(label, "the name") == label
    check_image(f"{label}:1")


@pytest.mark.parametrize(
    "image", ["x", "x:1", "a/b_c:1", "localhost/a", "host:5000/a/b:1.2", "ghcr.io/A:1".lower(), f"x@sha256:{'0' * 64}"]
)
def test_what_is_an_image_is_taken(image: str) -> None:
    assert check_image(image) == image


def test_two_names_that_lose_letters_stay_two() -> None:
    assert label_of("模型一") != label_of("模型二")
    assert label_of("a" * 100) != label_of("a" * 101)
    assert label_of("two_features") == "two-features"


@pytest.mark.parametrize("image", ["", "a b", "A/b", "x:y:z", "http://x/y", "x@sha256:12", "$(id)", "x\n", "-x", "a/b/"])
def test_what_is_no_image_is_refused(image: str) -> None:
    with pytest.raises(UsageError, match="reference of an image"):
        check_image(image)


def test_keys_of_a_secret_open_a_pod_and_a_revoked_one_stops_without_a_new_pod(files: dict[str, str], tmp_path: Path) -> None:
    """What the init container runs, and a Secret that is changed under it, as the kubelet does."""
    import subprocess
    import sys

    from weighbridge.serving.keys import KeyFile, Keys

    secret, state = tmp_path / "keys", tmp_path / "state"
    state.mkdir()
    key, text = KeyFile(secret).add("caller", ["predict"])
    command = yaml.safe_load(files["deployment.yaml"])["spec"]["template"]["spec"]["initContainers"][0]["command"]
    program = command[2].replace("/state", str(state)).replace("/keys/", f"{secret}/")
    for _ in range(2):  # a container that is started again finds the link
        subprocess.run([sys.executable, "-c", program], check=True)
    assert KeyFile(state).first() is None, "no admin key of its own is made"
    now = [0.0]
    keys = Keys(state, monotonic=lambda: now[0])
    assert not isinstance(keys.check(text), str)
    KeyFile(secret).revoke(key.id)
    now[0] = 2.0
    assert "revoked" in str(keys.check(text))
