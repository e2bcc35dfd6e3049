"""The examples of docs/openapi.yaml. What has one name in a request and in an answer belongs together; parameters with an
`example` are a part of each request."""

from dataclasses import dataclass

import schemathesis
import yaml

from conftest import ROOT

DOCUMENT = yaml.safe_load((ROOT / "docs/openapi.yaml").read_text())


@dataclass
class Shown:
    """A request that is shown, and the answers that are meant: by their status, the example, if there is one."""

    operation: object
    name: str | None
    values: dict
    body: dict
    answers: dict

    def __str__(self):
        return "-".join(filter(None, [self.operation.definition.raw["operationId"], self.name, self.body.get("media_type")]))


def shown():
    for result in schemathesis.openapi.from_dict(DOCUMENT).get_all_operations():
        operation = result.ok()
        definition = operation.definition.raw
        item = DOCUMENT["paths"][operation.path]
        parameters = [resolved(it) for it in item.get("parameters", []) + definition.get("parameters", [])]
        contents = definition.get("requestBody", {}).get("content", {})
        names = {name: None for part in [*parameters, *contents.values()] for name in part.get("examples", {})}
        for name in names or [None]:
            values = {"path": {}, "query": {}, "header": {}}
            for parameter in parameters:
                if (value := example(parameter, name)) is not None:
                    values[parameter["in"]][parameter["name"]] = value
            for body in bodies(contents, name):
                yield Shown(operation, name, values, body, answers(definition, name))


def bodies(contents: dict, name) -> list:
    """Those of this name; where a parameter alone makes the difference, the first that there is."""
    named = [(media, content["examples"][name]) for media, content in contents.items() if name in content["examples"]]
    first = [(media, next(iter(content["examples"].values()))) for media, content in contents.items()][:1]
    return [{"media_type": media, "body": body["value"]} for media, body in named or first] or [{}]


def answers(definition: dict, name) -> dict:
    """The successes; only those with an example of this name, if one has it."""
    found = {}
    for status, response in definition["responses"].items():
        if status.startswith("2"):
            found[int(status)] = resolved(response).get("content", {}).get("application/json", {}).get("examples", {})
    named = {status: examples for status, examples in found.items() if name in examples}
    return {status: example({"examples": examples}, name) for status, examples in (named or found).items()}


def example(part: dict, name):
    """The example of this name, else the one that is always meant, else the only one."""
    named = part.get("examples", {})
    if name in named:
        return named[name]["value"]
    return part.get("example", next(iter(named.values()))["value"] if len(named) == 1 and name is None else None)


def resolved(node: dict) -> dict:
    while "$ref" in node:
        pointer, node = node["$ref"], DOCUMENT
        for step in pointer.removeprefix("#/").split("/"):
            node = node[step]
    return node


def with_examples(node=DOCUMENT, pointer=""):
    """Each schema that has examples beside it, by its JSON Pointer, and these."""
    children = enumerate(node) if isinstance(node, list) else node.items() if isinstance(node, dict) else []
    if isinstance(node, dict) and "schema" in node:
        values = [it["value"] for it in node.get("examples", {}).values()]
        yield f"{pointer}/schema", values + ([node["example"]] if "example" in node else [])
    for name, child in children:
        yield from with_examples(child, f"{pointer}/{str(name).replace('~', '~0').replace('/', '~1')}")


def assert_like(shown, got):
    """The answer has each member that the example has; of a list the first."""
    if isinstance(shown, dict):
        assert shown.keys() <= got.keys(), (shown, got)
        for name, value in shown.items():
            assert_like(value, got[name])
    elif isinstance(shown, list):
        for value, other in list(zip(shown, got))[:1]:
            assert_like(value, other)
    elif shown is not None and got is not None:
        assert type(shown) is type(got), (shown, got)
