# The headers of the standard library, Boost and fmt that most sources include, parsed once for all of them. Clang only:
# GCC gains nothing from it. `make lint` reads every source without (scripts/lint/common.py), so that each still includes
# what it uses. Measured on 2 cores: docs/decisions/0007-precompiled-headers.md.
set(PARLEY_PRECOMPILED
  <algorithm> <array> <charconv> <chrono> <deque> <functional> <map> <memory> <optional> <set> <span> <string>
  <string_view> <utility> <variant> <vector>
  <boost/asio/awaitable.hpp> <boost/asio/co_spawn.hpp> <boost/asio/io_context.hpp> <boost/asio/redirect_error.hpp>
  <boost/asio/steady_timer.hpp> <boost/asio/thread_pool.hpp> <boost/asio/use_awaitable.hpp>
  <boost/json.hpp> <boost/intrusive/list.hpp> <fmt/format.h>)

# parley_precompile(NAME HEADERS... LIBS...): a target that holds one precompiled header.
function(parley_precompile name)
  cmake_parse_arguments(PRECOMPILE "" "" "HEADERS;LIBS" ${ARGN})
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    return()
  endif()
  file(CONFIGURE OUTPUT "${CMAKE_CURRENT_BINARY_DIR}/${name}.cpp" CONTENT "// Only carries a precompiled header.\n")
  add_library(${name} OBJECT "${CMAKE_CURRENT_BINARY_DIR}/${name}.cpp")
  target_link_libraries(${name} PRIVATE parley_flags ${PRECOMPILE_LIBS})
  target_precompile_headers(${name} PRIVATE ${PRECOMPILE_HEADERS})
  # without a time inside, the same headers give the same bytes, which ccache compares
  target_compile_options(${name} PRIVATE "SHELL:-Xclang -fno-pch-timestamp")
endfunction()

# parley_use_precompiled(TARGET NAME): the sources of TARGET start from it.
function(parley_use_precompiled target name)
  if(TARGET ${name})
    target_precompile_headers(${target} REUSE_FROM ${name})
  endif()
endfunction()

parley_precompile(parley_precompiled HEADERS ${PARLEY_PRECOMPILED} LIBS parley_asio Boost::json fmt::fmt)
