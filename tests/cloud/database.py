"""The databases of a cloud, for what no API lets a test do."""

from __future__ import annotations

from typing import Any

import pymysql

from tests.cloud.record import Cloud


def run_sql(cloud: Cloud, database: str, statement: str, values: tuple[Any, ...]) -> None:
    """Change rows of a service's database."""
    socket = str(cloud.directory / "tmp/mariadb.sock")
    connection = pymysql.connect(unix_socket=socket, user="root", database=database, autocommit=True)
    with connection, connection.cursor() as cursor:
        cursor.execute(statement, values)
