"""Fills the testbed's Rucio. Each step is safe to repeat.

usage: setup.py schema       database, role and Rucio's tables (PostgreSQL must run; needs RUCIO_CONFIG)
       setup.py accounts     accounts, scopes, RSEs (the REST server must run)
       setup.py endpoints    writes $TESTBED/endpoints.json, the file that tests read

The settings come from `up` through the environment.
"""

import json
import os
import sys
from pathlib import Path

PASSWORDS = {"ingest": "ingestpw", "plain": "plainpw", "root": "secret"}
RSES = {
    "STORAGE-1": {"ONSITE": "True", "site": "LAPALMA"},
    "STORAGE-2": {"OFFSITE": "True", "site": "PIC"},
    "STORAGE-3": {"OFFSITE": "True", "site": "CSCS"},
}
X509_SUBJECT = "CN=Ingest Daemon,O=Testbed"


def storages():
    """(number, RSE, port) of each storage."""
    return [(n, rse, int(port)) for n, (rse, port) in enumerate(zip(RSES, os.environ["storage_ports"].split()), 1)]


def schema():
    from rucio.common.config import config_get
    from rucio.db.sqla import util
    from rucio.db.sqla.session import get_engine
    from sqlalchemy import create_engine, inspect, text
    from sqlalchemy.engine import make_url

    url = make_url(config_get("database", "default", check_config_table=False))
    admin = create_engine(url.set(username="postgres", database="postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        if not connection.execute(text("select 1 from pg_database where datname = 'rucio'")).scalar():
            connection.execute(text("create role rucio login password 'rucio'"))
            connection.execute(text("create database rucio owner rucio encoding 'UTF8'"))
    if not inspect(get_engine()).has_table("accounts"):
        util.build_database()
    with get_engine().connect() as connection:
        empty = not connection.execute(text("select count(*) from accounts")).scalar()
    if empty:
        util.create_base_vo()
        util.create_root_account()


class Rest:
    """Rucio's REST interface as account root."""

    def __init__(self):
        import requests

        self.url = f"http://127.0.0.1:{os.environ['http_port']}"
        self.session = requests.Session()
        self.session.trust_env = False  # no proxy between us and the loopback
        login = {"X-Rucio-Account": "root", "X-Rucio-Username": "root", "X-Rucio-Password": PASSWORDS["root"]}
        answer = self.session.get(self.url + "/auth/userpass", headers=login)
        answer.raise_for_status()
        self.session.headers["X-Rucio-Auth-Token"] = answer.headers["X-Rucio-Auth-Token"]

    def ensure(self, path, body=None):
        """POST; 409 means that it is there already."""
        answer = self.session.post(self.url + path, json=body)
        if not answer.ok and answer.status_code != 409:
            sys.exit(f"setup: POST {path}: {answer.status_code} {answer.text}")

    def lines(self, path):
        answer = self.session.get(self.url + path)
        answer.raise_for_status()
        return [json.loads(line) for line in answer.text.splitlines() if line]


def accounts():
    rest = Rest()
    for account, kind in (("ingest", "SERVICE"), ("plain", "USER")):
        identities = [{"identity": account, "authtype": "USERPASS", "password": PASSWORDS[account]}]
        if account == "ingest":
            identities.append({"identity": X509_SUBJECT, "authtype": "X509"})
        rest.ensure(f"/accounts/{account}", {"type": kind, "email": f"{account}@localhost"})
        known = {each["identity"] for each in rest.lines(f"/accounts/{account}/identities")}
        for identity in identities:
            if identity["identity"] not in known:
                rest.ensure(f"/accounts/{account}/identities", {**identity, "email": f"{account}@localhost", "default": True})
    # registering replicas and ending rules takes an admin under Rucio's generic permissions
    rest.ensure("/accounts/ingest/attr/admin", {"value": "True"})
    for scope in os.environ["SCOPES"].split():
        rest.ensure(f"/accounts/ingest/scopes/{scope}")

    for _, rse, port in storages():
        rest.ensure(f"/rses/{rse}", {"deterministic": True, "volatile": False})
        # Priorities: 1 is used first, null means "cannot", and 0 would be *higher* than 1. gfal deletes what it is told
        # to; xrootd.Default and webdav.Default would leave files behind or fail on XRootD's answers.
        for scheme, priority, delete in (("root", 1, 1), ("davs", 2, None)):
            local = {"read": priority, "write": priority, "delete": delete}
            remote = {**local, "third_party_copy_read": priority, "third_party_copy_write": priority}
            rest.ensure(f"/rses/{rse}/protocols/{scheme}", {
                "hostname": "localhost", "port": port, "prefix": "/", "impl": "rucio.rse.protocols.gfal.Default",
                "domains": {"lan": local, "wan": remote}, "extended_attributes": None})
        attributes = {**RSES[rse], "lfn2pfn_algorithm": "ctao_bdms", "fts": f"http://127.0.0.1:{os.environ['fts_port']}"}
        for key, value in attributes.items():
            rest.ensure(f"/rses/{rse}/attr/{key}", {"value": value})
        rest.ensure(f"/accountlimits/local/ingest/{rse}", {"bytes": 10**18})  # without a limit, no rule
    for source in RSES:
        for destination in RSES:
            if source != destination:
                rest.ensure(f"/rses/{source}/distances/{destination}", {"distance": 1})  # without a distance, no transfer


def endpoints():
    testbed = Path(os.environ["TESTBED"])
    http = f"http://127.0.0.1:{os.environ['http_port']}"
    document = {
        "rucio_url": f"https://localhost:{os.environ['https_port']}",
        "rucio_http_url": http,
        "rucio_version": os.environ["RUCIO_VERSION"],
        "ca_file": str(testbed / "tls/ca.pem"),
        "client_certificate": str(testbed / "tls/client.pem"),
        "accounts": PASSWORDS,
        "scopes": os.environ["SCOPES"].split(),
        "rses": {
            rse: {
                "directory": str(testbed / f"storage-{n}"),
                "root_url": f"root://localhost:{port}/",
                "davs_url": f"davs://localhost:{port}/",
                "host": f"localhost:{port}",
                "service": f"xrd{n}",
                "site": RSES[rse]["site"],
                "onsite": RSES[rse].get("ONSITE") == "True",
            }
            for n, rse, port in storages()
        },
        "fts_url": f"http://127.0.0.1:{os.environ['fts_port']}",
        "database_url": f"postgresql://rucio:rucio@127.0.0.1:{os.environ['pg_port']}/rucio",
        "python": os.environ["mock_python"] or None,
        "ctl": str(testbed / "ctl"),
        "testbed": str(testbed),
    }
    path = testbed / "endpoints.json"
    new = path.with_suffix(".new")
    new.write_text(json.dumps(document, indent=2) + "\n")
    new.rename(path)


if __name__ == "__main__":
    steps = {"schema": schema, "accounts": accounts, "endpoints": endpoints}
    if len(sys.argv) != 2 or sys.argv[1] not in steps:
        sys.exit(__doc__)
    steps[sys.argv[1]]()
