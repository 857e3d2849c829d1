"""Spans as messages of OTLP. Only this module imports OpenTelemetry, at its first use."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestration_project.engine.tracing.span import Span, Value

if TYPE_CHECKING:
    from opentelemetry.proto.common.v1.common_pb2 import KeyValue

SCOPE = "orchestration_project"


def encode_spans(spans: Sequence[Span], resource: Mapping[str, str]) -> bytes:
    """Return an ExportTraceServiceRequest in protobuf.

    Raises:
        ImportError: The extra `otel` is not installed.
    """
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.extend(_encode_attributes(resource))
    scope = group.scope_spans.add()
    scope.scope.name = SCOPE
    for span in spans:
        _fill(scope.spans.add(), span)
    return request.SerializeToString()


def _fill(message: Any, span: Span) -> None:
    from opentelemetry.proto.trace.v1 import trace_pb2

    kinds = {"internal": "INTERNAL", "server": "SERVER", "client": "CLIENT"}
    message.trace_id = bytes.fromhex(span.context.trace_id)
    message.span_id = bytes.fromhex(span.context.span_id)
    if span.parent_span_id:
        message.parent_span_id = bytes.fromhex(span.parent_span_id)
    message.name = span.name
    message.kind = trace_pb2.Span.SpanKind.Value(f"SPAN_KIND_{kinds[span.kind]}")
    message.start_time_unix_nano = span.started_ns
    message.end_time_unix_nano = span.ended_ns
    message.attributes.extend(_encode_attributes(span.attributes))
    if span.error is not None:
        message.status.code = trace_pb2.Status.STATUS_CODE_ERROR
        message.status.message = span.error


def _encode_attributes(values: Mapping[str, Value]) -> "list[KeyValue]":
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

    def value(given: Value) -> AnyValue:
        if isinstance(given, bool):
            return AnyValue(bool_value=given)
        if isinstance(given, int):
            return AnyValue(int_value=given)
        if isinstance(given, float):
            return AnyValue(double_value=given)
        return AnyValue(string_value=given.encode(errors="replace").decode())

    return [KeyValue(key=name, value=value(item)) for name, item in values.items()]


def count_rejected(answer: bytes) -> int:
    """Return how many spans a collector says that it rejected; 0 for an answer that is none."""
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    try:
        response = ExportTraceServiceResponse.FromString(answer)
    except (DecodeError, ValueError):
        return 0
    return max(response.partial_success.rejected_spans, 0)
