"""A stand-in for Argo Workflows 4, for Jobs of Kubernetes, and for PipelineRuns of Tekton: no registry of packages has
their servers. It is a process of its own that keeps its objects in files, so that it can be killed and started again.

All answers were read in sources, at the commits below; none was recorded from a running cluster, except the body of the
quota's conflict, which is quoted in kubernetes/kubernetes#67761.

Kubernetes (kubernetes/kubernetes):

- a second create is a 409 `AlreadyExists`, also after the end; the texts of errors: `apimachinery/pkg/api/errors/errors.go`,
  `apiserver/pkg/registry/rest/create.go`
- a quota that changes meanwhile is a 409 `Conflict` (#67761); an exhausted one is a 403, also if the name exists (#106842)
- names of at most 63 characters, values of labels, 256 KiB of annotations: `pkg/apis/batch/validation`,
  `apimachinery/pkg/api/validation`
- a file of the downward API has the bytes of the annotation: `pkg/fieldpath/fieldpath.go`

Argo (argoproj/argo-workflows f016ad8):

- an error is `{"error", "code", "message"}`, with the status that belongs to the code: `server/utils/errors.go`, and
  `runtime/errors.go` of grpc-gateway 1.16
- create: the template has to exist, names have at most 63 characters, params that it doesn't declare are taken:
  `server/workflow/workflow_server.go`, `workflow/validate/validate.go`, `workflow/util/merge.go`
- get asks the cluster, and has the members that `fields` names; a list is a cache that lags: `server/workflow`,
  `util/fields/fields.go`
- `set`: each way in which it is a 500, and first wins: `updateSuspendedNode` in `workflow/util/util.go`
- a suspended node, its outputs, the states of nodes: `executeSuspend` in `workflow/controller/operator.go`
- `{{…}}` in the values of params is replaced, twice, and `{{=…}}` is evaluated; the replacement writes escapes of Go:
  `workflow/controller/operator.go`, `workflow/common/util.go`, `util/template`
- no token is a 401, no right a 403; a path outside of `/api/` is the UI: `server/auth/gatekeeper.go`, `server/static/static.go`

Tekton (tektoncd/pipeline 3ee1745):

- a PipelineRun is created whether or not its Pipeline exists: `pkg/reconciler/pipelinerun/pipelinerun.go`
- `$(…)` in the values of params is replaced: `pkg/substitution/replacements.go`
- results of tasks in a param are denied: `pkg/apis/pipeline/v1/pipelinerun_validation.go`

What the containers got is at `/stand-in/logs/{name}`, in place of the logs of pods. `PUT /stand-in/answer` sets answers to the
next requests, for the tests of answers that take a real cluster in trouble.
"""

import http.server
import json
import os
import pathlib
import re
import sys
import threading
import time
import urllib.parse
import uuid

from http_handler import AnyMethod

NAMESPACE, TOKEN, POWERLESS = "ci", "t0ken", "p0werless"

# Of the API server, in bytes: the largest body, and the largest object of etcd.
MAX_BODY, MAX_OBJECT = 3 * 1024 * 1024, 1_572_864

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")

# The templates of workflows: those with a suspended node have its name. The step continues on failure (`continueOn`).
TEMPLATES = {"record": None, "wait": "approval"}


class Failure(Exception):
    """An error of the API server, as its `Status`."""

    def __init__(self, code: int, reason: str, message: str, **details):
        super().__init__(message)
        self.code, self.message = code, message
        self.status = {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason,
            "details": details, "code": code,
        }


def check_numbers(spec: dict, *names: str):
    """The decoder of the API refuses a text for a number."""
    for name in names:
        if not isinstance(spec.get(name, 0), int):
            raise Failure(400, "BadRequest", f"json: cannot unmarshal string into Go struct field .{name} of type int32")


class Store:
    """Objects of one kind in files. A file is written as a whole before an answer says so."""

    def __init__(self, directory: pathlib.Path, kind: str, plural: str, group: str):
        self.directory, self.kind, self.plural, self.group = directory / plural, kind, plural, group
        self.logs, self.lock = directory / "logs", threading.RLock()
        self.directory.mkdir(parents=True, exist_ok=True)

    def named(self, name: str) -> str:
        return f'{self.plural}.{self.group} "{name}"'

    def get(self, name: str) -> dict:
        try:
            return json.loads((self.directory / name).read_text())
        except OSError:
            details = {"name": name, "group": self.group, "kind": self.plural}
            raise Failure(404, "NotFound", f"{self.named(name)} not found", **details) from None

    def create(self, thing: dict) -> dict:
        metadata = thing.setdefault("metadata", {})
        self.check(metadata)
        name = metadata["name"]
        metadata |= {"namespace": NAMESPACE, "uid": str(uuid.uuid4()), "resourceVersion": "1", "creationTimestamp": now()}
        with self.lock:
            if (self.directory / name).exists():
                details = {"name": name, "group": self.group, "kind": self.plural}
                raise Failure(409, "AlreadyExists", f"{self.named(name)} already exists", **details)
            return self.write(thing)

    def check(self, metadata: dict):
        name = metadata.get("name", "")
        if not DNS_LABEL.fullmatch(name) or len(name) > 63:
            raise Failure(422, "Invalid", f"{self.kind}.{self.group} {json.dumps(name)} is invalid: metadata.name: Invalid value")
        for value in metadata.get("labels", {}).values():
            if not LABEL_VALUE.fullmatch(value) or len(value) > 63:
                raise Failure(422, "Invalid", f'{self.kind}.{self.group} "{name}" is invalid: metadata.labels: Invalid value')

    def keep_log(self, name: str, text: str):
        self.logs.mkdir(exist_ok=True)
        (self.logs / name).write_bytes(text.encode())

    def log(self, name: str) -> str:
        try:
            return (self.logs / name).read_bytes().decode()
        except OSError:
            raise Failure(404, "NotFound", "no logs") from None

    def write(self, thing: dict) -> dict:
        text = json.dumps(thing)
        if len(text) > MAX_OBJECT:
            raise Failure(500, "", "etcdserver: request is too large")
        temporary = self.directory / f".{uuid.uuid4().hex}"
        temporary.write_text(text)
        os.replace(temporary, self.directory / thing["metadata"]["name"])
        return thing

    def all(self) -> list[dict]:
        return [self.get(path.name) for path in sorted(self.directory.iterdir()) if not path.name.startswith(".")]


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def go_quoted(text: str) -> str:
    """`strconv.Quote` of Go without the quotes. Its escapes `\\a`, `\\v`, `\\x` and `\\U` aren't JSON's."""
    named = {'"': '\\"', "\\": "\\\\", "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}

    def quoted(char: str) -> str:
        code = ord(char)
        if char in named or char.isprintable():
            return named.get(char, char)
        return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

    return "".join(map(quoted, text))


def argo_replaced(text: str, values: dict) -> str:
    """The JSON text with `{{name}}` replaced, and with sums in `{{=…}}` evaluated."""

    def replaced(found: re.Match) -> str:
        tag = found[1].strip()
        if total := re.fullmatch(r"=\s*(\d+)\s*\+\s*(\d+)", tag):
            return str(int(total[1]) + int(total[2]))
        return go_quoted(values[tag]) if tag in values else found[0]

    result = re.sub(r"\{\{(.*?)\}\}", replaced, text, flags=re.DOTALL)
    json.loads(result)
    return result


def params(spec: dict) -> dict:
    listed = spec.get("arguments", spec).get("parameters" if "arguments" in spec else "params", [])
    return {param["name"]: param["value"] for param in listed}


def cleaned(thing: dict, fields: str, path="") -> dict:
    """The members that `fields` names, as `Cleaner` leaves them."""
    names = [name for name in fields.split(",") if name]

    def of_member(name: str, value):
        place = f"{path}{name}"
        return value if place in names or not isinstance(value, dict) else cleaned(value, fields, f"{place}.")

    return {
        name: of_member(name, value)
        for name, value in thing.items()
        if not names or any(known.startswith(f"{path}{name}") for known in names)
    }


class Workflows:
    """Argo's server and its controller."""

    def __init__(self, directory: pathlib.Path):
        self.objects = Store(directory, "Workflow", "workflows", "argoproj.io")

    def route(self, method: str, path: str, query: dict, body: dict):
        found = re.fullmatch(r"/api/v1/workflows/([^/]+)(?:/([^/]+))?(/set)?", path)
        if not found:
            return 404, "Not Found\n"
        namespace, name, is_set = found.groups()
        if method == "POST" and not name:
            return 200, self.create(namespace, body.get("workflow"))
        if method == "GET":
            return 200, cleaned(self.objects.get(name), query.get("fields", "")) if name else self.listed(query)
        if method == "PUT" and is_set:
            return 200, self.set(name, body)
        return 501, {"error": "Not Implemented", "code": 12, "message": "Not Implemented"}

    def listed(self, query: dict) -> dict:
        """All workflows. With a selector, those of the cache, which lags."""
        items = self.objects.all()
        if selector := query.get("listOptions.labelSelector"):
            label = tuple(selector.split("=", 1))
            old = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 2))
            metadata = [(item, item["metadata"]) for item in items]
            items = [item for item, of in metadata if label in of.get("labels", {}).items() and of["creationTimestamp"] < old]
        return {"metadata": {}, "items": items or None}

    def create(self, namespace: str, workflow: dict | None) -> dict:
        if workflow is None:
            raise Failure(400, "BadRequest", "workflow body not specified")
        template = workflow["spec"]["workflowTemplateRef"]["name"]
        if template not in TEMPLATES or namespace != NAMESPACE:
            raise Failure(404, "NotFound", f'workflowtemplates.argoproj.io "{template}" not found')
        if "data" not in params(workflow["spec"]):
            raise Failure(400, "BadRequest", "spec.arguments.data.value or spec.arguments.data.valueFrom is required")
        check_numbers(workflow["spec"].get("ttlStrategy", {}), "secondsAfterCompletion")
        workflow["status"] = {"startedAt": None, "finishedAt": None}
        return self.objects.create(workflow)

    def set(self, name: str, body: dict) -> dict:
        """`SetWorkflow`: the suspended nodes that the selector matches get a phase, a message and outputs."""
        with self.objects.lock:
            workflow = self.objects.get(name)
            outputs = json.loads(body.get("outputParameters") or "{}")
            if not all(isinstance(value, str) for value in outputs.values()):
                raise Failure(400, "BadRequest", "unable to parse output parameter set request: json: cannot unmarshal")
            field, _, value = body["nodeFieldSelector"].partition("=")
            nodes = workflow["status"].get("nodes", {}).values()
            waiting = [node for node in nodes if node["type"] == "Suspend" and node["phase"] == "Running"]
            active = [node for node in waiting if node.get(field) == value]
            if not active:
                message = "currently, set only targets suspend nodes: no suspend nodes matching nodeFieldSelector: "
                raise Failure(500, "", f"{message}{field}={value}")
            for node in active:
                node["phase"], node["message"] = body["phase"], body.get("message", "")
                self.set_outputs(node, outputs)
            return self.objects.write(workflow)

    def set_outputs(self, node: dict, outputs: dict):
        declared = {param["name"]: param for param in node["outputs"]["parameters"]}
        for name, value in outputs.items():
            if name not in declared:
                raise Failure(500, "", f"node is not expecting output parameter '{name}'")
            declared[name]["value"] = value
            declared[name].pop("valueFrom", None)

    def step(self, workflow: dict) -> bool:
        """One reconciliation. Returns whether the workflow has changed."""
        status, waits = workflow["status"], TEMPLATES[workflow["spec"]["workflowTemplateRef"]["name"]]
        nodes = status.setdefault("nodes", {})
        phase = status.get("phase", "")
        if not phase:
            status["phase"], status["startedAt"] = "Running", now()
        elif phase == "Running" and "record" not in nodes:
            self.record(workflow)
        elif phase == "Running" and waits and waits not in nodes:
            outputs = {"parameters": [{"name": "data", "valueFrom": {"supplied": {}}}]}
            nodes[waits] = {"id": waits, "displayName": waits, "type": "Suspend", "phase": "Running", "outputs": outputs}
        elif phase == "Running" and (not waits or nodes[waits]["phase"] in ("Succeeded", "Failed")):
            status["phase"], status["finishedAt"] = "Succeeded", now()
        else:
            return False
        return True

    def record(self, workflow: dict):
        """Runs a container whose environment has the param `data`."""
        name = workflow["metadata"]["name"]
        values = {"workflow.name": name, "workflow.namespace": NAMESPACE, "workflow.serviceAccountName": "default"}
        node = {"id": "record", "displayName": "record", "type": "Pod", "phase": "Succeeded"}
        try:
            spec = json.loads(argo_replaced(json.dumps(workflow["spec"], ensure_ascii=False), values))
            values |= {f"workflow.parameters.{key}": value for key, value in params(spec).items()}
            template = json.dumps({"env": [{"name": "DATA", "value": "{{workflow.parameters.data}}"}]})
            template = argo_replaced(argo_replaced(template, values), values)
            self.objects.keep_log(name, json.loads(template)["env"][0]["value"])
        except ValueError:
            node["phase"], workflow["status"]["phase"] = "Error", "Error"
            workflow["status"]["message"] = "cannot finish template replacement because the result was invalid JSON"
        workflow["status"]["nodes"]["record"] = node

    def log(self, name: str) -> str:
        return self.objects.log(name)

    @staticmethod
    def error(failure: Failure):
        codes = {400: 3, 401: 16, 403: 7, 404: 5, 409: 6, 422: 3, 429: 8, 503: 14, 504: 4}
        status = 400 if failure.code == 422 else failure.code
        return status, {"error": failure.message, "code": codes.get(failure.code, 13), "message": failure.message}


class Api:
    """Jobs or PipelineRuns at the API server."""

    def __init__(self, directory: pathlib.Path, kind: str, plural: str, group: str):
        self.objects = Store(directory, kind, plural, group)
        self.path = f"/apis/{group}/v1/namespaces/([^/]+)/{plural}(?:/([^/]+))?"

    def route(self, method: str, path: str, _query: dict, body: dict):
        found = re.fullmatch(self.path, path)
        if not found:
            raise Failure(404, "NotFound", "the server could not find the requested resource")
        namespace, name = found.groups()
        if method == "POST" and not name:
            if namespace != NAMESPACE:
                raise Failure(404, "NotFound", f'namespaces "{namespace}" not found', name=namespace, kind="namespaces")
            self.check(body)
            body["status"] = {}
            return 201, self.objects.create(body)
        if method == "GET":
            return 200, self.objects.get(name) if name else {"kind": f"{self.objects.kind}List", "items": self.objects.all()}
        raise Failure(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")

    @staticmethod
    def error(failure: Failure):
        return failure.code, failure.status


class Jobs(Api):
    def __init__(self, directory: pathlib.Path):
        super().__init__(directory, "Job", "jobs", "batch")

    def check(self, job: dict):
        check_numbers(job["spec"], "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished")
        pod = job["spec"]["template"]
        self.objects.check(pod["metadata"] | {"name": "pod"})
        annotations = pod["metadata"].get("annotations", {})
        size = sum(len(key) + len(value.encode()) for key, value in annotations.items())
        if size > 256 * 1024 or pod["spec"].get("restartPolicy") not in ("Never", "OnFailure"):
            raise Failure(422, "Invalid", "Job.batch is invalid: spec.template: Too long: may not be more than 262144 bytes")

    def step(self, job: dict) -> bool:
        if job["status"].get("succeeded"):
            return False
        done = {"succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]}
        job["status"] = done if job["status"] else {"active": 1}
        return True

    def log(self, name: str) -> str:
        """The file `data.json` of the downward API, as its volume says."""
        pod = self.objects.get(name)["spec"]["template"]
        [items] = [volume["downwardAPI"]["items"] for volume in pod["spec"]["volumes"]]
        [field] = [item["fieldRef"]["fieldPath"] for item in items if item["path"] == "data.json"]
        return pod["metadata"]["annotations"][re.fullmatch(r"metadata\.annotations\['(.+)'\]", field)[1]]


class PipelineRuns(Api):
    def __init__(self, directory: pathlib.Path):
        super().__init__(directory, "PipelineRun", "pipelineruns", "tekton.dev")

    def check(self, run: dict):
        """The admission webhook. It isn't asked whether the Pipeline exists."""
        if any("$(tasks." in value for value in params(run["spec"]).values()):
            message = "invalid value: cannot use result expressions in as PipelineRun parameter values: spec.params[data].value"
            webhook = 'admission webhook "validation.webhook.pipeline.tekton.dev" denied the request: validation failed: '
            raise Failure(400, "BadRequest", webhook + message)

    def step(self, run: dict) -> bool:
        if run["status"].get("conditions", [{}])[0].get("status") in ("True", "False"):
            return False
        name = run["spec"]["pipelineRef"]["name"]
        done = ["True", "Succeeded"] if name in TEMPLATES else ["False", "CouldntGetPipeline"]
        status, reason = done if run["status"] else ("Unknown", "Started")
        run["status"] = {"conditions": [{"type": "Succeeded", "status": status, "reason": reason}]}
        return True

    def log(self, name: str) -> str:
        """What a step prints whose script has `$(params.data)`: replaced in one pass, then the contexts in another."""
        run = self.objects.get(name)
        values = {f"params.{key}": value for key, value in params(run["spec"]).items()}
        contexts = {"context.pipelineRun.name": name, "context.pipelineRun.namespace": NAMESPACE}
        seen = "$(params.data)"
        for known in (values, contexts):
            seen = re.sub(r"\$\(([^)]*)\)", lambda found, known=known: known.get(found[1], found[0]), seen)
        return seen


class Controller(threading.Thread):
    """Reconciles all objects over and over. A workflow takes a few rounds, so that callbacks come before its node."""

    def __init__(self, api):
        super().__init__(daemon=True)
        self.api, self.ended = api, set()

    def run(self):
        while True:
            objects = self.api.objects
            for path in list(objects.directory.iterdir()):
                if not path.name.startswith(".") and path.name not in self.ended:
                    self.reconcile(path.name)
            time.sleep(0.05)

    def reconcile(self, name: str):
        objects = self.api.objects
        with objects.lock:
            thing = objects.get(name)
            if self.api.step(thing):
                objects.write(thing)
            elif "nodes" not in thing["status"] or thing["status"].get("phase") in ("Succeeded", "Failed", "Error"):
                self.ended.add(name)


class Handler(AnyMethod):
    def handle_any(self):
        size = int(self.headers.get("content-length", 0))
        body = self.rfile.read(size)
        url = urllib.parse.urlsplit(self.path)
        path, query = urllib.parse.unquote(url.path), dict(urllib.parse.parse_qsl(url.query))
        api = self.server.api
        try:
            if path.startswith("/stand-in/"):
                status, answer = self.stand_in(path, body)
            elif isinstance(api, Workflows) and not path.startswith("/api/"):
                status, answer = 200, "<!doctype html><title>Argo</title>"
            else:
                status, answer = self.asked(api, path, query, body)
        except Failure as failure:
            status, answer = api.error(failure)
        self.answer(status, answer)

    def asked(self, api, path: str, query: dict, body: bytes):
        answer = self.server.next_answer(f"{self.command} {path}")
        if answer and not answer["acts"]:
            return answer["status"], answer["body"]
        self.authorize(api)
        if len(body) > MAX_BODY:
            raise Failure(413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728")
        done = api.route(self.command, path, query, json.loads(body or b"{}"))
        return (answer["status"], answer["body"]) if answer else done

    def authorize(self, api):
        token = self.headers.get("authorization", "").removeprefix("Bearer ")
        if token == POWERLESS:
            user = f"system:serviceaccount:{NAMESPACE}:powerless"
            message = f'{api.objects.plural}.{api.objects.group} is forbidden: User "{user}" cannot create resource'
            raise Failure(403, "Forbidden", message)
        if token != TOKEN:
            raise Failure(401, "Unauthorized", "Unauthorized")

    def stand_in(self, path: str, body: bytes):
        if path == "/stand-in/answer":
            self.server.answers.append(json.loads(body))
            return 200, {}
        return 200, self.server.api.log(path.removeprefix("/stand-in/logs/"))

    def answer(self, status: int, answer):
        is_text = isinstance(answer, str)
        body = (answer if is_text else json.dumps(answer)).encode()
        content_type = ("text/html" if answer[:1] == "<" else "text/plain") if is_text else "application/json"
        headers = [("Content-Type", content_type)] + ([("Retry-After", "1")] if status == 429 else [])
        self.respond(status, headers, body)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads, request_queue_size = True, 64

    def __init__(self, port: int, api):
        super().__init__(("127.0.0.1", port), Handler)
        self.api, self.answers, self.lock = api, [], threading.Lock()
        Controller(api).start()

    def next_answer(self, operation: str) -> dict | None:
        """The next answer that was set for an operation: `{"operation", "status", "body", "acts"}`."""
        with self.lock:
            for answer in self.answers:
                if re.search(answer["operation"], operation):
                    self.answers.remove(answer)
                    return answer
        return None


if __name__ == "__main__":
    kind, port, directory = sys.argv[1:]
    api = {"workflows": Workflows, "jobs": Jobs, "pipelineruns": PipelineRuns}[kind]
    Server(int(port), api(pathlib.Path(directory))).serve_forever()
