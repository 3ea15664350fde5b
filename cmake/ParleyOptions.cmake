set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(THREADS_PREFER_PTHREAD_FLAG ON)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
set(CMAKE_CXX_FLAGS_DEBUG "-Og -g1 -D_GLIBCXX_ASSERTIONS")
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG -D_FORTIFY_SOURCE=2 -D_GLIBCXX_ASSERTIONS")

find_program(PARLEY_CCACHE ccache)
if(PARLEY_CCACHE)
  # what ccache asks for before it caches a source with a precompiled header
  set(CMAKE_CXX_COMPILER_LAUNCHER "${CMAKE_COMMAND};-E;env;CCACHE_SLOPPINESS=pch_defines,time_macros;${PARLEY_CCACHE}")
endif()
find_program(PARLEY_LLD NAMES ld.lld-19 ld.lld)
if(PARLEY_LLD AND CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  add_link_options(-fuse-ld=lld)
endif()

# simdjson picks its kernels when it is compiled; without AVX2 it is several times slower (docs/decisions/0003-cpu.md).
# It wants PCLMULQDQ as well, which every CPU with AVX2 has but which is not part of x86-64-v3.
if(CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")
  set(PARLEY_CPU "x86-64-v3" CACHE STRING "What the compiler may assume (-march); x86-64 for machines older than 2013")
  add_compile_options(-march=${PARLEY_CPU})
  if(NOT PARLEY_CPU STREQUAL "x86-64")
    add_compile_options(-mpclmul)
  endif()
endif()

# Our own targets only: dependencies are SYSTEM.
add_library(parley_flags INTERFACE)
target_include_directories(parley_flags INTERFACE "${CMAKE_SOURCE_DIR}")
target_compile_options(parley_flags INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Werror
                                              -fstack-protector-strong -fno-omit-frame-pointer)
target_link_options(parley_flags INTERFACE -Wl,-z,relro,-z,now -Wl,--as-needed)

set(PARLEY_SANITIZE "" CACHE STRING "Sanitizers, e.g. address,undefined or thread")
if(PARLEY_SANITIZE)
  add_compile_options(-fsanitize=${PARLEY_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${PARLEY_SANITIZE})
else()
  target_compile_options(parley_flags INTERFACE -fstack-clash-protection)
  if(CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")
    target_compile_options(parley_flags INTERFACE -fcf-protection=full)
  endif()
endif()
# What the program does most often, as it was recorded, so that the compiler inlines and lays out for that
# (docs/decisions/0015-profile.md). Of no use to a build that is not the one that ships.
set(PARLEY_PROFILE "use" CACHE STRING "use = cmake/parley.profdata, record = write one (make profile), off")
# Functions of one file are known by that file's name, not by where it lies on some machine.
set(PARLEY_PROFILE_NAMES "SHELL:-mllvm -static-func-full-module-prefix=false")
if(PARLEY_PROFILE STREQUAL "record")
  add_compile_options(-fprofile-generate -fprofile-update=atomic ${PARLEY_PROFILE_NAMES})
  add_link_options(-fprofile-generate)
elseif(PARLEY_PROFILE STREQUAL "use" AND CMAKE_BUILD_TYPE STREQUAL "Release" AND CMAKE_CXX_COMPILER_ID STREQUAL "Clang"
       AND NOT PARLEY_SANITIZE)
  set(PARLEY_PROFILE_FILE "${CMAKE_SOURCE_DIR}/cmake/parley.profdata")
  # In the command line, so that another profile compiles everything anew.
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${PARLEY_PROFILE_FILE}")
  file(SHA256 "${PARLEY_PROFILE_FILE}" PARLEY_PROFILE_HASH)
  string(SUBSTRING "${PARLEY_PROFILE_HASH}" 0 8 PARLEY_PROFILE_HASH)
  add_compile_definitions("PARLEY_PROFILE_HASH=0x${PARLEY_PROFILE_HASH}")
  # A function that has changed since, or that another release's headers made different, does without.
  add_compile_options(-fprofile-use=${PARLEY_PROFILE_FILE} -Wno-profile-instr-unprofiled
                      -Wno-profile-instr-out-of-date -Wno-backend-plugin ${PARLEY_PROFILE_NAMES})
endif()

option(PARLEY_FUZZ "Build the fuzz targets with libFuzzer" OFF)
if(PARLEY_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# parley_room(NAME SOURCES ... ROOMS ... PRIVATE_LIBS ... PUBLIC_LIBS ...): one room of the house.
function(parley_room name)
  cmake_parse_arguments(ROOM "" "" "SOURCES;ROOMS;PRIVATE_LIBS;PUBLIC_LIBS" ${ARGN})
  add_library(parley_${name} STATIC ${ROOM_SOURCES})
  target_link_libraries(parley_${name} PUBLIC parley_flags ${ROOM_PUBLIC_LIBS} PRIVATE ${ROOM_PRIVATE_LIBS})
  foreach(room ${ROOM_ROOMS})
    target_link_libraries(parley_${name} PUBLIC parley_${room})
  endforeach()
  parley_use_precompiled(parley_${name} parley_precompiled)
endfunction()
