"""Writes the program of a component: instantiates nested components symbolically, and numbers what they define.

Resource types get their slots, core functions of canonical definitions their numbers, and each nested component
instance its index.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..abi.options import AbiOptions
from ..binary.definitions import (
    AliasCoreExport,
    AliasExport,
    AliasOuter,
    AnyDefinition,
    CanonBuiltin,
    CanonOptions,
    CoreInlineExports,
    CoreInstantiate,
    CoreModule,
    CoreSort,
    CoreSortIndex,
    CoreTypeDefinition,
    Export,
    Import,
    InlineExports,
    Instantiate,
    Lift,
    Lower,
    NestedComponent,
    ResourceDef,
    Sort,
    SortIndex,
    TypeDefinition,
)
from ..binary.definitions import (
    Component as ComponentDefinition,
)
from ..binary.resolve import TypeScope, define_core_type, define_type, extern_type, named_extern, valtype
from ..errors import LinkError
from ..types import (
    CoreFuncType,
    CoreMemoryType,
    ExternType,
    FuncType,
    InstanceType,
    ModuleType,
    PointerType,
    ResourceType,
    TypeExtern,
)
from .program import (
    BindFunc,
    BindOptions,
    BindTable,
    BuiltinCanon,
    CanonItem,
    ComponentItem,
    CoreExportItem,
    CoreItem,
    DefineResource,
    FuncItem,
    ImportedDef,
    InstanceItem,
    InstantiateCore,
    Item,
    LiftedDef,
    LoweredCanon,
    MakeInstance,
    ModuleItem,
    Options,
    Program,
    TypeItem,
)


class Frame:
    """The index spaces of one component instance while the program is written."""

    def __init__(self, parent: Frame | None, instance: int) -> None:
        self.parent = parent
        self.instance = instance
        self.scope: TypeScope = TypeScope(parent.scope if parent else None)
        self.core_funcs: list[CoreItem] = []
        self.core_memories: list[CoreItem] = []
        self.core_tables: list[CoreItem] = []
        self.core_globals: list[CoreItem] = []
        self.core_tags: list[CoreItem] = []
        self.core_instances: list[Mapping[str, CoreItem] | int] = []
        self.modules: list[ModuleItem] = []
        self.funcs: list[FuncItem] = []
        self.instances: list[InstanceItem] = []
        self.components: list[ComponentItem] = []

    def outer(self, count: int) -> Frame:
        frame = self
        for _ in range(count):
            assert frame.parent is not None
            frame = frame.parent
        return frame

    def core_space(self, sort: CoreSort) -> list[CoreItem]:
        match sort:
            case CoreSort.FUNC:
                return self.core_funcs
            case CoreSort.TABLE:
                return self.core_tables
            case CoreSort.MEMORY:
                return self.core_memories
            case CoreSort.GLOBAL:
                return self.core_globals
            case CoreSort.TAG:
                return self.core_tags
        raise AssertionError(sort)

    def item(self, target: SortIndex) -> Item:
        match target.sort:
            case CoreSort.MODULE:
                return self.modules[target.index]
            case Sort.FUNC:
                return self.funcs[target.index]
            case Sort.INSTANCE:
                return self.instances[target.index]
            case Sort.COMPONENT:
                return self.components[target.index]
            case Sort.TYPE:
                return TypeItem(self.scope.types[target.index])
        raise AssertionError(target)

    def add(self, item: Item) -> None:
        match item:
            case FuncItem():
                self.funcs.append(item)
            case ModuleItem():
                self.modules.append(item)
            case InstanceItem():
                self.instances.append(item)
            case ComponentItem():
                self.components.append(item)
            case TypeItem():
                self.scope.types.append(item.type)


class ProgramWriter:
    """Writes the program of a valid component. `signatures` has the core type of each canonical definition, and
    `module_types` the type of each core module, by their offsets in the file."""

    def __init__(self, signatures: Mapping[int, CoreFuncType], module_types: Mapping[int, ModuleType]) -> None:
        self.program = Program()
        self.signatures = signatures
        self.module_types = module_types
        self.known_options: dict[Options, int] = {}
        self.module_numbers: dict[int, int] = {}  # by the offset of the module in the file
        self.core_instance_types: list[ModuleType] = []
        self.tables = 0

    def write(self, component: ComponentDefinition) -> Program:
        frame = self.new_frame(None, None, component.name)
        self.program.exports = self.run(frame, component, lambda definition: self.import_at_root(frame, definition))
        return self.program

    def run(
        self, frame: Frame, component: ComponentDefinition, import_item: Callable[[Import], Item]
    ) -> dict[str, Item]:
        """Writes what instantiating a component does, and returns its exports."""
        exports: dict[str, Item] = {}
        for definition in component.definitions:
            match definition:
                case Import():
                    frame.add(import_item(definition))
                case Export():
                    name = definition.name.name
                    exports[name] = self.named(frame.item(definition.target), name)
                    frame.add(exports[name])
                case _:
                    self.define(frame, definition)
        return exports

    def new_frame(self, lexical_parent: Frame | None, parent: int | None, name: str) -> Frame:
        instance = self.program.instances
        self.program.instances += 1
        self.program.steps.append(MakeInstance(parent, name))
        return Frame(lexical_parent, instance)

    # Imports of the root

    def import_at_root(self, frame: Frame, definition: Import) -> Item:
        name = definition.name.name
        extern = extern_type(frame.scope, definition.type, name, definition.offset)
        self.program.imports[name] = extern
        return self.imported_item(extern, (name,))

    def imported_item(self, extern: ExternType, path: tuple[str, ...]) -> Item:
        program = self.program
        match extern:
            case FuncType():
                program.funcs.append(ImportedDef(path, extern))
                return FuncItem(len(program.funcs) - 1)
            case InstanceType():
                return InstanceItem({name: self.imported_item(e, (*path, name)) for name, e in extern.exports.items()})
            case TypeExtern():
                if isinstance(extern.type, ResourceType) and extern.bound == "sub":
                    self.new_resource(extern.type)
                    program.imported_resources[extern.type.slot] = path
                return TypeItem(extern.type)
            case ModuleType():
                program.imported_modules.append((path, extern))
                return ModuleItem(len(program.imported_modules) - 1, imported=True)
        raise LinkError(
            [f"{'#'.join(path)}: it is a component, and only components can be given components as imports"]
        )

    def new_resource(self, resource: ResourceType) -> int:
        resource.slot = len(self.program.resources)
        self.program.resources.append(resource)
        return resource.slot

    # Definitions

    def define(self, frame: Frame, definition: AnyDefinition) -> None:
        scope = frame.scope
        match definition:
            case CoreModule():
                frame.modules.append(self.module(definition))
            case CoreInstantiate():
                frame.core_instances.append(self.instantiate_core(frame, definition))
            case CoreInlineExports():
                frame.core_instances.append({n: self.core_item(frame, target) for n, target in definition.exports})
            case CoreTypeDefinition():
                scope.core_types.extend(define_core_type(scope, definition.type, definition.offset))
            case TypeDefinition():
                self.define_type(frame, definition)
            case AliasCoreExport():
                exported = self.core_export(frame, definition.instance, definition.name)
                frame.core_space(definition.sort).append(exported)
            case AliasExport():
                frame.add(frame.instances[definition.instance].exports[definition.name])
            case AliasOuter():
                self.alias_outer(frame, definition)
            case Lift():
                frame.funcs.append(self.lift(frame, definition))
            case Lower():
                options = self.bind_options(frame, definition.options)
                signature = self.signatures[definition.offset]
                self.add_canon(frame, LoweredCanon(frame.funcs[definition.func].index, options, signature))
            case CanonBuiltin():
                self.add_canon(frame, self.builtin(frame, definition))
            case NestedComponent():
                frame.components.append(ComponentItem(definition.component, frame))
            case Instantiate():
                frame.add(self.instantiate(frame, definition))
            case InlineExports():
                frame.add(InstanceItem({n.name: self.named(frame.item(t), n.name) for n, t in definition.exports}))
            case _:
                raise AssertionError(definition)

    def module(self, definition: CoreModule) -> ModuleItem:
        number = self.module_numbers.get(definition.offset)
        if number is None:
            number = self.module_numbers[definition.offset] = len(self.program.modules)
            self.program.modules.append(definition)
        return ModuleItem(number)

    def core_item(self, frame: Frame, target: CoreSortIndex) -> CoreItem:
        return frame.core_space(target.sort)[target.index]

    def core_export(self, frame: Frame, instance: int, name: str) -> CoreItem:
        exporter = frame.core_instances[instance]
        return CoreExportItem(exporter, name) if isinstance(exporter, int) else exporter[name]

    def instantiate_core(self, frame: Frame, definition: CoreInstantiate) -> int:
        args = {name: frame.core_instances[instance] for name, instance in definition.args}
        module = frame.modules[definition.module]
        self.program.steps.append(InstantiateCore(module, args, frame.instance))
        if module.imported:
            self.core_instance_types.append(self.program.imported_modules[module.index][1])
        else:
            self.core_instance_types.append(self.module_types[self.program.modules[module.index].offset])
        return len(self.core_instance_types) - 1

    def define_type(self, frame: Frame, definition: TypeDefinition) -> None:
        if not isinstance(definition.type, ResourceDef):
            frame.scope.types.append(define_type(frame.scope, definition.type, definition.offset))
            return
        resource = ResourceType()
        slot = self.new_resource(resource)
        destructor = None
        if definition.type.destructor is not None:
            core_func = frame.core_funcs[definition.type.destructor]
            destructor = self.known(Options(frame.instance, AbiOptions(), core_func=core_func))
        self.program.steps.append(DefineResource(slot, frame.instance, destructor))
        frame.scope.types.append(resource)

    def alias_outer(self, frame: Frame, definition: AliasOuter) -> None:
        outer = frame.outer(definition.count)
        match definition.sort:
            case Sort.TYPE:
                frame.scope.types.append(outer.scope.types[definition.index])
            case Sort.COMPONENT:
                frame.components.append(outer.components[definition.index])
            case CoreSort.TYPE:
                frame.scope.core_types.append(outer.scope.core_types[definition.index])
            case CoreSort.MODULE:
                frame.modules.append(outer.modules[definition.index])

    def named(self, item: Item, name: str) -> Item:
        if isinstance(item, TypeItem):
            if isinstance(item.type, ResourceType):
                item.type.name = item.type.name or name
            else:
                extern = named_extern(item.type, name)
                return TypeItem(extern.type)
        elif isinstance(item, FuncItem):
            func = self.program.funcs[item.index]
            if isinstance(func, LiftedDef) and not func.name:
                self.program.funcs[item.index] = LiftedDef(name, func.type, func.options)
        return item

    def instantiate(self, frame: Frame, definition: Instantiate) -> InstanceItem:
        component = frame.components[definition.component]
        args = {name: frame.item(target) for name, target in definition.args}
        nested = self.new_frame(component.frame, frame.instance, component.definition.name)
        return InstanceItem(self.run(nested, component.definition, lambda definition: args[definition.name.name]))

    # Canonical definitions

    def add_canon(self, frame: Frame, canon: LoweredCanon | BuiltinCanon) -> None:
        self.program.canons.append(canon)
        frame.core_funcs.append(CanonItem(len(self.program.canons) - 1))

    def lift(self, frame: Frame, definition: Lift) -> FuncItem:
        func_type = frame.scope.types[definition.type_index]
        assert isinstance(func_type, FuncType)
        options = self.bind_options(frame, definition.options, frame.core_funcs[definition.core_func])
        self.program.funcs.append(LiftedDef("", func_type, options))
        self.program.steps.append(BindFunc(len(self.program.funcs) - 1))
        return FuncItem(len(self.program.funcs) - 1)

    def bind_options(
        self, frame: Frame, options: CanonOptions, core_func: CoreItem | None = None, memory: int | None = None
    ) -> int:
        memory = options.memory if memory is None else memory
        funcs = frame.core_funcs
        return self.known(
            Options(
                instance=frame.instance,
                abi=AbiOptions(self.pointer(frame, memory), options.string_encoding),
                memory=None if memory is None else frame.core_memories[memory],
                realloc=None if options.realloc is None else funcs[options.realloc],
                post_return=None if options.post_return is None else funcs[options.post_return],
                callback=None if options.callback is None else funcs[options.callback],
                core_func=core_func,
                is_async=options.is_async,
            )
        )

    def known(self, options: Options) -> int:
        index = self.known_options.get(options)
        if index is None:
            index = self.known_options[options] = len(self.program.options)
            self.program.options.append(options)
            self.program.steps.append(BindOptions(options))
        return index

    def pointer(self, frame: Frame, memory: int | None) -> PointerType:
        if memory is None:
            return "i32"
        item = frame.core_memories[memory]
        assert isinstance(item, CoreExportItem)
        memory_type = self.core_instance_types[item.instance].exports[item.name]
        assert isinstance(memory_type, CoreMemoryType)
        return memory_type.limits.pointer

    def builtin(self, frame: Frame, definition: CanonBuiltin) -> BuiltinCanon:
        defined = None
        if definition.type_index is not None and definition.immediate is None:
            defined = frame.scope.types[definition.type_index]
        table = None
        if definition.type_index is not None and definition.immediate is not None:
            self.program.steps.append(BindTable(frame.core_tables[definition.immediate]))
            table = self.tables
            self.tables += 1
        return BuiltinCanon(
            definition=definition,
            instance=frame.instance,
            options=self.bind_options(frame, definition.options, memory=definition.memory),
            type=defined,
            result=None if definition.result is None else valtype(frame.scope, definition.result, definition.offset),
            table=table,
            signature=self.signatures[definition.offset],
        )
