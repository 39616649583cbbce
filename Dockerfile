# The provider as an image. With a registry and a package index in reach: docker build -t zonelet/provider .
# BASE is any image with Python 3.11 or later, its venv module and a shell. Where no registry can be reached, `make image`
# makes one from Debian packages and brings the wheels along (wheels/, PIP=--no-index); nothing else differs.
ARG BASE=python:3.11-slim

FROM ${BASE} AS build
# pip stays in this stage: /opt/zonelet gets packages only.
RUN python3 -m venv /tools && python3 -m venv --without-pip /opt/zonelet
ARG PIP=
# A pattern may match nothing: wheels/ is optional.
COPY requirements.lock requirements-build.lock wheels* /wheels/
RUN /tools/bin/pip install -q --no-cache-dir --disable-pip-version-check --require-hashes --find-links /wheels ${PIP} \
      -r /wheels/requirements-build.lock \
 && /tools/bin/pip --python /opt/zonelet/bin/python install -q --no-cache-dir --disable-pip-version-check \
      --require-hashes --only-binary :all: --find-links /wheels ${PIP} -r /wheels/requirements.lock
COPY pyproject.toml README.md LICENSE /source/
COPY provider /source/provider
COPY deploy /source/deploy
RUN cd /source && /tools/bin/hatchling build -t wheel -d /built \
 && /tools/bin/pip --python /opt/zonelet/bin/python install -q --no-cache-dir --disable-pip-version-check --no-deps \
      --no-index /built/*.whl

FROM ${BASE}
COPY --from=build /opt/zonelet /opt/zonelet
ENV PATH=/opt/zonelet/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin PYTHONUNBUFFERED=1
# Root of the engine's host: it mounts, enters namespaces and writes cgroups there (docs/guides/join-a-cluster.md).
ENTRYPOINT ["zonelet"]
CMD ["run"]
