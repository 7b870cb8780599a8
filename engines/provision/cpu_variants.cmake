# Included by cmake at the start of llama.cpp's project (CMAKE_PROJECT_INCLUDE).
# ggml makes all fourteen of its CPU libraries prerequisites of libggml: ten minutes of compiling
# for processors that are not here. Without that edge each is a target of its own, and set-up
# asks for the host's.
if(NOT COMMAND _add_dependencies)
  function(add_dependencies target)
    if(target STREQUAL "ggml" AND "${ARGN}" MATCHES "^ggml-cpu-")
      return()
    endif()
    _add_dependencies(${target} ${ARGN})
  endfunction()
endif()
