"""Asking a server, with the standard library and NumPy alone.

from segbench.client import infer
answer = infer("http://127.0.0.1:8000", "vnet-battery", image, samples=16, seed=0)      # image (Z, Y, X)
answer.outputs["labels"], answer.outputs["entropy"]      # arrays (Z, Y, X)
"""

from segbench.client.inference import Answer, infer
from segbench.client.server import Server
from segbench.client.status import Model, Status, status

__all__ = ["Answer", "Model", "Server", "Status", "infer", "status"]
