"""The ANN host: one shard of one build, searched over gRPC, and exchanged for another without a gap."""
