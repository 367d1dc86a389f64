"""Segments an image with Triton's client over gRPC: pip install 'tritonclient[grpc]'.

python tritonclient_grpc.py 127.0.0.1:8001 vnet-battery image.npy answer.npz
"""

import os
import sys
import time

import numpy as np
import tritonclient.grpc as client

address, model, image, out = sys.argv[1:]
token = os.environ.get("SEGBENCH_TOKEN")
headers = {"authorization": f"Bearer {token}"} if token else {}

pixels = np.load(image)[np.newaxis, np.newaxis].astype(np.float32)  # (Z, Y, X) to [N, 1, Z, Y, X]
given = client.InferInput("image", list(pixels.shape), "FP32")
given.set_data_from_numpy(pixels)
wanted = [client.InferRequestedOutput(name) for name in ("labels", "probability", "entropy")]
asked = {"segbench_samples": 16, "segbench_seed": 0}  # the same seed gives the same bytes

with client.InferenceServerClient(address) as server:  # ssl=True, root_certificates="ca.pem" for TLS
    for _ in range(5):
        try:
            answer = server.infer(
                model, [given], outputs=wanted, headers=headers, parameters=asked, client_timeout=300.0
            )
            break
        except client.InferenceServerException as error:
            if error.status() != "StatusCode.UNAVAILABLE":  # a busy server; its metadata retry-after says how long
                raise
            time.sleep(2)
    else:
        sys.exit("the server is busy")

arrays = {output.name(): answer.as_numpy(output.name())[0, 0] for output in wanted}
np.savez(out, **arrays)
print(f"{out}: {arrays['labels'].mean():.4f} of the voxels are of class 1")
