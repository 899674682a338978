# Two images of one file: `service`, which sells tickets (the last one, so the default), and `loadtest`, which has the
# load test beside it. Dependencies come by hash from lock files without addresses. Whoever has a package index of their
# own names it in a pip configuration: docker build --secret id=pip,src=pip.conf . (it does not stay in the image).
ARG PYTHON=python:3.13-slim

FROM ${PYTHON} AS installed
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
# Without pip in it: what runs installs nothing.
RUN python -m venv --without-pip /venv
WORKDIR /app
COPY requirements.service.lock ./
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python -m pip --python /venv/bin/python install --quiet --require-hashes --requirement requirements.service.lock
COPY service service
# Files of a clone that was made with umask 077 are its owner's alone, and who runs them here is another user.
RUN chmod -R a+rX /app
RUN /venv/bin/python -m compileall -q /app

FROM installed AS installed-loadtest
COPY requirements.loadtest.lock ./
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python -m pip --python /venv/bin/python install --quiet --require-hashes --requirement requirements.loadtest.lock
COPY loadtest loadtest
RUN chmod -R a+rX /app
RUN /venv/bin/python -m compileall -q /app

FROM ${PYTHON} AS loadtest
LABEL org.opencontainers.image.title="Turnstile's load test" \
    org.opencontainers.image.description="Holds each way of locking to what it claims"
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
COPY --from=installed-loadtest /venv /venv
COPY --from=installed-loadtest /app /app
# Where ./runs is mounted: by then it belongs to whoever runs it.
RUN install -d -m 0777 /app/runs
USER 10001:10001
WORKDIR /app
ENTRYPOINT ["python", "-m", "loadtest"]
CMD ["compare"]

FROM ${PYTHON} AS service
LABEL org.opencontainers.image.title="Turnstile" \
    org.opencontainers.image.description="A ticket-booking service that never sells one ticket twice"
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    TURNSTILE_BIND=0.0.0.0:8000 TURNSTILE_DATA=/data
COPY --from=installed /venv /venv
COPY --from=installed /app /app
# A new volume takes owner and rights from here.
RUN install -d -m 0700 -o 10001 -g 10001 /data
USER 10001:10001
WORKDIR /app
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --start-interval=1s --retries=3 \
    CMD ["python", "-c", "import urllib.request as web; web.build_opener(web.ProxyHandler({})).open('http://127.0.0.1:8000/readyz', timeout=4)"]
# gunicorn's master is process 1: it handles SIGTERM, and waits for whatever child ends, so no init has to do so.
ENTRYPOINT ["python", "-m", "service"]
