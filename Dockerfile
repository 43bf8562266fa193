# SpecFormer-MCP on the CPU. Two images from one file:
#   docker build -t specformer-mcp .                            streamable HTTP on port 8765
#   docker build -t specformer-mcp:stdio --target stdio .       one client over stdin and stdout
# docs/install.md has the commands to run them.

FROM python:3.11.14-slim-bookworm AS wheel
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11.14-slim-bookworm AS base
# torch comes from the CPU index: the build on PyPI brings gigabytes of CUDA.
COPY constraints.txt /tmp/constraints.txt
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    pip install --no-cache-dir --constraint /tmp/constraints.txt \
        --extra-index-url https://download.pytorch.org/whl/cpu /wheels/*.whl \
    && rm /tmp/constraints.txt \
    && useradd --create-home --uid 10001 specformer
USER 10001
WORKDIR /home/specformer
ENV PYTHONUNBUFFERED=1

FROM base AS stdio
ENTRYPOINT ["specformer-mcp"]

FROM base AS http
EXPOSE 8765
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8765/health', timeout=4)"]
# The Host header that clients send must be named; more are added with --allow-host.
ENTRYPOINT ["specformer-mcp", "--transport", "http", "--host", "0.0.0.0", "--port", "8765", \
            "--allow-host", "localhost:8765"]
