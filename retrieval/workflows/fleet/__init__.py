"""Operating what serves a workspace: user store, services, the local fleet, deployments, queries, status."""
