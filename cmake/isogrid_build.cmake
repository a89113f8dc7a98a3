# How our own code is compiled: language level, warnings, launchers, and the two helpers every folder uses.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
# Collecting garbage, GCC walks through the whole precompiled header each time.
add_compile_options(
  "$<$<COMPILE_LANG_AND_ID:CXX,GNU>:SHELL:--param ggc-min-expand=1000 --param ggc-min-heapsize=4000000>")
# Libraries and programs alike: a precompiled header serves only files compiled with equal flags,
# and CMake's own switch gives libraries -fPIC and programs -fPIE.
add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-fPIE>)
add_link_options(-pie -Wl,-z,relro,-z,now)

find_program(ISOGRID_CCACHE ccache)
if(ISOGRID_CCACHE)
  set(ISOGRID_LAUNCHER ${CMAKE_COMMAND} -E env
    CCACHE_SLOPPINESS=pch_defines,time_macros CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_NOHASHDIR=1
    ${ISOGRID_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${ISOGRID_LAUNCHER})
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${ISOGRID_LAUNCHER})
endif()

find_program(ISOGRID_MOLD mold)
if(ISOGRID_MOLD)
  add_link_options(-fuse-ld=mold)
endif()

add_library(isogrid_warnings INTERFACE)
add_library(isogrid::warnings ALIAS isogrid_warnings)
target_compile_options(isogrid_warnings INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Werror>
  $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra --Werror=all-warnings>)

if(ISOGRID_SANITIZE)
  # vptr checks need the type information of LibTorch's classes, which its libraries do not export.
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-fsanitize=address,undefined>
    $<$<COMPILE_LANGUAGE:CXX>:-fno-sanitize-recover=undefined>
    $<$<COMPILE_LANGUAGE:CXX>:-fno-sanitize=vptr> $<$<COMPILE_LANGUAGE:CXX>:-fno-omit-frame-pointer>)
  add_link_options(-fsanitize=address,undefined)
else()
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-fstack-protector-strong>
    $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<NOT:$<CONFIG:Debug>>>:-U_FORTIFY_SOURCE>
    $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<NOT:$<CONFIG:Debug>>>:-D_FORTIFY_SOURCE=2>)
endif()

# isogrid_library(core SOURCES a.cpp b.cpp ALONE b.cpp PUBLIC isogrid::torch PRIVATE yaml-cpp)
# makes the static library isogrid_core and its alias isogrid::core. Most of a small file's time goes
# into the headers it reads, so ten are read together; those named ALONE are slow by themselves.
# CALLS_ONLY: its time goes into what it calls, LibTorch or our kernels, and -O1 compiles a third
# faster; all but the files named LOOPS.
function(isogrid_library name)
  cmake_parse_arguments(ARG "CALLS_ONLY" "" "SOURCES;ALONE;LOOPS;PUBLIC;PRIVATE" ${ARGN})
  add_library(isogrid_${name} STATIC ${ARG_SOURCES})
  add_library(isogrid::${name} ALIAS isogrid_${name})
  target_include_directories(isogrid_${name} PUBLIC ${PROJECT_SOURCE_DIR})
  target_link_libraries(isogrid_${name} PUBLIC ${ARG_PUBLIC} PRIVATE ${ARG_PRIVATE} isogrid::warnings)
  isogrid_together(isogrid_${name} ${ARG_ALONE} ${ARG_LOOPS})
  if(ARG_CALLS_ONLY)
    target_compile_options(isogrid_${name} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-O1>)
    set_source_files_properties(${ARG_LOOPS} PROPERTIES COMPILE_OPTIONS -O2)
  endif()
endfunction()

# isogrid_together(target alone.cpp): compiles the sources of a target ten at a time, but for these.
function(isogrid_together target)
  set_target_properties(${target} PROPERTIES UNITY_BUILD ${ISOGRID_UNITY} UNITY_BUILD_BATCH_SIZE 10)
  set_source_files_properties(${ARGN} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
endfunction()

# Sources compiled for one instruction set, in the namespace that ISOGRID_ISA names, and put into a library.
# -ffast-math is not used: NaN and infinity keep their meaning. Sums may be reassociated by us only.
set(ISOGRID_AVX2_FLAGS -mavx2 -mfma -mf16c)
set(ISOGRID_AVX512_FLAGS ${ISOGRID_AVX2_FLAGS} -mavx512f -mavx512bw -mavx512vl -mavx512dq -mprefer-vector-width=512)
function(isogrid_cpu_variant library isa)
  cmake_parse_arguments(ARG "" "" "SOURCES;FLAGS" ${ARGN})
  add_library(isogrid_${library}_${isa} OBJECT ${ARG_SOURCES})
  target_include_directories(isogrid_${library}_${isa} PRIVATE ${PROJECT_SOURCE_DIR})
  target_compile_definitions(isogrid_${library}_${isa} PRIVATE ISOGRID_ISA=${isa})
  target_compile_options(isogrid_${library}_${isa} PRIVATE
    -O3 -fno-math-errno -fno-trapping-math -Wno-psabi ${ARG_FLAGS}
    # GCC's own header of AVX-512 warns of its undefined registers.
    $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
  target_link_libraries(isogrid_${library}_${isa} PRIVATE isogrid::warnings)
  target_sources(isogrid_${library} PRIVATE $<TARGET_OBJECTS:isogrid_${library}_${isa}>)
endfunction()

# isogrid_cpu_variants(kernels a_cpu.cpp b_cpu.cpp): every set that is chosen from at run time.
function(isogrid_cpu_variants library)
  isogrid_cpu_variant(${library} baseline SOURCES ${ARGN})
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    isogrid_cpu_variant(${library} avx2 SOURCES ${ARGN} FLAGS ${ISOGRID_AVX2_FLAGS})
    isogrid_cpu_variant(${library} avx512 SOURCES ${ARGN} FLAGS ${ISOGRID_AVX512_FLAGS})
  endif()
endfunction()

# isogrid_test(core SOURCES error_test.cpp LIBS isogrid::core): one program per folder, because
# loading LibTorch costs 0.4 s per process.
function(isogrid_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;ALONE;LIBS" ${ARGN})
  add_executable(${name}_tests ${ARG_SOURCES})
  isogrid_together(${name}_tests ${ARG_ALONE})
  target_link_libraries(${name}_tests PRIVATE ${ARG_LIBS} isogrid::warnings GTest::gtest GTest::gtest_main)
  target_compile_definitions(${name}_tests PRIVATE ISOGRID_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  target_compile_options(${name}_tests PRIVATE -O1)
  add_test(NAME ${name} COMMAND ${name}_tests --gtest_brief=1)
  # Waiting busily, LibTorch's threads would slow small tests down tenfold on a machine with other work.
  set(environment "ISOGRID_TRAINER=${CMAKE_BINARY_DIR}/bin/trainer" OMP_WAIT_POLICY=passive)
  if(ISOGRID_SANITIZE)
    # LibTorch keeps singletons for ever and defines some of its symbols in two libraries.
    set(leaks 1)
    if(with_torch)
      set(leaks 0)
    endif()
    list(APPEND environment "ASAN_OPTIONS=detect_odr_violation=0:detect_leaks=${leaks}:strict_string_checks=1"
      "UBSAN_OPTIONS=print_stacktrace=1")
  endif()
  set_tests_properties(${name} PROPERTIES ENVIRONMENT "${environment}" TIMEOUT 600)
endfunction()

# Does a target link isogrid_torch, itself or through others?
function(isogrid_reaches_torch target result)
  set(${result} FALSE PARENT_SCOPE)
  get_target_property(links ${target} LINK_LIBRARIES)
  foreach(link IN LISTS links)
    string(REPLACE "isogrid::" "isogrid_" link "${link}")
    if(link STREQUAL isogrid_torch)
      set(${result} TRUE PARENT_SCOPE)
      return()
    elseif(link MATCHES "^isogrid_" AND TARGET ${link})
      get_target_property(kind ${link} TYPE)
      if(NOT kind STREQUAL INTERFACE_LIBRARY)
        isogrid_reaches_torch(${link} reached)
        if(reached)
          set(${result} TRUE PARENT_SCOPE)
          return()
        endif()
      endif()
    endif()
  endforeach()
endfunction()

# Called last, when every target is known.
function(isogrid_finish)
  isogrid_targets(${PROJECT_SOURCE_DIR} targets)
  if(ISOGRID_PCH)
    file(WRITE ${PROJECT_BINARY_DIR}/generated/pch.cpp "")
    add_library(isogrid_pch OBJECT ${PROJECT_BINARY_DIR}/generated/pch.cpp)
    target_link_libraries(isogrid_pch PRIVATE isogrid::torch isogrid::warnings)
    target_precompile_headers(isogrid_pch PRIVATE ${PROJECT_SOURCE_DIR}/cmake/pch.h)
    target_compile_options(isogrid_pch PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-fpch-preprocess>)
  endif()
  foreach(target IN LISTS targets)
    get_target_property(kind ${target} TYPE)
    if(kind STREQUAL EXECUTABLE)
      # Nothing of ours is device-linked, so the host's linker serves CUDA builds too.
      set_target_properties(${target} PROPERTIES LINKER_LANGUAGE CXX)
    endif()
    isogrid_reaches_torch(${target} with_torch)
    if(ISOGRID_PCH AND with_torch)
      target_precompile_headers(${target} REUSE_FROM isogrid_pch)
      # ccache must see what the precompiled header was made of.
      target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-fpch-preprocess>)
    endif()
  endforeach()
endfunction()

# The libraries and programs of a folder and those below it.
function(isogrid_targets folder result)
  get_property(own DIRECTORY ${folder} PROPERTY BUILDSYSTEM_TARGETS)
  set(found)
  foreach(target IN LISTS own)
    get_target_property(kind ${target} TYPE)
    if(kind MATCHES "^(STATIC_LIBRARY|EXECUTABLE)$")
      list(APPEND found ${target})
    endif()
  endforeach()
  get_property(below DIRECTORY ${folder} PROPERTY SUBDIRECTORIES)
  foreach(subfolder IN LISTS below)
    isogrid_targets(${subfolder} deeper)
    list(APPEND found ${deeper})
  endforeach()
  set(${result} ${found} PARENT_SCOPE)
endfunction()
