"""Rucio's WSGI application under gunicorn, with what Apache and mod_wsgi add in production.

Apache merges repeated slashes of a path, which matters for names that begin with one: ``/dids/acada/%2Fctao%2Fx``
decodes to ``/dids/acada//ctao/x``. It also hands the client certificate's subject over for ``/auth/x509``.
"""

import re

from rucio.web.rest.flaskapi.v1.main import application as rucio

SHORT_NAMES = {"organizationName": "O", "organizationalUnitName": "OU", "commonName": "CN", "countryName": "C"}


def subject(certificate):
    """``CN=…,O=…``: most specific part first, as Apache writes it."""
    parts = (part for relative_name in certificate["subject"] for part in relative_name)
    return ",".join(reversed([f"{SHORT_NAMES.get(key, key)}={value}" for key, value in parts]))


def application(environ, start_response):
    environ["PATH_INFO"] = re.sub("//+", "/", environ.get("PATH_INFO", "/"))
    connection = environ.get("gunicorn.socket")
    certificate = connection.getpeercert() if hasattr(connection, "getpeercert") else None
    if certificate:
        environ.update(SSL_CLIENT_VERIFY="SUCCESS", SSL_CLIENT_S_DN=subject(certificate))
    return rucio(environ, start_response)
