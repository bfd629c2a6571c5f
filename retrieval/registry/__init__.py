"""What exists and what shall be served: versions, builds, deployments, hosts, and who changed them when."""

from retrieval.registry.config import RegistryConfig
from retrieval.registry.database import DatabaseUpgrade, upgrade_database
from retrieval.registry.registry import Registry
from retrieval.registry.rows import AuditRow, BuildRow, DeploymentRow, HostRow, VersionRow, utc_now

__all__ = [
    "AuditRow",
    "BuildRow",
    "DatabaseUpgrade",
    "DeploymentRow",
    "HostRow",
    "Registry",
    "RegistryConfig",
    "VersionRow",
    "upgrade_database",
    "utc_now",
]
