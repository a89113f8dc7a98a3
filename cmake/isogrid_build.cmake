# How our own code is compiled: language level, warnings, launchers, and the two helpers every folder uses.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

find_program(ISOGRID_CCACHE ccache)
if(ISOGRID_CCACHE)
  set(ISOGRID_LAUNCHER ${CMAKE_COMMAND} -E env
    CCACHE_SLOPPINESS=pch_defines,time_macros CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} ${ISOGRID_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${ISOGRID_LAUNCHER})
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${ISOGRID_LAUNCHER})
endif()

# LibTorch and our targets must agree on the ABI, so mold is only a faster linker, never a requirement.
find_program(ISOGRID_MOLD mold)
if(ISOGRID_MOLD)
  add_link_options(-fuse-ld=mold)
endif()
add_link_options(-Wl,-z,relro,-z,now)

add_library(isogrid_warnings INTERFACE)
add_library(isogrid::warnings ALIAS isogrid_warnings)
target_compile_options(isogrid_warnings INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Werror>)

if(ISOGRID_SANITIZE)
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
else()
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-fstack-protector-strong>
    $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<NOT:$<CONFIG:Debug>>>:-U_FORTIFY_SOURCE>
    $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<NOT:$<CONFIG:Debug>>>:-D_FORTIFY_SOURCE=2>)
endif()

# isogrid_library(core SOURCES a.cpp b.cpp PUBLIC isogrid::torch PRIVATE yaml-cpp)
# makes the static library isogrid_core and its alias isogrid::core.
function(isogrid_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  add_library(isogrid_${name} STATIC ${ARG_SOURCES})
  add_library(isogrid::${name} ALIAS isogrid_${name})
  target_include_directories(isogrid_${name} PUBLIC ${PROJECT_SOURCE_DIR})
  target_link_libraries(isogrid_${name} PUBLIC ${ARG_PUBLIC} PRIVATE ${ARG_PRIVATE} isogrid::warnings)
  if(ISOGRID_PCH AND "isogrid::torch" IN_LIST ARG_PUBLIC AND TARGET isogrid_pch)
    target_precompile_headers(isogrid_${name} REUSE_FROM isogrid_pch)
  endif()
endfunction()

# isogrid_test(core SOURCES error_test.cpp LIBS isogrid::core): one program per folder, because
# loading LibTorch costs 0.4 s per process.
function(isogrid_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBS" ${ARGN})
  add_executable(${name}_tests ${ARG_SOURCES})
  target_link_libraries(${name}_tests PRIVATE ${ARG_LIBS} isogrid::warnings GTest::gtest GTest::gtest_main)
  target_compile_definitions(${name}_tests PRIVATE ISOGRID_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  if(ISOGRID_PCH AND "isogrid::models" IN_LIST ARG_LIBS AND TARGET isogrid_pch)
    target_precompile_headers(${name}_tests REUSE_FROM isogrid_pch)
  endif()
  add_test(NAME ${name} COMMAND ${name}_tests --gtest_brief=1)
  set_tests_properties(${name} PROPERTIES
    ENVIRONMENT "ISOGRID_TRAINER=${CMAKE_BINARY_DIR}/bin/trainer" TIMEOUT 600)
endfunction()
