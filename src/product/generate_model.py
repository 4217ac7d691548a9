#!/usr/bin/env python3
"""Writes the CTAO data product model as the table that dl0-ingest embeds.

    pip install ctao-datamodel==1.4.0
    python generate_model.py > model-1.4.tsv

One field or group a line, parents before children. A new version of the model is a new table, and a diff.
Rules that the model expresses in code (validators, migrations) are not in the table: they stand in `key_rules.rs`.
"""

import datetime
import sys
import types
import typing
import uuid
import warnings
from enum import Enum, Flag
from importlib.metadata import version

warnings.simplefilter("ignore")

from pydantic import AnyUrl, BaseModel, EmailStr  # noqa: E402
from pydantic.fields import FieldInfo  # noqa: E402
from pydantic_core import PydanticUndefined  # noqa: E402

from ctao_datamodel.models.dataproducts.reference import PRODUCT_MODEL_VERSION, Product  # noqa: E402

COLUMNS = ["fits_keyword", "flat_key", "type", "required", "default", "values"]
LEAVES = {str: "str", int: "int", float: "float", uuid.UUID: "UUID", datetime.date: "date", AnyUrl: "AnyUrl",
          EmailStr: "EmailStr"}


def alternatives(annotation):
    """The members of a union without None, or the annotation itself."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [arg for arg in typing.get_args(annotation) if arg is not type(None)]
    return [annotation]


def is_optional(annotation):
    return type(None) in typing.get_args(annotation)


def leaf(annotation, field: FieldInfo):
    """Name of a leaf's type, and its values where they are enumerated."""
    patterns = [meta.pattern for meta in field.metadata if getattr(meta, "pattern", None)]
    if patterns:
        return "Pattern", patterns[0]
    metadata = list(field.metadata)
    if typing.get_origin(annotation) is typing.Annotated:
        annotation, *more = typing.get_args(annotation)
        metadata += more
    if annotation in LEAVES:
        return LEAVES[annotation], ""
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        members = [member.name if issubclass(annotation, Flag) else member.value for member in annotation]
        return ("Flags" if issubclass(annotation, Flag) else annotation.__name__), ",".join(members)
    for schema in (getattr(meta, "json_schema", None) for meta in metadata):
        if schema and "unit" in schema:
            return f"Quantity[{schema['unit']}]", ""
    name = getattr(annotation, "__name__", str(annotation))
    if name == "Time":
        return "Time", ""
    if name == "AstroPydanticUnit":
        return "Unit", ""
    raise SystemExit(f"the type {annotation!r} is new; teach it to this script and to model.rs")


def default(field: FieldInfo):
    """Whether a value must be given, and what stands for an absent one."""
    if field.default_factory is not None:
        return "", "factory"
    if field.default is PydanticUndefined:
        return "required", ""
    if field.default is None:
        # the default is validated, so None is no default where None is no value
        return ("" if is_optional(field.annotation) else "required"), ""
    value = field.default
    return "", str(value.value if isinstance(value, Enum) else value)


def rows(model: type[BaseModel], path: tuple[str, ...] = ()):
    for name, field in model.model_fields.items():
        key = "__".join((*path, name))
        keyword = (field.json_schema_extra or {}).get("fits_keyword", "")
        required, literal = default(field)
        for annotation in alternatives(field.annotation):
            shape = "group"
            if typing.get_origin(annotation) is list:
                shape, annotation = "list", typing.get_args(annotation)[0]
            if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                yield [keyword, key, f"{shape}:{annotation.__name__}", required, "", ""]
                yield from rows(annotation, (*path, name))
            else:
                hierarch = "HIERARCH CTAO " + key.replace("__", " ").upper()
                kind, values = leaf(annotation, field)
                yield [keyword or hierarch, key, kind, required, literal, values]


def main():
    model = version("ctao-datamodel")
    print(f"# CTAO data product model {model}, metadata version {PRODUCT_MODEL_VERSION}; made by generate_model.py.")
    print("\t".join(COLUMNS))
    for row in rows(Product):
        print("\t".join(row))


if __name__ == "__main__":
    sys.exit(main())
