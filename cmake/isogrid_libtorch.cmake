# LibTorch as one interface target. Its own CMake package insists on the CUDA toolkit, so it is not used:
# a program linked to libtorch_cpu and libc10 alone runs where there is no GPU and no CUDA library.
if(DEFINED ENV{ISOGRID_LIBTORCH})
  set(ISOGRID_LIBTORCH_DEFAULT $ENV{ISOGRID_LIBTORCH})
elseif(DEFINED ENV{ISOGRID_HOME})
  set(ISOGRID_LIBTORCH_DEFAULT $ENV{ISOGRID_HOME}/libtorch-2.11.0/torch)
else()
  set(ISOGRID_LIBTORCH_DEFAULT $ENV{HOME}/.cache/isogrid/libtorch-2.11.0/torch)
endif()
set(ISOGRID_LIBTORCH ${ISOGRID_LIBTORCH_DEFAULT} CACHE PATH "The torch folder: include/ and lib/ of LibTorch")

if(NOT EXISTS ${ISOGRID_LIBTORCH}/lib/libtorch_cpu.so)
  message(FATAL_ERROR "No LibTorch in '${ISOGRID_LIBTORCH}'.\n"
    "Run scripts/setup, or set ISOGRID_LIBTORCH to the torch folder of a Python installation.")
endif()

file(STRINGS ${ISOGRID_LIBTORCH}/include/torch/headeronly/version.h ISOGRID_TORCH_VERSION_LINE
  REGEX "#define TORCH_VERSION \"")
string(REGEX MATCH "[0-9]+\\.[0-9]+\\.[0-9]+" ISOGRID_TORCH_VERSION "${ISOGRID_TORCH_VERSION_LINE}")
if(ISOGRID_TORCH_VERSION AND NOT ISOGRID_TORCH_VERSION VERSION_EQUAL 2.11.0)
  message(WARNING "Isogrid is written against LibTorch 2.11.0; this one is ${ISOGRID_TORCH_VERSION}.")
endif()

add_library(isogrid_torch INTERFACE)
add_library(isogrid::torch ALIAS isogrid_torch)
target_include_directories(isogrid_torch SYSTEM INTERFACE
  ${ISOGRID_LIBTORCH}/include ${ISOGRID_LIBTORCH}/include/torch/csrc/api/include)
target_compile_definitions(isogrid_torch INTERFACE
  _GLIBCXX_USE_CXX11_ABI=1 AT_PER_OPERATOR_HEADERS USE_C10D_GLOO)
target_link_libraries(isogrid_torch INTERFACE
  ${ISOGRID_LIBTORCH}/lib/libtorch_cpu.so ${ISOGRID_LIBTORCH}/lib/libc10.so)
# The unresolved symbols are CUDA's, named by libtorch_cpu's profiler and never called without a GPU.
target_link_options(isogrid_torch INTERFACE
  -Wl,--unresolved-symbols=ignore-in-shared-libs -Wl,-rpath,${ISOGRID_LIBTORCH}/lib)

if(ISOGRID_CUDA)
  if(NOT CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 90)
  endif()
  find_package(CUDAToolkit 13 REQUIRED)
  target_compile_definitions(isogrid_torch INTERFACE ISOGRID_WITH_CUDA=1)
  target_link_libraries(isogrid_torch INTERFACE CUDA::cudart)
  target_link_options(isogrid_torch INTERFACE
    "LINKER:--no-as-needed,${ISOGRID_LIBTORCH}/lib/libtorch_cuda.so,${ISOGRID_LIBTORCH}/lib/libc10_cuda.so,--as-needed")
endif()
