"""`python published_clients.py URL`: the Open Inference Protocol's own client, and Triton's, ask the model `iris`.

Runs in the environment of `requirements/clients.txt`, not in the project's. Prints what both got as JSON.
"""

import json
import sys
from typing import Any

import numpy as np
import tritonclient.http as triton
from open_inference.openapi.client import OpenInferenceClient
from open_inference.openapi.types import InferenceRequest, RequestInput, TensorData

ROWS = [[5.1, 3.5, 1.4, 0.2], [6.2, 3.4, 5.4, 2.3]]


def open_inference(url: str) -> dict[str, Any]:
    """What the working group's client finds."""
    client = OpenInferenceClient(base_url=url)
    client.check_server_liveness()
    client.check_server_readiness()
    client.check_model_readiness("iris")
    tensor = RequestInput(
        name="x", shape=[2, 4], datatype="FP64", data=TensorData.parse_obj([*ROWS[0], *ROWS[1]])
    )
    answer = client.model_infer("iris", request=InferenceRequest(id="1", inputs=[tensor]))
    output = answer.outputs[0]
    return {
        "model": answer.model_name,
        "version": answer.model_version,
        "id": answer.id,
        "shape": output.shape,
        "datatype": output.datatype,
        "data": output.data.__root__,
        "metadata": client.read_model_metadata("iris").name,
        "server": client.read_server_metadata().name,
    }


def binary(url: str) -> dict[str, Any]:
    """What Triton's client finds, with binary tensors both ways, which are its default."""
    client = triton.InferenceServerClient(url.removeprefix("http://"))
    tensor = triton.InferInput("x", [2, 4], "FP64")
    tensor.set_data_from_numpy(np.array(ROWS))
    answer = client.infer(
        "iris", [tensor], outputs=[triton.InferRequestedOutput("predict", binary_data=True)]
    )
    return {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": client.is_model_ready("iris"),
        "version": answer.get_response()["model_version"],
        "index": [each["name"] for each in client.get_model_repository_index()],
        "data": answer.as_numpy("predict").tolist(),
    }


if __name__ == "__main__":
    print(json.dumps({"open_inference": open_inference(sys.argv[1]), "triton": binary(sys.argv[1])}))
