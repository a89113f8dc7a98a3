# docker build -f docker/cpu.Dockerfile -t isogrid .
# docker run --rm -it -v "$PWD/output:/isogrid/output" isogrid trainer --help
ARG BASE=debian:12
FROM ${BASE}
ENV ISOGRID_HOME=/opt/isogrid PATH=/isogrid/build/bin:${PATH}
WORKDIR /isogrid

# The set-up by itself, so that a change of the sources keeps what was downloaded.
COPY scripts/common.sh scripts/setup scripts/fetch_libtorch.py scripts/
RUN scripts/setup && rm -rf /var/lib/apt/lists/*

COPY . .
RUN cmake --preset ci && cmake --build --preset ci --target trainer
CMD ["trainer", "--help"]
