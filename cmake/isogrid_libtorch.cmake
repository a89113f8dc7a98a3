# LibTorch as one interface target. Its own CMake package insists on the CUDA toolkit, so it is not used:
# a program linked to libtorch_cpu and libc10 alone runs where there is no GPU and no CUDA library.
#
# -DISOGRID_LIBTORCH=<folder>, or the environment's ISOGRID_LIBTORCH, else what scripts/setup installed.
if(NOT ISOGRID_LIBTORCH)
  if(NOT "$ENV{ISOGRID_LIBTORCH}" STREQUAL "")
    get_filename_component(ISOGRID_LIBTORCH $ENV{ISOGRID_LIBTORCH} ABSOLUTE BASE_DIR ${PROJECT_SOURCE_DIR})
  elseif(NOT "$ENV{ISOGRID_HOME}" STREQUAL "")
    set(ISOGRID_LIBTORCH $ENV{ISOGRID_HOME}/libtorch-2.11.0/torch)
  else()
    set(ISOGRID_LIBTORCH $ENV{HOME}/.cache/isogrid/libtorch-2.11.0/torch)
  endif()
endif()

if(NOT EXISTS ${ISOGRID_LIBTORCH}/lib/libtorch_cpu.so)
  message(FATAL_ERROR "No LibTorch in '${ISOGRID_LIBTORCH}'.\n"
    "Run scripts/setup, or set ISOGRID_LIBTORCH to the torch folder of a Python installation.")
endif()

file(READ ${ISOGRID_LIBTORCH}/include/torch/headeronly/version.h version_header)
set(version_parts)
foreach(part MAJOR MINOR PATCH)
  string(REGEX MATCH "TORCH_VERSION_${part} ([0-9]+)" matched "${version_header}")
  list(APPEND version_parts ${CMAKE_MATCH_1})
endforeach()
list(JOIN version_parts . version)
if(NOT version VERSION_EQUAL 2.11.0)
  message(WARNING "Isogrid is written against LibTorch 2.11.0; the one in '${ISOGRID_LIBTORCH}' is ${version}.")
endif()

add_library(isogrid_torch INTERFACE)
add_library(isogrid::torch ALIAS isogrid_torch)
target_include_directories(isogrid_torch SYSTEM INTERFACE
  ${ISOGRID_LIBTORCH}/include ${ISOGRID_LIBTORCH}/include/torch/csrc/api/include)
target_compile_definitions(isogrid_torch INTERFACE
  _GLIBCXX_USE_CXX11_ABI=1 AT_PER_OPERATOR_HEADERS USE_C10D_GLOO)
target_link_libraries(isogrid_torch INTERFACE
  ${ISOGRID_LIBTORCH}/lib/libtorch_cpu.so ${ISOGRID_LIBTORCH}/lib/libc10.so)
# at::parallel_for is a header's: without OpenMP it would run our bodies on one thread, beside LibTorch's
# own idle ones. The runtime must be the very one LibTorch uses.
target_compile_options(isogrid_torch INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fopenmp>)
file(GLOB openmp_runtime ${ISOGRID_LIBTORCH}/lib/libgomp*.so* ${ISOGRID_LIBTORCH}/../torch.libs/libgomp*.so*)
if(openmp_runtime)
  list(GET openmp_runtime 0 openmp_runtime)
  target_link_libraries(isogrid_torch INTERFACE ${openmp_runtime})
else()
  target_link_options(isogrid_torch INTERFACE -fopenmp)
endif()
# The unresolved symbols are CUDA's, named by libtorch_cpu's profiler and never called without a GPU.
target_link_options(isogrid_torch INTERFACE
  -Wl,--unresolved-symbols=ignore-in-shared-libs -Wl,-rpath,${ISOGRID_LIBTORCH}/lib)

if(ISOGRID_CUDA)
  if(NOT EXISTS ${ISOGRID_LIBTORCH}/lib/libtorch_cuda.so)
    message(FATAL_ERROR "The LibTorch in '${ISOGRID_LIBTORCH}' has no CUDA libraries. "
      "Run scripts/setup --cuda (to compile) or --gpu (to run).")
  endif()
  find_package(CUDAToolkit 13 REQUIRED)
  target_compile_definitions(isogrid_torch INTERFACE ISOGRID_WITH_CUDA=1)
  target_link_libraries(isogrid_torch INTERFACE CUDA::cudart)
  # Nothing of ours names a symbol of these two; loading them is what registers the CUDA operators.
  target_link_options(isogrid_torch INTERFACE
    "LINKER:--no-as-needed,${ISOGRID_LIBTORCH}/lib/libtorch_cuda.so,${ISOGRID_LIBTORCH}/lib/libc10_cuda.so,--as-needed")
endif()
