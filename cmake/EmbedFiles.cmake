# parley_embed(TARGET NAME FILE...): puts the bytes of files (relative to the source root) into a target.
#
# TARGET gets a generated source, and the header "embedded/NAME.hpp" on its private include path, with one constant a
# file: web/openapi.json becomes `extern std::string_view const parley::embedded::openapi_json`. The bytes are static and
# are read again at build time whenever a file changes. An .html file has a second constant, here docs_html_csp: the
# policy of its <meta http-equiv="Content-Security-Policy"> and `frame-ancestors 'none'`, to be sent as a header.
# Call it in the CMakeLists.txt that makes TARGET.

function(parley_embed_constant file result)
  get_filename_component(constant "${file}" NAME)
  string(MAKE_C_IDENTIFIER "${constant}" constant)
  set(${result} "${constant}" PARENT_SCOPE)
endfunction()

function(parley_embed target name)
  set(folder "${CMAKE_CURRENT_BINARY_DIR}/generated")
  set(declarations "")
  set(paths "")
  foreach(file IN LISTS ARGN)
    parley_embed_constant("${file}" constant)
    string(APPEND declarations "extern std::string_view const ${constant}; // ${file}\n")
    if(file MATCHES "\\.html$")
      string(APPEND declarations "extern std::string_view const ${constant}_csp;\n")
    endif()
    list(APPEND paths "${CMAKE_SOURCE_DIR}/${file}")
  endforeach()
  file(CONFIGURE OUTPUT "${folder}/embedded/${name}.hpp" @ONLY
       CONTENT "// Made by cmake/EmbedFiles.cmake.\n#pragma once\n\n#include <string_view>\n\nnamespace parley::embedded {\n
@declarations@\n} // namespace parley::embedded\n")

  string(REPLACE ";" "|" joined "${paths}")
  add_custom_command(
    OUTPUT "${folder}/embedded/${name}.cpp"
    COMMAND "${CMAKE_COMMAND}" "-DNAME=${name}" "-DFILES=${joined}" "-DOUTPUT=${folder}/embedded/${name}.cpp"
            -P "${CMAKE_CURRENT_FUNCTION_LIST_FILE}"
    DEPENDS ${paths} "${CMAKE_CURRENT_FUNCTION_LIST_FILE}"
    COMMENT "Embedding ${name}"
    VERBATIM)
  target_sources(${target} PRIVATE "${folder}/embedded/${name}.cpp")
  target_include_directories(${target} PRIVATE "${folder}")
endfunction()

# As a script (cmake -P), at build time: writes the source. Hex escapes, 64 bytes a line, so that any byte is safe.
if(CMAKE_SCRIPT_MODE_FILE)
  set(definitions "")
  string(REPLACE "|" ";" FILES "${FILES}")
  string(REPEAT "." 128 line)
  foreach(file IN LISTS FILES)
    parley_embed_constant("${file}" constant)
    file(SIZE "${file}" size)
    file(READ "${file}" hex HEX)
    string(REGEX REPLACE "(${line})" "\\1\n" hex "${hex}")
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "\\\\x\\1" hex "${hex}")
    string(REPLACE "\n" "\"\n    \"" hex "${hex}")
    string(APPEND definitions "\nconstinit std::string_view const ${constant}{\n    \"${hex}\",\n    ${size}};\n")
    if(file MATCHES "\\.html$")
      file(READ "${file}" html)
      if(NOT html MATCHES "<meta http-equiv=\"Content-Security-Policy\" content=\"([^\"]+)\"")
        message(FATAL_ERROR "${file} has no <meta http-equiv=\"Content-Security-Policy\">")
      endif()
      string(APPEND definitions "constinit std::string_view const ${constant}_csp{\"${CMAKE_MATCH_1}; frame-ancestors 'none'\"};\n")
    endif()
  endforeach()
  file(WRITE "${OUTPUT}" "// Made by cmake/EmbedFiles.cmake.\n#include \"embedded/${NAME}.hpp\"\n
#ifdef __clang__\n#pragma clang diagnostic ignored \"-Woverlength-strings\"
#else\n#pragma GCC diagnostic ignored \"-Woverlength-strings\"\n#endif\n
namespace parley::embedded {\n${definitions}\n} // namespace parley::embedded\n")
endif()
