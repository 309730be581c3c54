# The gateway: HTTP, jobs, decoding, measuring, encoding. Triton runs the models, so there is no torch in here.
#   docker build -f docker/gateway.Dockerfile -t sigap-gateway:0.1.0 .
FROM python:3.11.15-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
# The stage is thrown away, and Debian keeps no old version that could be pinned.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends binutils && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/sigap && mkdir service training && touch README.md LICENSE
# What it needs, before what changes more often: the code.
COPY pyproject.toml constraints.txt ./
RUN /opt/sigap/bin/pip install --no-compile --constraint constraints.txt '.[triton,postgres]'
COPY README.md LICENSE ./
COPY service service
COPY training training
COPY model_repository /models
# Of the models their cards: the weights are Triton's.
RUN find /models -type f ! -name MODEL_CARD.md -delete && find /models -type d -empty -delete
RUN /opt/sigap/bin/pip install --no-compile --no-deps --force-reinstall . \
    && /opt/sigap/bin/pip uninstall --yes --quiet pip setuptools \
    # Libraries bring tests, headers, debuggers' maps and symbols along: 95 MB that nothing here reads.
    && find /opt/sigap -type d -name tests -prune -exec rm -rf {} + \
    && find /opt/sigap -type f \( -name '*.map' -o -name '*.h' -o -name '*.pyx' -o -name '*.pxd' \) -delete \
    && find /opt/sigap -type f -name '*.so' -size +4M ! -path '*.libs/*' -exec strip --strip-debug {} +
# Byte code of what the gateway imports, and of nothing else: its file system is read-only, so it could not keep any.
RUN /opt/sigap/bin/python -c 'import sigap.api.server, sigap.cli.serve, psycopg, tritonclient.grpc.aio, gdcm, openjpeg, jpeg_ls, uvloop'

FROM python:3.11.15-slim-bookworm
# Fixed numbers: volumes that several replicas share, or that outlive an image, belong to the same user.
RUN groupadd --gid 10001 sigap \
    && useradd --uid 10001 --gid sigap --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin sigap \
    && install -d -o sigap -g sigap -m 0700 /data /audit \
    && install -d -o sigap -g sigap -m 0755 /secrets /secrets/database /secrets/first-key \
        /secrets/metrics /secrets/grafana /secrets/receiver
COPY --from=build /opt/sigap /opt/sigap
COPY --from=build /models /models
COPY --chmod=0755 docker/first-start docker/serve-when-ready docker/listen-when-ready /usr/local/bin/
ENV PATH=/opt/sigap/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    SIGAP_AUDIT_FILE=/audit/audit.jsonl \
    SIGAP_DATA=/data \
    SIGAP_ENGINE=triton \
    SIGAP_HOST=0.0.0.0 \
    SIGAP_MODELS=/models
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/ready', timeout=4)"]
CMD ["sigap", "serve"]
