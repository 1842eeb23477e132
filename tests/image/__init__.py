"""deploy/Dockerfile, built and tried: by a container engine, or in folders where there is none."""
