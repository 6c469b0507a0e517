"""Finds the Python object for each import of a component.

Imports are given by name. An interface is anything that has its functions: a mapping, an object or a module with
attributes in snake_case, or an interface of another component's instance. A resource is a class in UpperCamelCase: its
methods, static methods and constructor are the component's.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import FunctionType, MethodType
from typing import Any

from ..binary.names import ExternNameParts, parse_extern_name
from ..binary.subtyping import Mismatch, check_module
from ..engine import Module
from ..errors import LinkError
from ..host.functions import HostFunction
from ..types import FuncType, ModuleType
from ..values import class_name, python_name
from .exports import ExportedFunction, Interface
from .foreign import same_signature
from .program import ImportedDef, Program
from .versions import resolve

MISSING = object()


@dataclass
class Imports:
    """What one instance is linked to: an object for each imported function, resource and module of the program."""

    functions: dict[int, HostFunction | ExportedFunction] = field(default_factory=dict)  # by function index
    resources: dict[int, Any] = field(default_factory=dict)  # by slot; None where nothing is told about the type
    modules: list[Any] = field(default_factory=list)


def find_imports(program: Program, given: Mapping[str, Any], provided: Mapping[str, Any]) -> Imports:
    """`given` is the user's, by full name; `provided` is WASI's, and stands in where the user gave nothing.

    :raises LinkError: with all that is missing or wrong.
    """
    found = Imports()
    problems: list[str] = []
    roots: dict[str, Any] = {}

    def root(name: str) -> Any:
        if name not in roots:
            roots[name] = find_root(name, given, provided)
        return roots[name]

    for index, func in enumerate(program.funcs):
        if isinstance(func, ImportedDef):
            target = find_function(root(func.path[0]), func)
            problem = check_function(target, func)
            if problem is not None:
                problems.append(problem)
            elif isinstance(target, ExportedFunction):
                found.functions[index] = target
            else:
                found.functions[index] = HostFunction(target, func.name, func.type)
    for slot, path in program.imported_resources.items():
        found.resources[slot] = find_resource(root(path[0]), path)
    for path, module_type in program.imported_modules:
        module = root(path[0])
        for name in path[1:]:
            module = member(module, name)
        problem = check_module_type(module, module_type)
        if problem is not None:
            problems.append(f"{'#'.join(path)}: {problem}")
        found.modules.append(module)
    unused = [name for name in given if name not in program.imports and resolve(name, program.imports) is None]
    if unused and problems:
        problems.append(f"given, but not imported: {', '.join(unused)}")
    if problems:
        raise LinkError(problems)
    return found


def find_root(name: str, given: Mapping[str, Any], provided: Mapping[str, Any]) -> Any:
    for mapping in (given, provided):
        known = resolve(name, mapping)
        if known is not None:
            return mapping[known]
    alias = python_name(name) if name.replace("-", "").isalnum() else ""
    return given.get(alias, MISSING)


def member(holder: Any, name: str, python: str | None = None) -> Any:
    """What an interface's provider has by a WIT name."""
    python = python_name(name) if python is None else python
    if isinstance(holder, Mapping):
        return holder.get(name, holder.get(python, MISSING))
    if isinstance(holder, Interface):
        try:
            return holder[name]
        except KeyError:
            return MISSING
    return getattr(holder, python, MISSING)


def find_function(root: Any, func: ImportedDef) -> Any:
    holder, name = root, func.path[-1]
    parts = parse_extern_name(name)
    if len(func.path) == 1:
        if parts.kind == "label" or parts.kind == "interface":
            return root
        return MISSING
    for outer in func.path[1:-1]:
        holder = member(holder, outer)
    return find_member(holder, name, parts)


def find_member(holder: Any, name: str, parts: ExternNameParts) -> Any:
    if parts.kind == "label" or isinstance(holder, Interface):
        return member(holder, name)
    resource = parts.labels[0]
    resource_class = member(holder, resource, class_name(resource))
    if resource_class is MISSING or parts.kind == "constructor":
        return resource_class
    return getattr(resource_class, python_name(parts.labels[1]), MISSING)


def find_resource(root: Any, path: tuple[str, ...]) -> Any:
    if len(path) == 1:
        return None if root is MISSING else root
    holder = root
    for outer in path[1:-1]:
        holder = member(holder, outer)
    found = member(holder, path[-1], class_name(path[-1]))
    return None if found is MISSING else found


def check_module_type(module: Any, expected: ModuleType) -> str | None:
    """What is wrong with the object for an imported core module, if anything."""
    if module is MISSING:
        return "a core module is needed, and none was given"
    if not isinstance(module, Module):
        return f"a core module is needed, not {module!r}"
    imports = {(name, field): extern for name, field, extern in module.imports}
    try:
        check_module(ModuleType(imports, module.exports), expected)
    except Mismatch as mismatch:
        return f"the core module is of another type: {mismatch}"
    return None


def check_function(target: Any, func: ImportedDef) -> str | None:
    """What is wrong with the Python object for an import, if anything."""
    name, t = func.name, func.type
    if target is MISSING:
        return f"{name}: missing, expected {describe_type(t)}"
    if isinstance(target, ExportedFunction):
        if same_signature(target.type, t):
            return None
        return f"{name}: the linked export has another type than {describe_type(t)}"
    if not callable(target):
        return f"{name}: {target!r} is not callable, expected {describe_type(t)}"
    return check_parameters(target, func)


def check_parameters(target: Callable[..., Any], func: ImportedDef) -> str | None:
    if takes_exactly(target, len(func.type.params)):
        return None
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError):
        return None  # a built-in without a signature
    try:
        signature.bind(*func.type.params)
    except TypeError as error:
        return f"{func.name}: {target!r} can't be called as needed ({error}), expected {describe_type(func.type)}"
    return None


def takes_exactly(target: Callable[..., Any], count: int) -> bool:
    """Whether a function or method has just `count` positional parameters: the common case, told without a signature
    being made."""
    if isinstance(target, MethodType):
        target, count = target.__func__, count + 1
    if not isinstance(target, FunctionType) or hasattr(target, "__wrapped__"):
        return False
    return target.__code__.co_argcount == count and not target.__code__.co_kwonlyargcount


def describe_type(t: FuncType) -> str:
    count = len(t.params)
    plural = "" if count == 1 else "s"
    names = ", ".join(label for label, _ in t.params)
    return f"{'an async' if t.is_async else 'a'} function of {count} parameter{plural} ({names})"
