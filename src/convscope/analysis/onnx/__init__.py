"""Networks in ONNX files, read from their graphs."""

from convscope.analysis.onnx.summary import onnx_summary

__all__ = ["onnx_summary"]
