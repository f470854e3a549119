"""Runs the development overlay from the image, container by container, and plays the demo against it.

A small stand-in for a cluster, by podman: the settings, mounts and rights of each pod are read from the
rendered manifests. What it leaves out: scheduling, autoscaling, network policies. Whatever any manifest
runs in one of the images has to have been run at the end, and so has each operator's command.
"""

import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from deploy.embedded.addresses import SERVICES
from deploy.embedded.certificates import Authority
from deploy.image import api_server
from deploy.image.build import REGISTRY, BuildError, Commit, build, python_image
from deploy.image.entry_points import EntryPoint, pod_spec, wanted, workloads
from deploy.manifests import Manifest, parse, render_overlay
from deploy.pods.keys import ACCOUNT

ENGINE = "podman"
NETWORK = "recurring-check"
READY_TIMEOUT_SECONDS = 120.0
# From the start of a container until the service in it says that it serves; the best of some starts,
# since the machine may have other things to do.
START_LIMIT_SECONDS = 3.0
STARTS = 3
POLL_SECONDS = 0.1
JOB_TIMEOUT_SECONDS = 900
COMMAND_TIMEOUT_SECONDS = 120
NAMESPACE = "recurring"
API_SERVER = "kubernetes"
PRODUCTION_IMAGE = f"{REGISTRY}/recurring:dev"
SANDBOX_IMAGE = f"{REGISTRY}/recurring-sandbox:dev"
# Operator's command -> arguments with which it changes nothing.
HARMLESS = {
    "migrate": (),
    "status": (),
    "replay": ("--since", "9999-12-31T00:00:00Z"),
    "dead-letters": (),
    "reencrypt": ("--count",),
    "unknown": (),
}
# How argparse lists a command.
_COMMAND = re.compile(r"^    ([a-z][a-z-]*)(?: |$)", re.MULTILINE)


class NotRunError(Exception):
    """The check cannot be made here; the message says why."""


class CheckFailed(Exception):
    """The image or the manifests do not do what they should."""


def main() -> int:
    """`python -m deploy.image.check`; says so, and does not fail, where it cannot be run."""
    try:
        _preconditions()
        commit = Commit.head()
        build(ENGINE, commit, (commit.version, "dev"))
        Check().run()
    except NotRunError as error:
        print(f"image-check: NOT RUN: {error}")
        return 1 if os.environ.get("IMAGE_CHECK_REQUIRED") else 0
    except (BuildError, CheckFailed) as error:
        print(f"image-check: FAILED: {error}")
        return 1
    print("image-check: ok")
    return 0


def _preconditions() -> None:
    if shutil.which(ENGINE) is None:
        raise NotRunError(f"{ENGINE} is not installed")
    base = python_image()
    if _engine("image", "exists", base).returncode and _engine("pull", "--quiet", base).returncode:
        raise NotRunError(f"the base image {base} is not here and cannot be pulled")
    tried = _engine("run", "--rm", "--read-only", base, "python", "--version")
    if tried.returncode:
        raise NotRunError(f"{ENGINE} cannot run a container here: {tried.stderr.strip()}")


class Check:
    """One run of the stack, on a network and in a folder of its own."""

    def __init__(self) -> None:
        self._manifests = parse(render_overlay("dev"))
        self._workloads = workloads(self._manifests)
        self._played: set[EntryPoint] = set()

    def run(self) -> None:
        """Start everything, play the demo, and take it down. Raises CheckFailed."""
        with tempfile.TemporaryDirectory() as folder, _network():
            self._folder = Path(folder)
            self._folder.chmod(0o755)
            self._secrets = self._folder / "secrets"
            try:
                self._start_api_server()
                self._play()
            finally:
                _engine("rm", "--force", "--time", "5", *self._containers())

    def _play(self) -> None:
        for workload in self._workloads:
            name = workload["metadata"]["name"]
            if "Job" not in workload["kind"]:
                self._start(workload, name)
            else:
                if name != "keys":
                    self._check_services()
                self._finish(workload, name)
        stats = _engine("stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}")
        print(f"memory after the demo, and its limit:\n{stats.stdout.strip()}", flush=True)
        forgotten = wanted() - self._played
        if forgotten:
            raise CheckFailed(f"never run: {'; '.join(sorted(map(str, forgotten)))}")

    def _check_services(self) -> None:
        """Have each service start in time, and do each operator's command, by production's image."""
        for service in SERVICES:
            _check_start(service)
            usage = self._operate(service, "--help")
            commands = _COMMAND.findall(usage)
            if not {"migrate", "status"} <= set(commands):
                raise CheckFailed(f"{service} does not list its commands:\n{usage}")
            for command in commands:
                if command not in HARMLESS:
                    raise CheckFailed(f"{service} {command}: say in HARMLESS how to try it")
                self._operate(service, command, *HARMLESS[command])
            print(f"{service} does {', '.join(commands)}", flush=True)

    def _operate(self, service: str, *arguments: str) -> str:
        spec = pod_spec(self._workload(service))
        # The migration's settings and the service's own, as an operator's pod has them.
        both = [*spec.get("initContainers", ()), *spec["containers"]]
        container = both[0] if arguments[0] == "migrate" else both[-1]
        container = {
            **container,
            "image": PRODUCTION_IMAGE,
            "args": ["-m", f"services.{service}", *arguments],
        }
        command = self._command(spec, container, f"{service}-operator", "--rm")
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=COMMAND_TIMEOUT_SECONDS
        )
        if done.returncode:
            output = f"{done.stdout}{done.stderr}"
            raise CheckFailed(f"{service} {' '.join(arguments)}: {done.returncode}\n{output}")
        return done.stdout

    def _finish(self, workload: Manifest, name: str) -> None:
        """Run a Job to its end."""
        print(f"running {name}", flush=True)
        spec = pod_spec(workload)
        for container in (*spec.get("initContainers", ()), *spec["containers"]):
            account = self._account() if spec.get("automountServiceAccountToken") else ()
            command = self._command(
                spec, container, f"{name}-{container['name']}", "--rm", "--tty", *account
            )
            played = subprocess.run(command, check=False, timeout=JOB_TIMEOUT_SECONDS)
            if played.returncode:
                raise CheckFailed(f"{name}: {container['name']} ended with {played.returncode}")

    def _start(self, workload: Manifest, name: str) -> None:
        spec = pod_spec(workload)
        for container in spec.get("initContainers", ()):
            done = _run(self._command(spec, container, f"{name}-{container['name']}", "--rm"))
            if done.returncode:
                raise CheckFailed(f"{name}: {container['name']}: {done.stdout}{done.stderr}")
        (container,) = spec["containers"]
        started = _run(self._command(spec, container, name, "--detach"))
        if started.returncode:
            raise CheckFailed(f"{name}: {started.stderr}")
        print(f"started {name}", flush=True)

    def _start_api_server(self) -> None:
        """Start what the keys Job asks for Secrets, and make its account there."""
        folder = self._folder / "api"
        certificate = Authority(self._folder / "authority").ensure(folder, "api", (API_SERVER,))
        _write(folder, {"token": secrets.token_urlsafe(), "namespace": NAMESPACE})
        _write(
            self._folder / "account",
            {file: folder.joinpath(file).read_text() for file in ("ca.crt", "token", "namespace")},
        )
        for file in certificate.iterdir():
            file.chmod(0o644)
        self._secrets.mkdir()
        # The container has an account of its own.
        self._secrets.chmod(0o777)
        started = _engine(
            "run", "--detach", "--name", f"check-{API_SERVER}", "--network", NETWORK,
            "--network-alias", API_SERVER, "--volume", f"{folder}:{api_server.CONFIGURATION}:ro",
            "--volume", f"{self._secrets}:{api_server.SECRETS}:rw", SANDBOX_IMAGE,
            "-m", "deploy.image.api_server",
        )  # fmt: skip
        if started.returncode:
            raise CheckFailed(f"{API_SERVER}: {started.stderr}")
        ready = f"import socket; socket.create_connection(('localhost', {api_server.PORT}))"
        deadline = time.monotonic() + READY_TIMEOUT_SECONDS
        while _engine("exec", f"check-{API_SERVER}", "python", "-c", ready).returncode:
            if time.monotonic() > deadline:
                raise CheckFailed(f"{API_SERVER}: {_engine('logs', f'check-{API_SERVER}').stderr}")
            time.sleep(POLL_SECONDS)

    def _account(self) -> Sequence[str]:
        """The options of a container whose pod has its account mounted."""
        return (
            "--volume", f"{self._folder / 'account'}:{ACCOUNT}:ro",
            "--env", f"KUBERNETES_SERVICE_HOST={API_SERVER}",
            "--env", f"KUBERNETES_SERVICE_PORT={api_server.PORT}",
        )  # fmt: skip

    def _command(
        self, spec: Manifest, container: Manifest, name: str, *options: str
    ) -> Sequence[str]:
        """A container as its pod would have it."""
        self._played.add(EntryPoint.of(container))
        pod, own = spec["securityContext"], container["securityContext"]
        if not own["readOnlyRootFilesystem"] or own["capabilities"]["drop"] != ["ALL"]:
            raise CheckFailed(f"{name} may do more than it should")
        command = [
            ENGINE, "run", *options, "--name", f"check-{name}",
            "--network", NETWORK, "--network-alias", name,
            "--user", f"{pod['runAsUser']}:{pod['runAsGroup']}",
            "--read-only", "--read-only-tmpfs=false",
            "--cap-drop=ALL", "--security-opt=no-new-privileges",
            "--memory", container["resources"]["limits"]["memory"].replace("Mi", "m"),
            "--log-driver=k8s-file",
        ]  # fmt: skip
        for variable, value in self._environment(container).items():
            command += ["--env", f"{variable}={value}"]
        for mount in container.get("volumeMounts", ()):
            command += self._mount(spec, mount)
        if "command" in container:
            first, *rest = container["command"]
            command += ["--entrypoint", first, container["image"], *rest]
        else:
            command += [container["image"]]
        return [*command, *container.get("args", ())]

    def _environment(self, container: Manifest) -> dict[str, str]:
        settings: dict[str, str] = {}
        for source in container.get("envFrom", ()):
            settings |= self._find("ConfigMap", source["configMapRef"]["name"])["data"]
        for variable in container.get("env", ()):
            settings[variable["name"]] = variable.get("value") or self._referred(
                variable["valueFrom"]
            )
        return settings

    def _referred(self, source: Manifest) -> str:
        reference = source["configMapKeyRef"]
        return str(self._find("ConfigMap", reference["name"])["data"][reference["key"]])

    def _mount(self, spec: Manifest, mount: Manifest) -> list[str]:
        volume = next(volume for volume in spec["volumes"] if volume["name"] == mount["name"])
        where = mount["mountPath"]
        if "emptyDir" in volume:
            size = volume["emptyDir"]["sizeLimit"].removesuffix("i").lower()
            return ["--tmpfs", f"{where}:rw,mode=1777,size={size}"]
        if "configMap" in volume:
            held = self._find("ConfigMap", volume["configMap"]["name"])
            source = self._secrets / volume["configMap"]["name"]
            _write(source, held["data"])
        elif "secret" in volume:
            source = self._secrets / volume["secret"]["secretName"]
        else:
            ((projected),) = volume["projected"]["sources"]
            source = self._secrets / projected["secret"]["name"]
        if not source.is_dir():
            raise CheckFailed(f"nobody makes {source.name}")
        return ["--volume", f"{source / mount.get('subPath', '')}:{where}:ro"]

    def _workload(self, name: str) -> Manifest:
        return next(
            workload for workload in self._workloads if workload["metadata"]["name"] == name
        )

    def _find(self, kind: str, name: str) -> Manifest:
        return next(iter(self._all(kind, name)))

    def _all(self, kind: str, name: str) -> list[Manifest]:
        return [
            manifest
            for manifest in self._manifests
            if manifest["kind"] == kind and manifest["metadata"]["name"] == name
        ]

    def _containers(self) -> list[str]:
        names = (workload["metadata"]["name"] for workload in self._workloads)
        return [f"check-{name}" for name in (*names, API_SERVER)]


def _check_start(service: str) -> None:
    """Wait until a service serves, then restart it; the fastest of its starts must be in time."""
    name = f"check-{service}"
    _until_serving(name, since=0)
    best = min(_restart_seconds(name) for _ in range(STARTS))
    print(f"{service} serves {best:.1f} s after its start", flush=True)
    if best > START_LIMIT_SECONDS:
        raise CheckFailed(f"{service} takes {best:.1f} s to serve: over {START_LIMIT_SECONDS:g} s")


def _restart_seconds(name: str) -> float:
    _engine("stop", "--time", "30", name)
    since = time.time()
    _engine("start", name)
    _until_serving(name, since)
    return time.time() - since


def _until_serving(name: str, since: float) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        logs = _engine("logs", "--since", datetime.fromtimestamp(since, UTC).isoformat(), name)
        if '"message": "serving"' in logs.stdout:
            return
        time.sleep(POLL_SECONDS)
    logs = _engine("logs", "--tail", "20", name)
    raise CheckFailed(f"{name} does not serve:\n{logs.stdout}{logs.stderr}")


@contextmanager
def _network() -> Iterator[None]:
    # What a run that was interrupted has left behind goes first, the containers on it included.
    _engine("network", "rm", "--force", NETWORK)
    made = _engine("network", "create", NETWORK)
    if made.returncode:
        raise NotRunError(f"{ENGINE} cannot make a network: {made.stderr.strip()}")
    try:
        yield
    finally:
        _engine("network", "rm", "--force", NETWORK)


def _write(folder: Path, files: Mapping[str, str]) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        folder.joinpath(name).write_text(text)


def _engine(*arguments: str) -> subprocess.CompletedProcess[str]:
    return _run([ENGINE, *arguments])


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


if __name__ == "__main__":
    sys.exit(main())
