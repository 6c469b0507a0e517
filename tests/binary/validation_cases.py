"""Verdicts on components in the text format: p3host's own, and wasmtime's to hold it against."""

from __future__ import annotations

from functools import cache

import wasmtime
from wasmtime.component import Component

from p3host.binary.core_modules import module_type
from p3host.binary.decoder import decode
from p3host.binary.validate import validate
from p3host.errors import DecodeError
from p3host.types import ComponentType


def encode(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(text))


def check(data: bytes) -> ComponentType:
    return validate(decode(data), module_type)


def type_of(text: str) -> ComponentType:
    return check(encode(text))


def refusal(data: bytes) -> str:
    """Why a component is refused, or the empty string."""
    try:
        check(data)
    except DecodeError as error:
        return str(error)
    return ""


@cache
def engine() -> wasmtime.Engine:
    config = wasmtime.Config()
    config.wasm_component_model_implements = True
    config.wasm_component_model_map = True
    return wasmtime.Engine(config)


def wasmtime_refusal(data: bytes) -> str:
    """Why wasmtime refuses a component, or the empty string."""
    try:
        Component(engine(), data)
    except wasmtime.WasmtimeError as error:
        return str(error)
    return ""


# What wasmtime says of components that are valid, but that it can't run or whose features its C API can't switch on.
LIMITS_OF_WASMTIME = (
    "feature",
    "root-level component imports",
    "exporting a component from the root",
    "unsupported type export",
    "is not implemented",
    "immediate must be zero",
    "until WebAssembly/component-model#716",
)


def is_limit_of_wasmtime(reason: str) -> bool:
    return any(limit in reason for limit in LIMITS_OF_WASMTIME)
