"""A real MariaDB, as Debian packages it: the kind ``mysql``."""

from __future__ import annotations

from airflow_model_ops.adapters.lineage.settings import LedgerKind
from tests.adapters.database_rig import PASSWORD, DatabaseServer, program


class MariadbServer(DatabaseServer):
    """Writes reach the kernel at each commit, so they outlive a killed server."""

    kind = LedgerKind.MYSQL
    system_user = "mysql"
    administrator = "ledger_admin"

    def sql(self, text: str, *, database: str | None = None) -> str:
        command = [program("mariadb"), "--no-defaults", "--batch", "--skip-column-names", "-S", self.home / "socket"]
        return self.run([*command, "-u", "root", *([database] if database else [])], input=text)

    def _create(self) -> None:
        options = ["--no-defaults", f"--datadir={self.data}", "--auth-root-authentication-method=normal"]
        self.run([program("mariadb-install-db"), *options, "--skip-test-db", "--skip-name-resolve"])

    def _command(self) -> list[str]:
        options = {
            "datadir": self.data,
            "socket": self.home / "socket",
            "pid-file": self.home / "pid",
            "port": self.port,
            "bind-address": "127.0.0.1",
            "innodb-flush-log-at-trx-commit": 2,
            "innodb-buffer-pool-size": "64M",
        }
        return [
            str(program("mariadbd", "/usr/sbin")),
            "--no-defaults",
            "--skip-name-resolve",
            *(f"--{name}={value}" for name, value in options.items()),
        ]

    def start(self) -> None:
        super().start()
        quoted = PASSWORD.replace("\\", "\\\\").replace("'", "\\'")
        who = f"{self.administrator}@'127.0.0.1'"
        self.sql(f"CREATE OR REPLACE USER {who} IDENTIFIED BY '{quoted}'; GRANT ALL ON *.* TO {who}")
