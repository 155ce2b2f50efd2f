"""Feature matrix to calibrated scores: the signed bundle and the ONNX session that runs it."""
