"""The Helm chart: rendered by Helm's own code, held to Kubernetes' schemas and to the image that it runs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from endcap.config import Config
from endcap.server.routes import ROUTES

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
ROOT = Path(__file__).parent.parent
CHART = ROOT / "deploy/helm/endcap"
EVERYTHING: dict[str, Any] = {
    "imagePullSecrets": [{"name": "registry"}],
    "config": "[server]\nmax_batch = 9\n",
    "envSecrets": ["webhooks"],
    "storage": {"size": "1Gi", "className": "fast"},
    "service": {"type": "NodePort", "port": 8080},
    "ingress": {"enabled": True, "className": "nginx", "tlsSecret": "tls", "annotations": {"a": "b"}},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "shop", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "podAnnotations": {"a": "b"},
}  # fmt: skip
KUBERNETES = ("1.25", "1.30", "1.37")


def rendered(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Manifests by kind, as ``helm template shop deploy/helm/endcap`` gives them."""
    helm = pytest.importorskip("helm_python", reason='pip install "helm-python-sdk"')
    files = helm.Chart.load(str(CHART)).render(values, name="shop", namespace="web")
    found = {}
    for name, text in files.items():
        if name.endswith(".yaml"):
            for manifest in yaml.safe_load_all(text):
                if manifest:
                    found[manifest["kind"]] = manifest
    return found


def test_helm_lints_the_chart() -> None:
    helm = pytest.importorskip("helm_python", reason='pip install "helm-python-sdk"')
    for values in ({}, EVERYTHING):
        report = helm.lint(str(CHART), values, strict=True)
        assert report["errors"] == []
        assert [message for message in report["messages"] if message["severity"] > 1] == []


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["as it is", "everything"])
@pytest.mark.parametrize("version", KUBERNETES)
def test_every_manifest_fits_kubernetes(values: dict[str, Any], version: str) -> None:
    checked = pytest.importorskip("kubernetes_validate", reason='pip install "kubernetes-validate"')
    manifests = rendered(values)
    expected = {"Deployment", "Service", "ConfigMap", "PersistentVolumeClaim"}
    assert set(manifests) == (expected | {"Ingress", "ServiceMonitor"} if values else expected)
    for kind, manifest in manifests.items():
        if kind != "ServiceMonitor":  # of the Prometheus operator, not of Kubernetes
            checked.validate(manifest, version, strict=True)


def test_one_replica_is_replaced_and_never_doubled() -> None:
    spec = rendered({})["Deployment"]["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate"}


def test_the_pod_fits_the_restricted_profile() -> None:
    spec = rendered(EVERYTHING)["Deployment"]["spec"]["template"]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    for container in spec["initContainers"] + spec["containers"]:
        fence = container["securityContext"]
        assert fence["allowPrivilegeEscalation"] is False
        assert fence["capabilities"] == {"drop": ["ALL"]}
        assert fence["readOnlyRootFilesystem"] is True
        assert container["resources"]["limits"]["memory"]
    kinds = {next(iter(set(volume) - {"name"})) for volume in spec["volumes"]}
    assert kinds <= {"configMap", "emptyDir", "persistentVolumeClaim", "secret"}


def test_the_chart_agrees_with_the_image_it_runs() -> None:
    dockerfile = (ROOT / "deploy/Dockerfile").read_text("utf-8")
    spec = rendered({})["Deployment"]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    (user, group) = re.findall(r"^USER (\d+):(\d+)$", dockerfile, re.MULTILINE)[0]
    fence = spec["securityContext"]
    assert (fence["runAsUser"], fence["runAsGroup"], fence["fsGroup"]) == (int(user), int(group), int(group))
    assert f"EXPOSE {container['ports'][0]['containerPort']}\n" in dockerfile
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert re.findall(r"^VOLUME (.*)$", dockerfile, re.MULTILINE)[0] in mounts
    assert container["args"][0] == "serve"
    assert container["args"][2] in mounts
    paths = {route.path for route in ROUTES}
    probes = {name: container[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert set(probes.values()) <= paths
    assert probes["readinessProbe"] == "/health/ready"
    assert probes["livenessProbe"] == "/health/live"
    assert spec["terminationGracePeriodSeconds"] > Config().server.drain_s
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    assert container["image"] == f"endcap:{chart['appVersion']}"
    assert f'version="{chart["appVersion"]}"' in dockerfile


def test_settings_secrets_and_keys_reach_the_pod() -> None:
    manifests = rendered(EVERYTHING)
    spec = manifests["Deployment"]["spec"]["template"]["spec"]
    assert manifests["ConfigMap"]["data"] == {"endcap.toml": EVERYTHING["config"]}
    assert spec["containers"][0]["envFrom"] == [{"secretRef": {"name": "webhooks"}}]
    (link,) = spec["initContainers"]
    (keys,) = [volume["secret"]["secretName"] for volume in spec["volumes"] if "secret" in volume]
    assert keys == "endcap-keys"
    (place,) = [mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"] if mount["name"] == "keys"]
    assert f"{place}/keys.json endcap-data/keys.json" in link["command"][-1]
    changed = rendered({**EVERYTHING, "config": ""})["Deployment"]["spec"]["template"]["metadata"]["annotations"]
    own = manifests["Deployment"]["spec"]["template"]["metadata"]["annotations"]
    assert changed["checksum/config"] != own["checksum/config"], "a change of settings restarts the pod"


def test_the_log_outlives_the_release_and_a_claim_of_ones_own_is_used() -> None:
    assert rendered({})["PersistentVolumeClaim"]["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    manifests = rendered({"storage": {"size": "1Gi", "existingClaim": "mine"}})
    assert "PersistentVolumeClaim" not in manifests
    volumes = manifests["Deployment"]["spec"]["template"]["spec"]["volumes"]
    assert {"claimName": "mine"} in [volume.get("persistentVolumeClaim") for volume in volumes]


@pytest.mark.parametrize(
    "wrong",
    [
        {"replicas": 2}, {"image": {"repository": "endcap", "tag": "latest"}}, {"storage": {"size": "20"}},
        {"keys": {"secret": ""}}, {"startMinutes": 0},
    ],
    ids=str,
)  # fmt: skip
def test_values_that_cannot_be_meant_are_refused(wrong: dict[str, Any]) -> None:
    helm = pytest.importorskip("helm_python", reason='pip install "helm-python-sdk"')
    chart = helm.Chart.load(str(CHART))
    chart.validate_schema(chart.merge_values(EVERYTHING))
    with pytest.raises(helm.HelmValuesError):
        chart.validate_schema(chart.merge_values(wrong))


def test_every_value_is_in_the_schema() -> None:
    """Needs neither Helm nor a cluster."""
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))

    def compare(values: dict[str, Any], properties: dict[str, Any], where: str) -> None:
        for name, value in values.items():
            assert name in properties, f"{where}{name}"
            if properties[name].get("additionalProperties") is False:
                compare(value, properties[name]["properties"], f"{where}{name}.")

    compare(yaml.safe_load((CHART / "values.yaml").read_text("utf-8")), schema["properties"], "")
