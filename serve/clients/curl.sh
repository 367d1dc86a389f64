#!/usr/bin/env bash
# Asks a server with curl: whether it is ready, for a few voxels as JSON, and for a RAW file in binary.
#   curl.sh http://127.0.0.1:8000 vnet-battery image.raw 64,64,64 UINT8 labels.raw
set -euo pipefail
url=$1 model=$2 image=$3 shape=$4 datatype=$5 out=$6

ask() { # a token stays out of the list of processes
    curl --silent --show-error --fail-with-body --max-time 300 \
        -H @<(if [ -n "${SEGBENCH_TOKEN:-}" ]; then printf 'Authorization: Bearer %s' "$SEGBENCH_TOKEN"; fi) "$@"
}

ask "$url/v2/health/ready"; echo
ask "$url/v2/models/$model"; echo

# JSON: for trying things out; a number takes many times its four bytes.
ask "$url/v2/models/$model/infer" -H 'Content-Type: application/json' --data '{
    "inputs": [{"name": "image", "shape": [1, 1, 2, 2, 2], "datatype": "FP32", "data": [0, 1, 2, 3, 4, 5, 6, 7]}],
    "outputs": [{"name": "labels"}, {"name": "entropy"}],
    "parameters": {"segbench_samples": 4, "segbench_seed": 0}
}'; echo

# Binary: JSON, then the tensor as it is; a header says where the one ends, in the answer too.
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
printf '{"inputs": [{"name": "image", "shape": [1, 1, %s], "datatype": "%s",
    "parameters": {"binary_data_size": %d}}],
    "outputs": [{"name": "labels", "parameters": {"binary_data": true}}],
    "parameters": {"segbench_samples": 16, "segbench_seed": 0}}' \
    "$shape" "$datatype" "$(wc -c <"$image")" >"$folder/head"
cat "$folder/head" "$image" >"$folder/body"
ask "$url/v2/models/$model/infer" --data-binary "@$folder/body" -H 'Content-Type: application/octet-stream' \
    -H "Inference-Header-Content-Length: $(wc -c <"$folder/head" | tr -d ' ')" \
    -D "$folder/headers" -o "$folder/answer"
length=$(tr -d '\r' <"$folder/headers" | awk -F': *' 'tolower($1) == "inference-header-content-length" { print $2 }')
tail -c "+$((length + 1))" "$folder/answer" >"$out"
echo "$out: $(wc -c <"$out" | tr -d ' ') labels"
