"""Segments a RAW file with nothing but Python's standard library.

python plain_python.py http://127.0.0.1:8000 vnet-battery image.raw 64,64,64 UINT8 labels.raw

The image is row-major, of the shape Z,Y,X and one of the protocol's datatypes: UINT8, UINT16, FP32. So are the labels,
one byte a voxel.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

url, model, image, shape, datatype, out = sys.argv[1:]
pixels = Path(image).read_bytes()

# The body is JSON and then the tensor as it is; a header says where the one ends.
head = json.dumps(
    {
        "inputs": [
            {
                "name": "image",
                "shape": [1, 1, *map(int, shape.split(","))],
                "datatype": datatype,
                "parameters": {"binary_data_size": len(pixels)},
            }
        ],
        "outputs": [{"name": "labels", "parameters": {"binary_data": True}}],
        "parameters": {"segbench_samples": 16, "segbench_seed": 0},  # the same seed gives the same bytes
    }
).encode()
headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
if token := os.environ.get("SEGBENCH_TOKEN"):
    headers["Authorization"] = f"Bearer {token}"
request = urllib.request.Request(f"{url}/v2/models/{model}/infer", head + pixels, headers)

for _ in range(5):
    try:
        with urllib.request.urlopen(request, timeout=300) as reply:
            body, length = reply.read(), int(reply.headers["Inference-Header-Content-Length"])
        break
    except urllib.error.HTTPError as error:
        line = json.load(error)["error"]
        if error.code != 503:
            sys.exit(f"refused: {line}")
        time.sleep(float(error.headers.get("Retry-After", 1)))
else:
    sys.exit("the server is busy")

labels = body[length:]  # one output, so all that follows the JSON
Path(out).write_bytes(labels)
print(f"{out}: {sum(labels) / len(labels):.4f} of the voxels are of class 1")
