"""Roll-out, roll-back and collection: which build the hosts serve, and which artifacts may go."""

from retrieval.rollout.config import RolloutConfig
from retrieval.rollout.deploy import DeploymentReport, deploy, rollback, rollback_target
from retrieval.rollout.hosts import AnnHostControl, HostChange

__all__ = [
    "AnnHostControl",
    "DeploymentReport",
    "HostChange",
    "RolloutConfig",
    "deploy",
    "rollback",
    "rollback_target",
]
