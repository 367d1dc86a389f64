"""Asks a server with kserve's clients, in an environment of its own; prints what they got as JSON.

python ask.py URL GRPC MODEL
"""

import asyncio
import json
import sys

import httpx
import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, InferResponse, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

URL, GRPC, MODEL = sys.argv[1:]
IMAGE = np.arange(24, dtype=np.float32).reshape(1, 1, 2, 3, 4)


def request(binary: bool) -> InferRequest:
    """For labels and entropy, sent and answered in binary or not."""
    given = InferInput("image", list(IMAGE.shape), "FP32")
    given.set_data_from_numpy(IMAGE, binary_data=binary)
    wanted = [RequestedOutput(name, {"binary_data": binary}) for name in ("labels", "entropy")]
    told = {"segbench_samples": 2, "segbench_seed": 3}
    return InferRequest(MODEL, [given], request_id="mine", request_outputs=wanted, parameters=told)


def told(answer: InferResponse) -> dict:
    """What of an answer is compared."""
    outputs = {output.name: output.as_numpy().tolist() for output in answer.outputs}
    return {"id": answer.id, "model": answer.model_name, "outputs": outputs}


async def infer(client: InferenceRESTClient, binary: bool) -> dict:
    """Over HTTP; and whether tensors came raw."""
    headers: dict[str, str] = {}
    answer = await client.infer(URL, request(binary), model_name=MODEL, response_headers=headers)
    return told(answer) | {"raw": "inference-header-content-length" in headers, "parameters": answer.parameters}


async def rpc() -> dict:
    """Over gRPC."""
    client = InferenceGRPCClient(GRPC)
    try:
        found = {
            "live": await client.is_server_live(),
            "ready": await client.is_server_ready(),
            "model_ready": await client.is_model_ready(MODEL),
        }
        for binary in (False, True):
            found["raw" if binary else "typed"] = told(await client.infer(request(binary)))
        return found
    finally:
        await client.close()


async def main() -> dict:
    """All that the client has."""
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    refused = ""
    try:
        await client.infer(URL, {"inputs": []}, model_name=MODEL)
    except httpx.HTTPStatusError as error:
        refused = str(error)
    async with httpx.AsyncClient() as bare:  # the client has no call for it
        metadata = (await bare.get(f"{URL}/v2/models/{MODEL}")).json()
    return {
        "live": await client.is_server_live(URL),
        "ready": await client.is_server_ready(URL),
        "model_ready": await client.is_model_ready(URL, MODEL),
        "other_ready": await client.is_model_ready(URL, "none"),
        "metadata": metadata,
        "json": await infer(client, False),
        "binary": await infer(client, True),
        "refused": refused,
        "grpc": await rpc(),
    }


print(json.dumps(asyncio.run(main())))
