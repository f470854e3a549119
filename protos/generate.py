"""Turns the contracts in protos/ into typed Python in gen/, and says whether gen/ is fresh.

    python -m protos.generate            write gen/
    python -m protos.generate --check    compare gen/ with the contracts; exit 1 if it is stale
    python -m protos.generate --image F  write a descriptor set for `buf lint` and `buf breaking`

google/api, google/type and google/rpc come from the installed googleapis-common-protos, buf/validate
from the installed protovalidate, so nothing is fetched and nothing foreign is kept here.
"""

import argparse
import filecmp
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

from google.protobuf import descriptor_pb2
from google.rpc import status_pb2
from protovalidate import FieldPathPb

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
GENERATED = ROOT / "gen"
PACKAGE = "recurring"
# Its Python stubs come in no package, and ours import them.
RULES_PACKAGE = "buf"
RULES_PROTO = "buf/validate/validate.proto"


def main() -> int:
    """Run as a command; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="only compare gen/ with the contracts")
    what.add_argument("--image", type=Path, metavar="FILE", help="write a descriptor set")
    arguments = parser.parse_args()
    if arguments.image:
        write_image(arguments.image)
    elif arguments.check:
        return check()
    else:
        replace()
    return 0


def replace() -> None:
    """Rewrite gen/; a contract that does not compile leaves it as it was."""
    with tempfile.TemporaryDirectory(prefix="recurring-gen-") as folder:
        generate(Path(folder))
        for package in (PACKAGE, RULES_PACKAGE):
            shutil.rmtree(GENERATED / package, ignore_errors=True)
            shutil.copytree(Path(folder) / package, GENERATED / package)


def generate(target: Path) -> None:
    """Write the stubs of every contract into the empty folder `target`."""
    protoc(
        f"--plugin=protoc-gen-mypy={_script('protoc-gen-mypy')}",
        f"--plugin=protoc-gen-mypy_grpc={_script('protoc-gen-mypy_grpc')}",
        f"--python_out={target}",
        f"--grpc_python_out={target}",
        f"--mypy_out=quiet:{target}",
        f"--mypy_grpc_out=quiet,only_async:{target}",
        RULES_PROTO,
    )
    # protoc writes a file for gRPC even where a proto has no service; those say nothing.
    for stub in target.rglob("*_pb2_grpc.py*"):
        proto = PROTOS / _proto_of(stub.relative_to(target))
        if not proto.exists() or not _declares_service(proto):
            stub.unlink()
    for package in (PACKAGE, RULES_PACKAGE):
        (target / package / "py.typed").touch()


def check() -> int:
    """Compare gen/ with what the contracts give now; returns 0 if fresh, 1 if not."""
    with tempfile.TemporaryDirectory(prefix="recurring-gen-") as folder:
        fresh = Path(folder)
        generate(fresh)
        problems = sorted(_differences(fresh, GENERATED))
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        print("gen/ does not match protos/: run `make gen` and commit", file=sys.stderr)
    return 1 if problems else 0


def write_image(target: Path) -> None:
    """Write the contracts with all they import as one FileDescriptorSet, for buf."""
    target.parent.mkdir(parents=True, exist_ok=True)
    # Errors travel as these, though no contract names them.
    errors = ("google/rpc/status.proto", "google/rpc/error_details.proto")
    protoc("--include_imports", "--include_source_info", f"--descriptor_set_out={target}", *errors)


def protoc(*options: str) -> None:
    """Run the compiler over every contract; exits with its status if it complains."""
    contracts = sorted(
        str(path.relative_to(PROTOS)) for path in PROTOS.glob(f"{PACKAGE}/**/*.proto")
    )
    if not contracts:
        sys.exit(f"no .proto file below {PROTOS / PACKAGE}")
    googleapis = Path(status_pb2.__file__).parents[2]
    with tempfile.NamedTemporaryFile(suffix=".binpb") as rules:
        rules.write(_rules_descriptor())
        rules.flush()
        command = [
            sys.executable, "-m", "grpc_tools.protoc",
            f"-I{PROTOS}", f"-I{googleapis}", f"--descriptor_set_in={rules.name}",
        ]  # fmt: skip
        completed = subprocess.run([*command, *options, *contracts], check=False)
    if completed.returncode:
        sys.exit(completed.returncode)


def _rules_descriptor() -> bytes:
    """buf/validate/validate.proto as protovalidate was built with it."""
    file = descriptor_pb2.FileDescriptorProto.FromString(FieldPathPb.desc().file.proto.to_binary())
    return descriptor_pb2.FileDescriptorSet(file=[file]).SerializeToString()


def _differences(fresh: Path, committed: Path) -> Iterator[str]:
    names = {path.relative_to(root) for root in (fresh, committed) for path in _files(root)}
    for name in names:
        if not (committed / name).exists():
            yield f"missing: gen/{name}"
        elif not (fresh / name).exists():
            yield f"left over: gen/{name}"
        elif not filecmp.cmp(fresh / name, committed / name, shallow=False):
            yield f"stale: gen/{name}"


def _files(root: Path) -> Iterator[Path]:
    return (
        path
        for package in (PACKAGE, RULES_PACKAGE)
        for path in (root / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    )


def _proto_of(stub: Path) -> Path:
    return stub.with_name(stub.name.partition("_pb2_grpc.py")[0] + ".proto")


def _declares_service(proto: Path) -> bool:
    return any(line.startswith("service ") for line in proto.read_text().splitlines())


def _script(name: str) -> Path:
    """Where the running environment keeps the script, whether or not it is activated."""
    return Path(sysconfig.get_path("scripts")) / name


if __name__ == "__main__":
    sys.exit(main())
