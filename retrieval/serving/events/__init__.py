"""The event service: records what users do in the event log and in their histories."""
