"""Describe what a served model takes, as OpenAPI 3.1 and as the Swagger 2.0 that R's servers had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from repro.formats.signature import Column, Signature, Tensor
from repro.models.serving.served import Served

Schema = dict[str, object]
_LARGEST = 1.7976931348623157e308
_NUMBER: Schema = {"type": ["number", "null"], "minimum": -_LARGEST, "maximum": _LARGEST}
_TYPES: Mapping[str, Schema] = {
    "double": _NUMBER,
    "float": _NUMBER,
    "long": {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
    "integer": {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
    "boolean": {"type": "boolean"},
    "string": {"type": ["string", "null"]},
    "datetime": {"type": ["string", "null"], "format": "date-time"},
    "binary": {"type": ["string", "null"], "contentEncoding": "base64"},
}
_ERROR: Schema = {
    "type": "object",
    "required": ["error_code", "message"],
    "properties": {"error_code": {"type": "string"}, "message": {"type": "string"}},
}
_PREDICTIONS: Schema = {"type": "object", "required": ["predictions"], "properties": {"predictions": {}}}


def _describe_column(column: Column) -> Schema:
    return dict(_TYPES.get(column.type, {}))


def _describe_records(columns: Sequence[Column]) -> Schema:
    named = [column for column in columns if column.name is not None]
    record: Schema = {
        "type": "object",
        "required": [column.name for column in named if column.required],
        "properties": {str(column.name): _describe_column(column) for column in named},
    }
    return {"type": "array", "minItems": 1, "items": record}


def _describe_split(columns: Sequence[Column]) -> Schema:
    row: Schema = {
        "type": "array", "prefixItems": [_describe_column(column) for column in columns], "items": False,
        "minItems": len(columns),
    }  # fmt: skip
    return {
        "type": "object",
        "required": ["columns", "data"],
        "additionalProperties": False,
        "properties": {
            "columns": {"const": [column.name for column in columns]},
            "data": {"type": "array", "minItems": 1, "items": row},
        },
    }


def _describe_axes(shape: Sequence[int], leaf: Schema) -> Schema:
    if not shape:
        return leaf
    size = {"minItems": 1} if shape[0] == -1 else {"minItems": shape[0], "maxItems": shape[0]}
    return {"type": "array", **size, "items": _describe_axes(shape[1:], leaf)}


def _describe_tensor(tensor: Tensor) -> Schema:
    kinds = {"float64": "number", "float32": "number", "int64": "integer", "int32": "integer", "bool": "boolean"}
    leaf: Schema = {"type": kinds[tensor.dtype]} if tensor.dtype in kinds else {}
    return _describe_axes(tensor.shape, leaf)


def _one_key(name: str, schema: Schema) -> Schema:
    """Describe a body with one of the protocol's keys; further keys of others are let by, the others of ours not."""
    others = [key for key in ("dataframe_split", "dataframe_records", "instances", "inputs") if key != name]
    no_others: list[Schema] = [{"required": [other]} for other in (*others, "messages", "prompt", "input")]
    properties: Schema = {name: schema, "params": {"type": ["object", "null"]}}
    return {"type": "object", "required": [name], "properties": properties, "not": {"anyOf": no_others}}


def describe_body(signature: Signature | None) -> Schema:
    """Return the JSON Schema of a request's body."""
    inputs = signature.inputs if signature else None
    columns = [each for each in inputs or () if isinstance(each, Column)]
    tensors = [each for each in inputs or () if isinstance(each, Tensor)]
    if columns and all(column.name is not None for column in columns):
        return {
            "anyOf": [
                _one_key("dataframe_records", _describe_records(columns)),
                _one_key("dataframe_split", _describe_split(columns)),
            ]
        }
    if len(tensors) == 1 and tensors[0].name is None:
        return {"anyOf": [_one_key(key, _describe_tensor(tensors[0])) for key in ("instances", "inputs")]}
    if tensors:
        properties = {str(each.name): _describe_tensor(each) for each in tensors}
        return _one_key("inputs", {"type": "object", "required": list(properties), "properties": properties})
    return {"type": "object"}


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _answer(meaning: str, schema: Schema) -> Schema:
    return {"description": meaning, "content": _json(schema)}


def _text(meaning: str, *kinds: str) -> Schema:
    return {"description": meaning, "content": {kind: {} for kind in kinds}}


_DETAIL: Schema = {"type": "object", "required": ["detail"], "properties": {"detail": {"type": "string"}}}
_REFUSALS: Mapping[str, Schema] = {
    "401": _answer("the token is missing or wrong", _ERROR),
    "403": _answer("the Host is not this server, or the page is another's", _ERROR),
    "405": _answer("another method", _DETAIL),
}


def _describe_scoring(summary: str, body: Schema, example: object | None) -> Schema:
    media: Schema = {"schema": body, **({"example": example} if example else {})}
    return {
        "post": {
            "summary": summary,
            "requestBody": {"required": True, "content": {"application/json": media}},
            "responses": {
                "200": _answer("what the model says, a value for each row", _PREDICTIONS),
                "400": _answer("the body is wrong, or the model cannot take it", _ERROR),
                **_REFUSALS,
                "408": _answer("the body did not come in time", _ERROR),
                "413": _answer("the body is too large", _ERROR),
                "415": _text("another Content-Type", "text/plain"),
                "500": _answer("the model's answer cannot be said in JSON", _ERROR),
                "503": _answer("too many requests wait, or the worker has ended; see Retry-After", _ERROR),
                "504": _text("it took longer than the server allows", "text/plain"),
            },
        }
    }


def _describe_read(summary: str, *kinds: str, more: Mapping[str, Schema] | None = None) -> Schema:
    return {"get": {"summary": summary, "responses": {"200": _text("", *kinds), **(more or {}), **_REFUSALS}}}


def describe_api(served: Served, *, version: str) -> Schema:
    """Return the OpenAPI description of a served model.

    R's `/predict` is described by `describe_old_api`: no schema can say that all columns are of one length.
    """
    unready: dict[str, Schema] = {"404": _text("no worker has the model", "application/json")}
    return {
        "openapi": "3.1.0",
        "info": {"title": served.name, "version": version},
        "paths": {
            "/invocations": _describe_scoring(
                "Ask the model (MLflow's scoring protocol)", describe_body(served.signature), served.example
            ),
            "/ping": _describe_read("Is it ready?", "application/json", more=unready),
            "/health": _describe_read("Is it ready?", "application/json", more=unready),
            "/version": _describe_read("The version of repro", "application/json"),
            "/metrics": _describe_read("Counters for Prometheus", "text/plain"),
        },
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{}, {"token": []}],
    }


def describe_old_api() -> Schema:
    """Return the description that R's servers have at `/swagger.json`."""
    body = {"name": "body", "in": "body", "description": "Prediction instances for model", "schema": {"type": "object"}}
    return {
        "swagger": "2.0",
        "info": {"title": "MLflow Model", "version": "1.0.0"},
        "basePath": "/",
        "schemes": ["http"],
        "paths": {
            "/predict/": {
                "post": {
                    "tags": ["predict"],
                    "summary": "Perform prediction over MLflow Model",
                    "consumes": ["application/json"],
                    "produces": ["application/json"],
                    "parameters": [body],
                    "responses": {"200": {"description": "Success"}},
                }
            }
        },
    }
