#!/usr/bin/env python3
"""tests/with_postgres.py PROGRAM ARGUMENTS...: runs a program beside a PostgreSQL and a PgBouncer of its own.

It finds them in PARLEY_TEST_POSTGRES and PARLEY_TEST_PGBOUNCER. Its exit code is passed on.
"""

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "integration"))

from harness.postgres import PgBouncer, Postgres  # noqa: E402

postgres = Postgres()
try:
    bouncer = PgBouncer(postgres)
    try:
        places = {"PARLEY_TEST_POSTGRES": postgres.dsn, "PARLEY_TEST_PGBOUNCER": bouncer.dsn}
        code = subprocess.run(sys.argv[1:], env={**os.environ, **places}).returncode
    finally:
        bouncer.close()
finally:
    postgres.close()
sys.exit(code)
