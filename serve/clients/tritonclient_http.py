"""Segments an image with Triton's client over HTTP: pip install 'tritonclient[http]'.

python tritonclient_http.py http://127.0.0.1:8000 vnet-battery image.npy answer.npz
"""

import os
import sys

import numpy as np
import tritonclient.http as client

url, model, image, out = sys.argv[1:]
scheme, _, address = url.partition("://")
token = os.environ.get("SEGBENCH_TOKEN")
headers = {"Authorization": f"Bearer {token}"} if token else {}

pixels = np.load(image)[np.newaxis, np.newaxis].astype(np.float32)  # (Z, Y, X) to [N, 1, Z, Y, X]
given = client.InferInput("image", list(pixels.shape), "FP32")
given.set_data_from_numpy(pixels)
wanted = [client.InferRequestedOutput(name) for name in ("labels", "probability", "entropy")]

with client.InferenceServerClient(address, ssl=scheme == "https", network_timeout=300.0) as server:
    answer = server.infer(
        model,
        [given],
        outputs=wanted,
        headers=headers,
        parameters={"segbench_samples": 16, "segbench_seed": 0},  # the same seed gives the same bytes
        request_compression_algorithm=None,  # or "gzip": for slow networks only
    )

arrays = {output.name(): answer.as_numpy(output.name())[0, 0] for output in wanted}
np.savez(out, **arrays)
print(f"{out}: {arrays['labels'].mean():.4f} of the voxels are of class 1")
