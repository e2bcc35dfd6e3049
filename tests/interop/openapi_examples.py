"""The examples of docs/openapi.yaml.

An example of a request and one of a response belong together if they have the same name. Parameters with a single
`example` are part of every request.
"""

from dataclasses import dataclass

import schemathesis
import yaml

from conftest import ROOT

DOCUMENT = yaml.safe_load((ROOT / "docs/openapi.yaml").read_text())


@dataclass
class Example:
    """A documented request, and its documented responses: the example, or None, by status."""

    operation: object
    name: str | None
    values: dict
    body: dict
    responses: dict

    def __str__(self):
        return "-".join(filter(None, [self.operation.definition.raw["operationId"], self.name, self.body.get("media_type")]))


def request_examples():
    """Each documented request, with its documented responses."""
    for result in schemathesis.openapi.from_dict(DOCUMENT).get_all_operations():
        operation = result.ok()
        definition = operation.definition.raw
        item = DOCUMENT["paths"][operation.path]
        parameters = [resolved(node) for node in item.get("parameters", []) + definition.get("parameters", [])]
        contents = definition.get("requestBody", {}).get("content", {})
        names = {name: None for part in [*parameters, *contents.values()] for name in part.get("examples", {})}
        for name in names or [None]:
            values = {"path": {}, "query": {}, "header": {}}
            for parameter in parameters:
                if (value := example_value(parameter, name)) is not None:
                    values[parameter["in"]][parameter["name"]] = value
            for body in bodies(contents, name):
                yield Example(operation, name, values, body, responses(definition, name))


def bodies(contents: dict, name) -> list:
    """The bodies with this name, or the first body if only a parameter has the name."""
    named = [(media, content["examples"][name]) for media, content in contents.items() if name in content["examples"]]
    first = [(media, next(iter(content["examples"].values()))) for media, content in contents.items()][:1]
    return [{"media_type": media, "body": body["value"]} for media, body in named or first] or [{}]


def responses(definition: dict, name) -> dict:
    """The successful responses, or only those that have an example with this name if any do."""
    found = {}
    for status, response in definition["responses"].items():
        if status.startswith("2"):
            found[int(status)] = resolved(response).get("content", {}).get("application/json", {}).get("examples", {})
    named = {status: examples for status, examples in found.items() if name in examples}
    return {status: example_value({"examples": examples}, name) for status, examples in (named or found).items()}


def example_value(part: dict, name):
    """The example with this name, or else the single `example`, or else the only one of `examples`."""
    named = part.get("examples", {})
    if name in named:
        return named[name]["value"]
    return part.get("example", next(iter(named.values()))["value"] if len(named) == 1 and name is None else None)


def resolved(node: dict) -> dict:
    """The node that a `$ref` points to, or the node itself."""
    while "$ref" in node:
        pointer, node = node["$ref"], DOCUMENT
        for step in pointer.removeprefix("#/").split("/"):
            node = node[step]
    return node


def schemas_with_examples(node=DOCUMENT, pointer=""):
    """The JSON Pointer of each schema, with its examples."""
    children = enumerate(node) if isinstance(node, list) else node.items() if isinstance(node, dict) else []
    if isinstance(node, dict) and "schema" in node:
        values = [example["value"] for example in node.get("examples", {}).values()]
        yield f"{pointer}/schema", values + ([node["example"]] if "example" in node else [])
    for name, child in children:
        yield from schemas_with_examples(child, f"{pointer}/{str(name).replace('~', '~0').replace('/', '~1')}")


def assert_same_shape(example, actual):
    """Asserts that the actual value has every member of the example, with the same type. In lists, only the first
    elements are compared."""
    if isinstance(example, dict):
        assert example.keys() <= actual.keys(), (example, actual)
        for name, value in example.items():
            assert_same_shape(value, actual[name])
    elif isinstance(example, list):
        for value, other in list(zip(example, actual))[:1]:
            assert_same_shape(value, other)
    elif example is not None and actual is not None:
        assert type(example) is type(actual), (example, actual)
