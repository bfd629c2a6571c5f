"""Settings of `[retrain]`."""

from __future__ import annotations

from pydantic import Field, field_validator, model_validator

from retrieval.config import Section


class RetrainConfig(Section):
    """The retraining chain: what it does by itself, and when. Its gates are in `[gates]`."""

    warm_start: bool = Field(
        False,
        description="Training begins with the weights of the version that is live, where the settings of both are "
        "alike; else from scratch.",
    )
    warm_epochs: int | None = Field(
        None, ge=1, description="Epochs of a training that began warm; training.epochs when left out."
    )
    gates: bool = Field(True, description="Gates are asked, and what one refuses does not go live.")
    deploy: bool = Field(True, description="What passed is rolled out to the hosts; else the chain ends before that.")
    window_hours: float = Field(
        24.0, gt=0, description="The newest so many hours of events are compared with those before them."
    )
    slice_targets: int = Field(
        200, ge=1, description="A slice of the test targets is compared with the live version from so many targets on."
    )
    shadow_requests: int = Field(
        500,
        ge=1,
        le=100_000,
        description="Before a build is rolled out, at most so many targets and recent requests are asked of services "
        "that nobody else knows of.",
    )
    keep_logs: int = Field(
        2, ge=1, le=1000, description="Built histories of the newest so many states of the log stay; older ones go."
    )

    cron: str = Field(
        "",
        description="When `retrieval retrain schedule` retrains, as a cron line: minute, hour, day of the month, "
        "month, day of the week by name, as in `30 */6 * * mon-fri`.",
    )
    every: str = Field(
        "", description="Or how often, as `6h` or `90m`: at the multiples of that since midnight of 1970-01-01, UTC."
    )
    timezone: str = Field("UTC", description="Time zone of `cron`, as Europe/Berlin.")
    attempts: int = Field(
        5,
        ge=1,
        le=100,
        description="How often a scheduled job is begun before it has failed, where its process dies, or what stands "
        "in its way (a host or a store that is away, a deployment by hand) does not pass.",
    )
    lease_s: float = Field(
        30.0,
        ge=0.5,
        le=3600.0,
        description="Of several schedulers one leads; another takes over once it has not been heard of for so long.",
    )
    keep_jobs: int = Field(
        1000, ge=1, le=1_000_000, description="The newest so many jobs that have ended stay in the registry, with logs."
    )

    @field_validator("every")
    @classmethod
    def _is_a_length_of_time(cls, every: str) -> str:
        if every:
            from retrieval.workflows.jobs.triggers import interval_trigger

            interval_trigger(every)
        return every

    @model_validator(mode="after")
    def _is_one_schedule(self) -> RetrainConfig:
        from retrieval.workflows.jobs.triggers import check_cron

        if self.cron and self.every:
            raise ValueError("cron and every: one of them says when")
        check_cron(self.cron, self.timezone)
        return self
