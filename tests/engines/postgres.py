"""A PostgreSQL server for an engine that needs one."""

import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

from engine import Process, free_port

# Where Debian installs the programs of each version.
VERSIONS = pathlib.Path("/usr/lib/postgresql")

USER = "postgres"

# The server refuses to run as root.
AS_USER = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"] if os.geteuid() == 0 else []


class Postgres:
    """A server on the loopback interface, which trusts every client. Its data don't survive `stop`."""

    def __init__(self):
        versions = [path for path in VERSIONS.glob("*/bin") if (path / "initdb").is_file()]
        assert versions, f"no PostgreSQL in {VERSIONS}; on Debian, `apt-get install postgresql`"
        programs = max(versions, key=lambda path: int(path.parent.name))
        # Not below the directory of the tests, which only this user may enter.
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="sluice-postgres-"))
        if AS_USER:
            shutil.chown(self.directory, USER, USER)
        data, port = self.directory / "data", free_port()
        initdb = [programs / "initdb", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--username", USER]
        subprocess.run([*AS_USER, *initdb, "--pgdata", data], cwd=self.directory, check=True, capture_output=True)
        options = ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self.directory}", "-c", "fsync=off"]
        server = [programs / "postgres", "-D", data, "-p", port, *options]
        self.process = Process([*AS_USER, *server], self.directory / "log", cwd=self.directory)
        ready = [programs / "pg_isready", "--quiet", "--host", "127.0.0.1", "--port", str(port)]
        self.process.wait_for(lambda: subprocess.run(ready, check=False).returncode == 0)
        # Host, port and database, after the scheme.
        self.address = f"{USER}@127.0.0.1:{port}/postgres"

    def stop(self):
        # SIGTERM would wait for the clients.
        self.process.signal(signal.SIGINT)
        shutil.rmtree(self.directory)
