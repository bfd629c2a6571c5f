"""What exists and what shall be served: versions, builds, deployments, hosts; scheduled work; who changed what when."""

from typing import TYPE_CHECKING

from retrieval.lazy import lazy_names

if TYPE_CHECKING:
    from retrieval.registry.config import RegistryConfig
    from retrieval.registry.database import DatabaseUpgrade, upgrade_database
    from retrieval.registry.job_rows import AlertRow, JobProgress, JobRow, LeaseRow, ScheduleRow
    from retrieval.registry.registry import Registry
    from retrieval.registry.rows import (
        AuditRow,
        BuildRow,
        DeploymentRow,
        GateRow,
        HostRow,
        RetrainRow,
        StepRow,
        VersionRow,
        utc_now,
    )

__all__ = [
    "AlertRow",
    "AuditRow",
    "BuildRow",
    "DatabaseUpgrade",
    "DeploymentRow",
    "GateRow",
    "HostRow",
    "JobProgress",
    "JobRow",
    "LeaseRow",
    "Registry",
    "RegistryConfig",
    "RetrainRow",
    "ScheduleRow",
    "StepRow",
    "VersionRow",
    "upgrade_database",
    "utc_now",
]

__getattr__ = lazy_names(
    __name__,
    {
        "retrieval.registry.config": ("RegistryConfig",),
        "retrieval.registry.database": ("DatabaseUpgrade", "upgrade_database"),
        "retrieval.registry.job_rows": ("AlertRow", "JobProgress", "JobRow", "LeaseRow", "ScheduleRow"),
        "retrieval.registry.registry": ("Registry",),
        "retrieval.registry.rows": (
            "AuditRow",
            "BuildRow",
            "DeploymentRow",
            "GateRow",
            "HostRow",
            "RetrainRow",
            "StepRow",
            "VersionRow",
            "utc_now",
        ),
    },
)
