"""Who may be listened to from where: loopback for all, wider only with tokens or certificates."""

import ipaddress
import socket
import ssl
from pathlib import Path

from segbench.errors import InputError
from segbench.serve.settings import Settings


def check(settings: Settings) -> None:
    """Whether a server may bind where it is told to, and its files are there and can be used.

    Raises:
        InputError: One line.
    """
    for name in ("certificate", "key", "client_ca", "token_file"):
        path = getattr(settings, name)
        if path is not None and not path.is_file():
            raise InputError(f"{name}: {path} is not there")
    if (settings.certificate is None) != (settings.key is None):
        raise InputError("certificate and key go together: give both, or neither")
    if settings.client_ca is not None and settings.certificate is None:
        raise InputError("client_ca needs certificate and key: clients show theirs over TLS alone")
    if settings.token_file is None and settings.client_ca is None and not is_loopback(settings.host):
        raise InputError(
            f"host {settings.host}: all who reach it could ask; give token_file, or client_ca for mutual TLS"
        )
    context(settings)


def context(settings: Settings) -> ssl.SSLContext | None:
    """How connections are encrypted; None for not at all.

    Raises:
        InputError: A file is no PEM, or the key is another certificate's or wants a passphrase.
    """
    if settings.certificate is None:
        return None
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        made.load_cert_chain(settings.certificate, settings.key, password=_no_passphrase)
    except (ssl.SSLError, OSError) as error:
        raise InputError(f"{settings.certificate} and {settings.key}: no certificate and its key ({error})") from error
    if settings.client_ca is not None:
        _load(made, settings.client_ca)
        made.verify_mode = ssl.CERT_REQUIRED
    return made


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address.

    Raises:
        InputError: It is none.
    """
    try:
        found = socket.getaddrinfo(host or None, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise InputError(f"host {host!r} is no address of this machine") from error
    return all(ipaddress.ip_address(str(each[4][0]).partition("%")[0]).is_loopback for each in found)


def _load(made: ssl.SSLContext, path: Path) -> None:
    try:
        made.load_verify_locations(path)
    except (ssl.SSLError, OSError) as error:
        raise InputError(f"{path}: no certificates of who signs clients' ({error})") from error


def _no_passphrase() -> str:
    raise InputError("key: it wants a passphrase, and nobody is there to type it; decrypt it with openssl pkey")
