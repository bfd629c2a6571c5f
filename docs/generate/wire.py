"""The wire page: services, messages, fields and enums of protos/retrieval/v1, with their comments, from protoc."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from generate.text import code, table

HEAD = """\
# Wire format

Package `retrieval.v1`, from `protos/retrieval/v1`. The candidate service is what backends call, and the event service,
where events are recorded; ANN hosts are called by the candidate service and by deployments only. All offer gRPC
reflection and the standard health protocol.
"""
_FILES = ("candidates.proto", "events.proto", "user.proto", "filter.proto", "ann.proto", "build.proto")
"""In the order in which a reader meets them."""
_Place = tuple[int, ...]
# field numbers in FileDescriptorProto, DescriptorProto, EnumDescriptorProto and ServiceDescriptorProto
_MESSAGE, _ENUM, _SERVICE, _NESTED_ENUM, _IN_MESSAGE_FIELD, _IN_OTHERS = 4, 5, 6, 4, 2, 2


def wire_page(protos: Path) -> str:
    """The page for the protos below `protos`."""
    return "\n".join([HEAD, *_pages(described(protos))]) + "\n"


def described(protos: Path) -> Sequence[Any]:
    """Descriptors of the files with their comments. Raises RuntimeError where protoc refuses them."""
    from google.protobuf.descriptor_pb2 import FileDescriptorSet
    from grpc_tools import protoc

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "descriptors"
        files = [str(protos / "retrieval" / "v1" / name) for name in _FILES]
        arguments = [f"-I{protos}", f"--descriptor_set_out={out}", "--include_source_info", *files]
        if protoc.main(["protoc", *arguments]) != 0:
            raise RuntimeError(f"{protos}: protoc failed; its messages are above")
        found = {Path(each.name).name: each for each in FileDescriptorSet.FromString(out.read_bytes()).file}
    return [found[name] for name in _FILES]


def _pages(files: Sequence[Any]) -> Iterator[str]:
    for file in files:
        comments = _comments(file)
        for number, service in enumerate(file.service):
            yield from _service(service, (_SERVICE, number), comments)
        for number, message in enumerate(file.message_type):
            yield from _message(message, (_MESSAGE, number), comments)
        for number, enum in enumerate(file.enum_type):
            yield from _enum(enum, (_ENUM, number), comments)


def _service(service: Any, place: _Place, comments: Mapping[_Place, str]) -> Iterator[str]:
    yield from _title("service", service.name, comments.get(place, ""))
    rows = []
    for i, method in enumerate(service.method):
        text = comments.get((*place, _IN_OTHERS, i), "")
        rows.append([code(method.name), _link(method.input_type), _link(method.output_type), text])
    yield from table(["call", "request", "response", ""], rows)
    yield ""


def _message(message: Any, place: _Place, comments: Mapping[_Place, str]) -> Iterator[str]:
    yield from _title("message", message.name, comments.get(place, ""))
    maps = {entry.name: entry for entry in message.nested_type if entry.options.map_entry}
    rows = []
    for i, field in enumerate(message.field):
        one_of = field.HasField("oneof_index") and not field.proto3_optional
        text = comments.get((*place, _IN_MESSAGE_FIELD, i), "")
        text = f"{text} (one of `{message.oneof_decl[field.oneof_index].name}`)".strip() if one_of else text
        rows.append([code(field.name), str(field.number), _type(field, maps), text])
    yield from table(["field", "number", "type", "meaning"], rows) if rows else ["No fields."]
    yield ""
    for number, enum in enumerate(message.enum_type):
        yield from _enum(enum, (*place, _NESTED_ENUM, number), comments, within=f"{message.name}.")


def _enum(enum: Any, place: _Place, comments: Mapping[_Place, str], within: str = "") -> Iterator[str]:
    yield from _title("enum", within + enum.name, comments.get(place, ""))
    rows = [
        [code(value.name), str(value.number), comments.get((*place, _IN_OTHERS, i), "")]
        for i, value in enumerate(enum.value)
    ]
    yield from table(["value", "number", "meaning"], rows)
    yield ""


def _title(what: str, name: str, comment: str) -> Iterator[str]:
    yield f"## {what} `{name}` {{ #{name.replace('.', '-')} }}"
    yield ""
    yield comment
    yield ""


def _type(field: Any, maps: Mapping[str, Any]) -> str:
    entry = maps.get(field.type_name.rpartition(".")[2])
    if entry is not None:
        key, value = entry.field
        return f"map from {_type(key, {})} to {_type(value, {})}"
    plain = _link(field.type_name) if field.type_name else code(field.Type.Name(field.type)[5:].lower())
    if field.label == field.LABEL_REPEATED:
        return f"repeated {plain}"
    return f"optional {plain}" if field.proto3_optional else plain


def _link(type_name: str) -> str:
    name = type_name.removeprefix(".retrieval.v1.")
    return f"[`{name}`](#{name.replace('.', '-')})"


def _comments(file: Any) -> dict[_Place, str]:
    """What stands above each declaration, by its place in the descriptor; paragraphs stay apart."""
    return {
        tuple(location.path): "\n".join(line.strip() for line in location.leading_comments.strip().splitlines())
        for location in file.source_code_info.location
        if location.leading_comments.strip()
    }
