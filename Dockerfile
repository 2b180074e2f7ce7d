# The image of the pods on Kubernetes (docs/clusters.md): this project with its environment, and Snakemake's plugin for S3.
FROM python:3.12-slim
WORKDIR /opt/requant
COPY requirements/run.lock requirements/run.lock
RUN pip install --no-cache-dir --require-hashes -r requirements/run.lock
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip install --no-cache-dir --no-deps --no-build-isolation . && pip install --no-cache-dir "snakemake-storage-plugin-s3>=0.3"
WORKDIR /workdir
