"""What lies in deploy/: true to the schemas and to each other; and its very commands, run here without a container."""

from __future__ import annotations

import copy
import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from s3 import free_port
from stores import contents, differences, same, write_study

from mgsflow.memory import parse_bytes
from mgsflow.pipeline import run

HERE = Path(__file__).parents[1]
DEPLOY = HERE.parent / "deploy"
IMAGE = DEPLOY / "Dockerfile"
#: Bytes of the nanny beside its worker.
NANNY = 256 * 2**20

pytestmark = pytest.mark.skipif(not DEPLOY.is_dir(), reason="deploy/ is not beside the tests")


def manifest(name: str) -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "kubernetes" / name).read_text())


def compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def pods(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the pods of a manifest, by their part."""
    spec = document["spec"]
    found = {"job": spec["job"]["spec"]} if "job" in spec else {}
    cluster = spec["cluster"]["spec"] if "cluster" in spec else spec
    return found | {part: cluster[part]["spec"] for part in ("worker", "scheduler")}


def quantity(text: str) -> int:
    """Return the bytes in a quantity of Kubernetes, or of compose."""
    number, unit = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", str(text)).groups()  # type: ignore[union-attr]
    binary = {"m": "mib", "g": "gib", "mi": "mib", "gi": "gib", "ti": "tib"}[unit.lower()]
    return parse_bytes(f"{number}{binary}")


def option(arguments: list[str], name: str) -> str:
    return re.search(rf"--{name}[= ](\S+)", " ".join(arguments))[1]  # type: ignore[index]


# ----------------------------------------------------------------------------------------------------------- image


def test_the_image_holds_what_the_project_asks_for() -> None:
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]
    pinned = {}
    for line in (DEPLOY / "requirements.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, version = line.split("==")
            pinned[name.lower().replace("_", "-")] = version
    for wanted in map(Requirement, project["dependencies"] + project["optional-dependencies"]["s3"]):
        assert wanted.specifier.contains(pinned[wanted.name.lower()]), wanted


def test_the_image_is_not_root_and_copies_what_is_there() -> None:
    text = IMAGE.read_text()
    assert re.search(r"^USER [1-9][0-9]+$", text, re.MULTILINE)
    seen = (HERE.parent / ".dockerignore").read_text().split()
    for line in re.findall(r"^COPY (.*)$", text, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (HERE.parent / source).exists(), source
            assert f"!{source}" in seen, source


# ------------------------------------------------------------------------------------------------------- kubernetes


def closed(schema: Any) -> Any:
    """Return a schema that refuses what Kubernetes would drop in silence: keys that it does not know."""
    if isinstance(schema, list):
        return [closed(s) for s in schema]
    if not isinstance(schema, dict):
        return schema
    found = {k: closed(v) for k, v in schema.items()}
    if isinstance(schema.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        found.setdefault("additionalProperties", False)
    if found.pop("x-kubernetes-int-or-string", False) is True:
        found.pop("type", None)
    return found


def problems(document: dict[str, Any]) -> list[str]:
    """Return what the operator's own schema says against a manifest."""
    jsonschema = pytest.importorskip("jsonschema")
    operator = importlib.util.find_spec("dask_kubernetes")
    if operator is None or operator.origin is None:
        pytest.skip("the schemas come with dask-kubernetes: pip install dask-kubernetes")
    folder = Path(operator.origin).parent / "operator/deployment/helm/dask-kubernetes-operator/crds"
    definition = yaml.safe_load((folder / f"{document['kind'].lower()}.yaml").read_text())
    version = next(v for v in definition["spec"]["versions"] if document["apiVersion"].endswith(f"/{v['name']}"))
    schema = closed(version["schema"]["openAPIV3Schema"])
    schema["properties"] |= {"apiVersion": {}, "kind": {}, "metadata": {}}
    return [e.message for e in jsonschema.Draft202012Validator(schema).iter_errors(document)]


@pytest.mark.parametrize("name", ["cluster.yaml", "job.yaml"])
def test_manifests_are_what_the_operator_takes(name: str) -> None:
    document = manifest(name)
    assert problems(document) == []
    for part in pods(document):  # and what is misspelt would be seen
        wrong = copy.deepcopy(document)
        container = pods(wrong)[part]["containers"][0]
        container["resource"] = container.pop("resources")
        assert any("'resource' was unexpected" in p for p in problems(wrong)), part


@pytest.mark.parametrize("name", ["cluster.yaml", "job.yaml"])
def test_pods_have_what_their_processes_need_and_no_more(name: str) -> None:
    document = manifest(name)
    for part, pod in pods(document).items():
        (container,) = pod["containers"]
        assert container["resources"]["requests"] == container["resources"]["limits"], part
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert str(pod["securityContext"]["runAsUser"]) in IMAGE.read_text()
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert not container["image"].endswith(":latest")
        assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
        assert all("KEY_ID" not in e["name"] and "SECRET" not in e["name"] for e in container["env"])
    worker = pods(document)["worker"]["containers"][0]
    limit = parse_bytes(option(worker["args"], "memory-limit"))
    assert quantity(worker["resources"]["limits"]["memory"]) - limit == NANNY
    own = document["metadata"]["name"]
    service = (document["spec"].get("cluster", document)["spec"])["scheduler"]["service"]
    assert service["selector"]["dask.org/cluster-name"] == own
    addresses = {e["value"] for e in worker["env"] if e["name"] == "DASK_SCHEDULER_ADDRESS"}
    assert addresses == {f"tls://{own}-scheduler:8786"}
    allowed = manifest("network.yaml")["spec"]["podSelector"]["matchExpressions"][0]["values"]
    assert own in allowed


# ---------------------------------------------------------------------------------------------------------- compose


def test_compose_publishes_nothing_and_holds_no_secret() -> None:
    document = compose()
    for name, service in document["services"].items():
        assert "ports" not in service, name
        assert service["image"] == "mgsflow" or re.search(r":v?[0-9]", service["image"]), name
        for key, value in service.get("environment", {}).items():
            if "KEY" in key:
                assert re.fullmatch(r"\$\{[A-Z_]+:\?.*\}", value), key
    worker = document["services"]["worker"]
    limit = parse_bytes(option(worker["command"], "memory-limit"))
    assert quantity(worker["mem_limit"]) - limit == NANNY


# --------------------------------------------------------------------------------------- the commands, run for real


@contextmanager
def started(command: list[str], environment: dict[str, str], folder: Path, log: Path) -> Iterator[None]:
    with log.open("w") as file:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=file, stderr=subprocess.STDOUT)
        try:
            yield
        finally:
            process.terminate()
            process.wait(timeout=60)


class Here:
    """Stands in for containers: their commands and environment, with their paths and addresses made ours."""

    def __init__(self, folder: Path, data: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.paths = {"/opt/mgsflow": DEPLOY, "/tls/own": folder / "tls", "/tls": folder / "tls", "/data": data}
        (folder / "scratch").mkdir(parents=True)
        image = dict(re.findall(r"(\w+)=(\S+)", IMAGE.read_text().split("ENV ")[1].split("USER")[0]))
        # kernels that are compiled already are used; nothing else of our own environment
        keep = {
            k: v for k, v in os.environ.items() if k in ("HOME", "LANG", "PATH", "NUMBA_CACHE_DIR", "COVERAGE_RCFILE")
        }
        keep["PATH"] = f"{Path(sys.executable).parent}:{keep['PATH']}"
        self.environment = {k: self.ours(v) for k, v in image.items() if k != "NUMBA_CACHE_DIR"} | keep
        self.environment |= {"DASK_TEMPORARY_DIRECTORY": str(folder / "scratch"), "MPLCONFIGDIR": str(folder)}

    def ours(self, text: str) -> str:
        text = re.sub(r"tls://[\w-]*scheduler:8786", f"tls://127.0.0.1:{self.port}", text)
        text = re.sub(r"--port[= ]8786", f"--port={self.port} --host=127.0.0.1", text)
        for theirs, path in self.paths.items():
            text = re.sub(rf"(?<![\w/.-]){theirs}(?![\w-])", str(path), text)
        return text

    def run(self, services: dict[str, tuple[list[str], dict[str, str]]], workers: int = 2) -> str:
        """Start scheduler and workers, run the study, and return what it says."""
        with ExitStack() as stack:
            for name in ("scheduler", *("worker",) * workers):
                command, environment = services[name]
                log = self.folder / f"{name}.log"
                stack.enter_context(started(command, self.environment | environment, self.folder, log))
            command, environment = services["study"]
            done = subprocess.run(
                command,
                env=self.environment | environment,
                cwd=self.folder,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
        said = done.stdout + done.stderr
        assert done.returncode == 0, said + "".join(p.read_text() for p in self.folder.glob("*.log"))
        return said


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cluster.yaml", "job.yaml"])
def test_the_commands_of_kubernetes_run_a_study(name: str, small_scans: Path, tmp_path: Path) -> None:
    path = write_study(tmp_path / "data", small_scans, "fixed", 32)
    here = Here(tmp_path / "pod", path.parent)
    subprocess.run(["bash", "-c", f". {DEPLOY}/tls.sh {tmp_path}/pod/tls"], check=True)
    services = {}
    for part, pod in pods(manifest(name)).items():
        container = pod["containers"][0]
        environment = {e["name"]: here.ours(e["value"]) for e in container["env"]} | {"DASK_WORKER_NAME": ""}
        command = container["args"]
        for key, value in environment.items():
            command = [a.replace(f"$({key})", value) for a in command]
        command = [word for a in command for word in here.ours(a).split() if word != "--name="]
        services["study" if part == "job" else part] = (command, environment)
    # to a cluster that stays, a client comes from elsewhere
    environment = services["worker"][1]
    client = ["mgsflow", "run", str(path), "--scheduler", environment["DASK_SCHEDULER_ADDRESS"]]
    services.setdefault("study", (client, environment))
    assert "Report:" in here.run(services)
    reference = write_study(tmp_path / "reference", small_scans, "fixed", 32)
    run(reference, threads=2)
    assert differences(path.with_suffix(".zarr"), reference.with_suffix(".zarr")) == []


@pytest.mark.slow
def test_the_commands_of_compose_run_a_study_into_a_bucket(
    small_scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from s3 import environment, make_bucket, server
    from stores import remote_contents

    path = write_study(tmp_path / "data", small_scans, "fixed", 32)
    path.write_text(path.read_text().replace("store: study.zarr", "store: s3://lab/study.zarr"))
    here = Here(tmp_path / "container", path.parent)
    found = compose()["services"]
    with server() as address:
        make_bucket(address, "lab")
        credentials = environment(address)
        assert set(found["worker"]["environment"]) == set(credentials)
        services = {
            n: ([here.ours(a) for a in found[n]["command"]], credentials) for n in ("scheduler", "worker", "study")
        }
        assert "Report:" in here.run(services)
        for name, value in credentials.items():
            monkeypatch.setenv(name, value)
        there = remote_contents("s3://lab/study.zarr")
    assert (path.parent / "report.html").is_file()
    reference = write_study(tmp_path / "reference", small_scans, "fixed", 32)
    run(reference, threads=2)
    expected = contents(reference.with_suffix(".zarr"))
    assert there.keys() == expected.keys()
    assert [k for k in expected if not same(there[k], expected[k])] == []
