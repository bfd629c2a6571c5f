"""The retraining chain as an Airflow 3 DAG: one task, since the chain itself goes on at the step that was missing.

The moment of the run is the end of its interval, so that a run that is cleared, or filled in later, reads the log as it
was then. What a gate refused is refused again at once when the task is tried again: nothing is trained twice.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

with DAG(
    dag_id="retrieval_retrain",
    schedule="0 * * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,  # a later run takes in what an earlier one would have
    max_active_runs=1,
    tags=["retrieval"],
) as dag:
    BashOperator(
        task_id="retrain",
        bash_command="retrieval retrain run --as-of '{{ data_interval_end.isoformat() }}' --workspace /srv/retrieval",
        append_env=True,  # RETRIEVAL_REGISTRY__URL and what else the worker's environment sets
        retries=3,
        retry_delay=timedelta(minutes=5),
        retry_exponential_backoff=True,
        execution_timeout=timedelta(hours=6),
    )
