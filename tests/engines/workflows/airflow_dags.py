"""Two DAGs, which write what they saw to the directory `RECORDS`: `<run>.input`, and `<run>.outcome` for the answer."""

import datetime
import json
import os
import pathlib

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import DAG, get_current_context, task

# A task that can't reach the API server fails.
RETRIES = {"retries": 5, "retry_delay": datetime.timedelta(seconds=1)}

STATUS = {"Approve": "succeeded", "Reject": "failed"}


def write(name: str, value):
    file = pathlib.Path(os.environ["RECORDS"], f"{get_current_context()['dag_run'].run_id}.{name}")
    file.with_suffix(".part").write_text(json.dumps(value))
    file.with_suffix(".part").rename(file)


@task
def record():
    write("input", get_current_context()["dag_run"].conf)


@task
def after():
    answer = get_current_context()["ti"].xcom_pull(task_ids="approval")
    payload = json.loads(answer["params_input"].get("payload", "null"))
    write("outcome", [{"status": STATUS[answer["chosen_options"][0]], "data": payload}])


with DAG("record", schedule=None, default_args=RETRIES):
    record()

# The task's id is the topic. `ApprovalOperator` has the same options, but a `Reject` skips the tasks behind it.
with DAG("wait", schedule=None, default_args=RETRIES):
    approval = HITLOperator(task_id="approval", subject="Deploy?", options=list(STATUS), retries=0)
    record() >> approval >> after()
