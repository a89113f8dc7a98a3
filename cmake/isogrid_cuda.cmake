# The CUDA language, where ISOGRID_CUDA asks for it. No GPU need be present.
if(NOT CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 90)
endif()
if(NOT CMAKE_CUDA_COMPILER AND "$ENV{CUDACXX}" STREQUAL "")
  # The toolkit's folder is often not on the PATH of the shell that builds.
  find_program(ISOGRID_NVCC nvcc HINTS $ENV{CUDA_HOME}/bin $ENV{CUDA_PATH}/bin PATHS /usr/local/cuda/bin)
  if(ISOGRID_NVCC)
    set(CMAKE_CUDA_COMPILER ${ISOGRID_NVCC})
  endif()
endif()
enable_language(CUDA)
