"""A certificate authority for one test session, made with the openssl command: no key is kept in the repository."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

_CA_CONFIG = """
[ca]
default_ca = test
[test]
database = {dir}/index.txt
new_certs_dir = {dir}
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
copy_extensions = none
[any]
commonName = supplied
[ext_ca]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[ext_local]
basicConstraints = critical,CA:false
subjectAltName = DNS:localhost,IP:127.0.0.1
extendedKeyUsage = serverAuth
keyUsage = critical,digitalSignature
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[ext_other]
basicConstraints = critical,CA:false
subjectAltName = DNS:other.example
extendedKeyUsage = serverAuth
keyUsage = critical,digitalSignature
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[req]
distinguished_name = dn
prompt = no
[dn]
commonName = localhost
"""


@dataclass(frozen=True)
class Certificate:
    cert: Path
    key: Path

    def server_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)
        return context


class Authority:
    """`valid`, `renewed` (valid too, another serial), `expired`, `wrong_host` and `self_signed` server certificates."""

    def __init__(self, directory: Path) -> None:
        self._dir = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._config = directory / "openssl.cnf"
        self._config.write_text(_CA_CONFIG.format(dir=directory))
        (directory / "index.txt").write_text("")
        self.ca_file = directory / "ca.pem"
        self._ca_key = directory / "ca.key"
        self._openssl(
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=Parley test CA",
            "-keyout",
            self._ca_key,
            "-out",
            self.ca_file,
            "-config",
            self._config,
            "-extensions",
            "ext_ca",
        )
        self.valid = self._issue("valid", "ext_local")
        self.renewed = self._issue("renewed", "ext_local")
        self.expired = self._issue(
            "expired", "ext_local", "-startdate", "20200101000000Z", "-enddate", "20200201000000Z"
        )
        self.wrong_host = self._issue("wrong_host", "ext_other")
        self.self_signed = self._self_signed()

    def client_context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca_file))

    def _issue(self, name: str, extensions: str, *dates: str) -> Certificate:
        made = Certificate(self._dir / f"{name}.pem", self._dir / f"{name}.key")
        request = self._dir / f"{name}.csr"
        self._openssl(
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-subj",
            "/CN=localhost",
            "-keyout",
            made.key,
            "-out",
            request,
            "-config",
            self._config,
        )
        self._openssl(
            "ca",
            "-batch",
            "-notext",
            "-config",
            self._config,
            "-extensions",
            extensions,
            "-cert",
            self.ca_file,
            "-keyfile",
            self._ca_key,
            "-in",
            request,
            "-out",
            made.cert,
            *(dates or ("-days", "1")),
        )
        return made

    def _self_signed(self) -> Certificate:
        made = Certificate(self._dir / "self_signed.pem", self._dir / "self_signed.key")
        self._openssl(
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "1",
            "-subj",
            "/CN=localhost",
            "-keyout",
            made.key,
            "-out",
            made.cert,
            "-config",
            self._config,
            "-extensions",
            "ext_local",
        )
        return made

    def _openssl(self, *arguments: object) -> None:
        done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"openssl {' '.join(map(str, arguments))}\n{done.stderr}")
