"""The Python face: workspaces, versions, builds, retrievers and clients. `import retrieval` gives its names."""
