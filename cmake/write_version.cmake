# cmake -DVERSION=0.1.0 -DSOURCE=<root> -DOUTPUT=<file> -P write_version.cmake
set(COMMIT unknown)

# An archive made by git carries its commit in this file; a checkout carries the pattern itself.
file(READ ${SOURCE}/cmake/commit.txt archived)
string(STRIP "${archived}" archived)
if(archived MATCHES "^[0-9a-f]+$")
  set(COMMIT ${archived})
endif()

find_program(GIT git)
if(GIT)
  execute_process(COMMAND ${GIT} -C ${SOURCE} rev-parse --show-toplevel
    OUTPUT_VARIABLE top OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  file(REAL_PATH ${SOURCE} root)
  if(top STREQUAL root)  # else the sources only lie inside somebody else's repository
    execute_process(COMMAND ${GIT} -C ${SOURCE} rev-parse --short=10 HEAD
      RESULT_VARIABLE failed OUTPUT_VARIABLE head OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    execute_process(COMMAND ${GIT} -C ${SOURCE} diff --quiet HEAD
      RESULT_VARIABLE changed OUTPUT_QUIET ERROR_QUIET)
    if(NOT failed)
      set(COMMIT ${head})
      if(changed)
        string(APPEND COMMIT "+changes")
      endif()
    endif()
  endif()
endif()

configure_file(${SOURCE}/core/version.cpp.in ${OUTPUT} @ONLY)
