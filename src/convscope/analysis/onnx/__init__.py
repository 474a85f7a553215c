"""Networks in ONNX files, read from their graphs."""
