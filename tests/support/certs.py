"""Certificates made by openssl for one test."""

import ssl
import subprocess
from pathlib import Path

from coordinator.listening import Tls


def make_cert(folder: Path, name: str = "hub") -> Tls:
    """Return a self-signed certificate for localhost and 127.0.0.1, with its key."""
    made = Tls(folder / f"{name}.pem", folder / f"{name}.key")
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    argv += ["-keyout", str(made.key), "-out", str(made.cert), "-days", "2", "-subj", f"/CN={name}"]
    argv += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(argv, check=True, capture_output=True, timeout=60)
    return made


def trusting(tls: Tls) -> ssl.SSLContext:
    """Return a client that trusts this certificate alone."""
    return ssl.create_default_context(cafile=str(tls.cert))
