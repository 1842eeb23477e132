"""deploy/Dockerfile, carried out in folders: for a machine without a container engine."""
