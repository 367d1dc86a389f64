"""A server on free ports, both wires, and certificates for it."""

import subprocess
from contextlib import contextmanager
from types import SimpleNamespace

from serving import FakeService

from segbench.serve import grpc
from segbench.serve.guard import Guard
from segbench.serve.listener import listen
from segbench.serve.settings import Settings


@contextmanager
def started(guard=None, service=None, **settings):
    """Yields (url, grpc, service): where HTTP and gRPC are answered, and what stands behind."""
    told = Settings(http_port=0, grpc_port=0, **settings)
    service = service or FakeService(settings=told)
    guard = guard or Guard()
    http = listen(service, told, guard)
    rpc = grpc.serve(service, told, guard)
    scheme = "https" if told.certificate else "http"
    try:
        yield SimpleNamespace(url=f"{scheme}://127.0.0.1:{http.port}", grpc=f"127.0.0.1:{rpc.port}", service=service)
    finally:
        service.close()
        rpc.stop(0)
        http.stop(1)


def certificates(folder):
    """Makes ca.pem, server.pem and client.pem with their keys, by openssl; the client is "scanner 3"."""
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")

    def run(*words):
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    run("req", "-x509", *key, "-days", "2", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=lab authority")
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    for name, subject in (("server", "/CN=localhost"), ("client", "/O=Lab/CN=scanner 3")):
        run("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject)
        run("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-out", f"{name}.pem", "-extfile", "names")  # fmt: skip
    return folder
