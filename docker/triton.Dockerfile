# Triton with the model repository in it, so that an image tag is a set of weights. To serve another repository
# without a build, mount it over /models.
#   docker build -f docker/triton.Dockerfile -t sigap-triton:0.1.0 .
FROM nvcr.io/nvidia/tritonserver:26.09-py3
# The official image has this user (1000) for servers that need no root.
COPY --chown=1000:1000 model_repository /models
ENV OMP_WAIT_POLICY=PASSIVE
USER 1000:1000
EXPOSE 8000 8001 8002
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["curl", "--fail", "--silent", "--output", "/dev/null", "http://127.0.0.1:8000/v2/health/live"]
# explicit: a version is loaded when it is told to, not when half of its file has been copied.
CMD ["tritonserver", "--model-repository=/models", "--model-control-mode=explicit", "--load-model=*", \
     "--disable-auto-complete-config", "--exit-on-error=false", "--exit-timeout-secs=20", "--log-verbose=0"]
