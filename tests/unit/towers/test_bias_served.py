from __future__ import annotations

import io
import warnings

import numpy as np
import onnxruntime as ort
import torch
from torch import Tensor, nn

from retrieval.towers.encoders.bias import time_buckets


class Buckets(nn.Module):
    def forward(self, asked: Tensor, times: Tensor) -> Tensor:
        return time_buckets(asked - times)


def test_times_fall_into_the_same_buckets_when_served() -> None:
    """From milliseconds to decades, 2³¹ to 2³² µs (36 to 72 minutes) among them."""
    written, example = io.BytesIO(), torch.zeros(2, dtype=torch.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        axes = {"asked": {0: "n"}, "times": {0: "n"}}
        torch.onnx.export(
            Buckets(), (example, example), written, dynamo=False, opset_version=20,
            input_names=["asked", "times"], output_names=["buckets"], dynamic_axes=axes,
        )  # fmt: skip
    session = ort.InferenceSession(written.getvalue())
    back = np.concatenate([[-5, 0], np.geomspace(1e3, 1e15, 5_000).astype(np.int64)])
    asked = np.full_like(back, 1_507_716_000_123_000)
    (served,) = session.run(None, {"asked": asked, "times": asked - back})
    trained = time_buckets(torch.from_numpy(back)).numpy()
    np.testing.assert_array_equal(served, trained)
    assert len(set(trained.tolist())) > 40
