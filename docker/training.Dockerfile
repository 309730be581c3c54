# Training, evaluation and export, on a GPU where there is one: the public torch wheel brings its CUDA libraries along,
# so the host needs NVIDIA's driver and container toolkit only.
#   docker build -f docker/training.Dockerfile -t sigap-training:0.1.0 .
#   docker run --rm --gpus all --shm-size 8g -v LITS_FOLDER:/study:ro -v ./runs:/runs sigap-training:0.1.0 \
#       sigap-train liver --out /runs/liver --data /study
FROM python:3.11.15-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python -m venv /opt/sigap && mkdir service training && touch README.md LICENSE
# What it needs, before what changes more often: the code.
COPY pyproject.toml constraints.txt ./
RUN /opt/sigap/bin/pip install --no-compile --constraint constraints.txt '.[training]'
COPY README.md LICENSE ./
COPY service service
COPY training training
RUN /opt/sigap/bin/pip install --no-compile --no-deps --force-reinstall .

FROM python:3.11.15-slim-bookworm
RUN groupadd --gid 10001 sigap \
    && useradd --uid 10001 --gid sigap --create-home --shell /usr/sbin/nologin sigap \
    && install -d -o sigap -g sigap /runs
COPY --from=build /opt/sigap /opt/sigap
ENV PATH=/opt/sigap/bin:$PATH \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001
WORKDIR /runs
CMD ["sigap-train", "--help"]
