# One file, three images of the same code: `service`, `job` (consumers, flows, the platform's own processes), `invoker`.
#
#   commit=$(git rev-parse HEAD)
#   docker build --target service --build-arg COMMIT=$commit -t "$(mlops image ref service)" .
#
# No image holds a model or a secret: models come from the registry when a service starts, variables from the environment.
# Images are named by commit, never by time: the same commit is the same release. Give a digest to pin the base too.
ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim

# The same for every commit, and so built once for a lock: nothing here may depend on COMMIT.
FROM ${PYTHON_IMAGE} AS dependencies
COPY requirements/image.txt /tmp/image.txt
# Every package is checked against its hash. Modules are compiled here, because a pod's root is read-only.
RUN python -m venv /opt/venv \
 && /opt/venv/bin/python -m pip install --no-cache-dir --no-deps --require-hashes -r /tmp/image.txt

# Upon it, and no copy of it: to copy a gigabyte, or only to see that it is the same, takes longer than all the rest.
FROM dependencies AS code
ARG COMMIT
# Without a commit nobody could say what runs.
RUN test -n "${COMMIT}" \
 && echo "mlops:x:10001:10001::/tmp:/usr/sbin/nologin" >> /etc/passwd \
 && echo "mlops:x:10001:" >> /etc/group \
 && mkdir -p /var/lib/mlops && chown 10001:10001 /var/lib/mlops
WORKDIR /app
COPY pyproject.toml Pulumi.yaml ./
COPY requirements requirements
COPY stacks stacks
COPY infra infra
COPY mlops_sdk mlops_sdk
COPY pipelines pipelines
RUN printf '#!/bin/sh\nexec /opt/venv/bin/python -P -m mlops_sdk.cli "$@"\n' > /opt/venv/bin/mlops \
 && chmod 755 /opt/venv/bin/mlops && /opt/venv/bin/python -m compileall -q /app
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin PYTHONPATH=/app PYTHONUNBUFFERED=1 HOME=/tmp
LABEL org.opencontainers.image.revision="${COMMIT}" org.opencontainers.image.title="mlops-sdk"
USER 10001:10001

FROM code AS service
LABEL dev.mlops.target="service"
EXPOSE 8000
CMD ["python", "-P", "-m", "mlops_sdk.serving.run"]

FROM code AS job
LABEL dev.mlops.target="job"
CMD ["python", "-P", "-m", "mlops_sdk.cli", "--help"]

FROM code AS invoker
LABEL dev.mlops.target="invoker"
EXPOSE 8080
CMD ["python", "-P", "-m", "mlops_sdk.workload.invoke", "--help"]
