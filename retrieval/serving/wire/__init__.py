"""Between plain data and gRPC: messages, filters, statuses, clients, and what every server starts with."""
