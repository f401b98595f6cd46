"""A real PostgreSQL, as Debian packages it."""

from __future__ import annotations

from airflow_model_ops.adapters.lineage.settings import LedgerKind
from tests.adapters.database_rig import PASSWORD, DatabaseServer, program

_PLACE = "/usr/lib/postgresql/*/bin"


class PostgresqlServer(DatabaseServer):
    """Asks for SCRAM passwords over TCP. Writes reach the kernel at each commit, so they outlive a killed server."""

    kind = LedgerKind.POSTGRESQL
    system_user = "postgres"
    administrator = "postgres"

    def sql(self, text: str, *, database: str | None = None) -> str:
        command = [program("psql", _PLACE), "-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1"]
        into = ["-h", self.home, "-p", str(self.port), "-U", self.administrator, "-d", database or "postgres"]
        return self.run([*command, *into], input=text)

    def trust(self, *lines: str) -> None:
        """Put lines before all others into pg_hba.conf, and let the server read it."""
        place = self.data / "pg_hba.conf"
        place.write_text("\n".join([*lines, *self._rules]) + "\n")
        self.sql("SELECT pg_reload_conf()")

    _rules = ("local all all trust", "host all all 127.0.0.1/32 scram-sha-256")

    def _create(self) -> None:
        options = ["-U", self.administrator, "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "-A", "trust"]
        self.run([program("initdb", _PLACE), "-D", self.data, *options])
        (self.data / "pg_hba.conf").write_text("\n".join(self._rules) + "\n")

    def _command(self) -> list[str]:
        options = ["-h", "127.0.0.1", "-p", str(self.port), "-k", str(self.home), "-F", "-c", "full_page_writes=off"]
        return [str(program("postgres", _PLACE)), "-D", str(self.data), *options]

    def start(self) -> None:
        super().start()
        quoted = PASSWORD.replace("'", "''")
        self.sql(f"ALTER ROLE {self.administrator} PASSWORD '{quoted}'")
