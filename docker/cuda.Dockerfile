# docker build -f docker/cuda.Dockerfile -t isogrid-cuda .
# docker run --rm -it --gpus all -v "$PWD/output:/isogrid/output" isogrid-cuda trainer --version
#
# --build-arg ARCHITECTURES="80;90" builds for other GPUs than sm_90.
ARG BASE=nvidia/cuda:13.0.2-devel-ubuntu24.04
FROM ${BASE}
ARG ARCHITECTURES=90
ENV ISOGRID_HOME=/opt/isogrid PATH=/isogrid/build-cuda/bin:${PATH}
WORKDIR /isogrid

# The set-up by itself, so that a change of the sources keeps what was downloaded.
COPY scripts/common.sh scripts/setup scripts/fetch_libtorch.py scripts/
RUN scripts/setup --gpu && rm -rf /var/lib/apt/lists/*

COPY . .
RUN cmake --preset cuda "-DCMAKE_CUDA_ARCHITECTURES=${ARCHITECTURES}" && \
    cmake --build --preset cuda --target trainer
CMD ["trainer", "--help"]
