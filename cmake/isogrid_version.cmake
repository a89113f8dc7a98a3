# The commit a program was built from, found at build time: a new commit needs no new configuration,
# and an unchanged one compiles nothing.

# isogrid_add_version(target) adds what core/version.h declares to the target.
function(isogrid_add_version target)
  set(generated ${PROJECT_BINARY_DIR}/generated/version.cpp)
  add_custom_target(isogrid_version
    COMMAND ${CMAKE_COMMAND}
      -DVERSION=${PROJECT_VERSION} -DSOURCE=${PROJECT_SOURCE_DIR} -DOUTPUT=${generated}
      -P ${PROJECT_SOURCE_DIR}/cmake/write_version.cmake
    BYPRODUCTS ${generated} VERBATIM)
  target_sources(${target} PRIVATE ${generated})
  add_dependencies(${target} isogrid_version)
endfunction()
