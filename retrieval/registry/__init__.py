"""What exists and what shall be served: versions, builds, deployments, hosts, and who changed them when."""

from retrieval.registry.config import RegistryConfig
from retrieval.registry.registry import Registry
from retrieval.registry.rows import AuditRow, BuildRow, DeploymentRow, HostRow, VersionRow, utc_now

__all__ = [
    "AuditRow",
    "BuildRow",
    "DeploymentRow",
    "HostRow",
    "Registry",
    "RegistryConfig",
    "VersionRow",
    "utc_now",
]
