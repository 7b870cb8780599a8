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
# One of them, for processors with AMX, needs a compiler's header mended.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  add_compile_options(
    "$<$<COMPILE_LANGUAGE:C,CXX>:SHELL:-include ${CMAKE_CURRENT_LIST_DIR}/amx_tile_config.h>")
endif()
